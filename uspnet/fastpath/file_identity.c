// SPDX-License-Identifier: Apache-2.0
/* Which file a path leads to: for the open files of other processes in /proc. */
#define _GNU_SOURCE
#include "file_identity.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

int identify_file(const char *path, struct file_identity *file)
{
    struct statx s;
    if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE | STATX_INO, &s))
        return errno;
    if (!S_ISCHR(s.stx_mode) && !S_ISREG(s.stx_mode))
        return ENODEV;
    file->is_device = S_ISCHR(s.stx_mode);
    file->major = s.stx_dev_major;
    file->minor = s.stx_dev_minor;
    file->device = file->is_device ? makedev(s.stx_rdev_major, s.stx_rdev_minor)
                                   : makedev(s.stx_dev_major, s.stx_dev_minor);
    file->inode = file->is_device ? 0 : s.stx_ino;
    return 0;
}
