/* SPDX-License-Identifier: Apache-2.0
 *
 * Capabilities and confinement of child processes. Functions return 0 or an errno. */
#ifndef USPNET_PRIVILEGES_H
#define USPNET_PRIVILEGES_H
#include <stdint.h>

// [python]
/* How a child process is confined. */
struct child {
    uint32_t user;       /* user and group ID to change to; 0: no change */
    int32_t parent;      /* process whose end kills it */
    uint64_t file_bytes; /* RLIMIT_FSIZE; 0: no limit */
    uint64_t keep;       /* capabilities, a bit each, also of the program that it executes */
};

/* Permanently drops all capabilities but those of `keep`, a bit each, for this thread, the
 * threads that it starts, and the programs that it executes. */
int capabilities_drop(uint64_t keep);

/* Lets the program that this thread executes next have its capabilities. */
int capabilities_inherit(void);

/* access(2) without this thread's capabilities. */
int bare_access(const char *path, int mode);

/* In a child: changes the user, drops all other capabilities, disables core files. */
int child_confine(const struct child *how);

/* In a child before exec: child_confine(), or exits with a message on stderr; then end_with(). */
int child_begin(const struct child *how);

/* In a child: asks for this signal when the parent ends. Changing the user resets it. */
int signal_at_parting(int32_t number);

/* In a child: asks for SIGKILL when the parent ends. */
int end_with(int32_t parent);
// [c]

#endif
