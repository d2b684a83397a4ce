/* SPDX-License-Identifier: Apache-2.0
 *
 * What an open file is, whatever its name says. */
#ifndef USPNET_LOOK_H
#define USPNET_LOOK_H
#include <stdint.h>

// [python]
struct seen_file {
    uint32_t is_device;    /* a character device */
    uint64_t device;       /* the number of the device that it is, or that it lies on */
    uint64_t inode;        /* 0 for a device: it may have several nodes */
    uint32_t major, minor; /* of the device that it lies on */
};

/* Follows a path, to a device or a regular file. No file server is asked for anything, so that none
 * can keep us waiting. Returns 0 or an errno. */
int look_at(const char *path, struct seen_file *seen);
// [c]

#endif
