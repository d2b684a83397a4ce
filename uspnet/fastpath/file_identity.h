/* SPDX-License-Identifier: Apache-2.0
 *
 * The identity of an open file, independent of its names. */
#ifndef USPNET_FILE_IDENTITY_H
#define USPNET_FILE_IDENTITY_H
#include <stdint.h>

// [python]
struct file_identity {
    uint32_t is_device;    /* a character device */
    uint64_t device;       /* the number of the device that it is, or that it lies on */
    uint64_t inode;        /* 0 for a device: it may have several nodes */
    uint32_t major, minor; /* of the device that it lies on */
};

/* Identifies the character device or regular file at a path. Asks no file server, which might
 * not answer (AT_STATX_DONT_SYNC). Returns 0 or an errno; ENODEV: another kind of file. */
int identify_file(const char *path, struct file_identity *file);
// [c]

#endif
