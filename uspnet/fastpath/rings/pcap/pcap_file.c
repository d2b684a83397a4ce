// SPDX-License-Identifier: Apache-2.0
/* pcap, sink: how a file's blocks get to the disk. Capture files are large and not read again soon:
 * the page cache would only grow with them, at the cost of a page fault for each 4 KiB. */
#define _GNU_SOURCE
#include "rings/pcap/pcap.h"

// [python]
/* What offsets, lengths and memory must be multiples of to write past the page cache, as O_DIRECT
 * does; 0: the file system can't, or nothing is known of it. */
uint32_t file_direct_alignment(int32_t fd);
/* Has `bytes` from `at` on written to the disk soon, and waits for as many that lie `window` bytes
 * before: these leave the page cache. A file system that can't do it goes on as it was. */
void file_write_behind(int32_t fd, uint64_t at, uint64_t bytes, uint64_t window);
// [c]

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Since Linux 6.1, and later than the C library's headers here and there. */
enum { DIRECT_KNOWN = 0x2000, STATX_BYTES = 256, MASK_AT = 0, ALIGNMENT_AT = 152 };
enum { EXT4 = 0xEF53, XFS = 0x58465342 };
#define BTRFS 0x9123683Eu
#define F2FS 0xF2F52010u
enum { ANY_DISK = 4096 };

uint32_t file_direct_alignment(int32_t fd)
{
    uint8_t found[STATX_BYTES] = {0};
    uint32_t mask, alignment[2]; /* of memory, and of offsets */
    struct statfs system;
    if (!syscall(SYS_statx, fd, "", AT_EMPTY_PATH, DIRECT_KNOWN, found)) {
        memcpy(&mask, found + MASK_AT, sizeof mask);
        memcpy(alignment, found + ALIGNMENT_AT, sizeof alignment);
        if (mask & DIRECT_KNOWN)
            return alignment[0] > alignment[1] ? alignment[0] : alignment[1];
    }
    if (fstatfs(fd, &system))
        return 0;
    switch ((uint32_t)system.f_type) {
    case EXT4:
    case XFS:
    case BTRFS:
    case F2FS:
        return ANY_DISK;
    default:
        return 0;
    }
}

void file_write_behind(int32_t fd, uint64_t at, uint64_t bytes, uint64_t window)
{
    const unsigned all =
        SYNC_FILE_RANGE_WAIT_BEFORE | SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
    (void)!sync_file_range(fd, (off64_t)at, (off64_t)bytes, SYNC_FILE_RANGE_WRITE);
    if (at < window)
        return;
    (void)!sync_file_range(fd, (off64_t)(at - window), (off64_t)bytes, all);
    (void)!posix_fadvise(fd, (off_t)(at - window), (off_t)bytes, POSIX_FADV_DONTNEED);
}
