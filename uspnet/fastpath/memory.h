/* SPDX-License-Identifier: Apache-2.0
 *
 * Mappings of files, and what memory.py needs besides. */
#ifndef USPNET_MEMORY_H
#define USPNET_MEMORY_H
#include <stddef.h>
#include <stdint.h>

// [python]
/* EXECUTABLE: machine code, with READ_ONLY. */
enum memory_flag { MEMORY_READ_ONLY = 1, MEMORY_SEQUENTIAL = 2, MEMORY_EXECUTABLE = 4 };

int built_with_asan(void); /* whether AddressSanitizer checks this build's accesses */
int memory_hide(void *start, uint64_t size);

/* Maps a file, shared, at an address that another process of ours can use as well, or at this very
 * address if nothing is there. NULL: errno says why. */
void *memory_map(int fd, uint64_t size, uint64_t offset, uint32_t flags);
void *memory_map_at(void *start, int fd, uint64_t size, uint64_t offset, uint32_t flags);
int memory_unmap(void *start, uint64_t size);
// [c]

#endif
