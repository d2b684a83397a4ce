/* SPDX-License-Identifier: Apache-2.0
 *
 * What a process, and its children, may still do. Functions return 0 or an errno. */
#ifndef USPNET_PRIVILEGES_H
#define USPNET_PRIVILEGES_H
#include <stdint.h>

// [python]
/* How a child of ours lives. */
struct child {
    uint32_t user;       /* whom it becomes, its group too; 0: nobody else */
    int32_t parent;      /* it ends with this process */
    uint64_t file_bytes; /* the largest file that it may write; 0: any */
};

/* Gives up all capabilities but those of `keep`, a bit each, for good: for this thread, for those
 * that it starts and for all that is executed. */
int capabilities_drop(uint64_t keep);

/* access(2) as if this thread had no capabilities. */
int bare_access(const char *path, int mode);

/* For a child: no other user's rights, no capabilities, no core files. */
int child_confine(const struct child *how);

/* For a child before exec: child_confine, or its end with a word on stderr; then end_with. */
int child_begin(const struct child *how);

/* For a child: this signal when its parent has ended; a change of user takes that back. */
int signal_at_parting(int32_t number);

/* For a child: SIGKILL when its parent has ended. */
int end_with(int32_t parent);
// [c]

#endif
