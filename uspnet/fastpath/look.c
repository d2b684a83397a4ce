// SPDX-License-Identifier: Apache-2.0
/* A look at a file that somebody else has open. */
#define _GNU_SOURCE
#include "look.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

int look_at(const char *path, struct seen_file *seen)
{
    struct statx s;
    if (statx(AT_FDCWD, path, AT_STATX_DONT_SYNC | AT_NO_AUTOMOUNT, STATX_TYPE | STATX_INO, &s))
        return errno;
    if (!S_ISCHR(s.stx_mode) && !S_ISREG(s.stx_mode))
        return ENODEV;
    seen->is_device = S_ISCHR(s.stx_mode);
    seen->major = s.stx_dev_major;
    seen->minor = s.stx_dev_minor;
    seen->device = seen->is_device ? makedev(s.stx_rdev_major, s.stx_rdev_minor)
                                   : makedev(s.stx_dev_major, s.stx_dev_minor);
    seen->inode = seen->is_device ? 0 : s.stx_ino;
    return 0;
}
