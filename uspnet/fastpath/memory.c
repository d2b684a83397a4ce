// SPDX-License-Identifier: Apache-2.0
/* Mappings at addresses that other processes of ours can map them at, too: structs in shared memory
 * hold pointers, which then mean the same in each of them.
 *
 * Such addresses lie in a window that no kernel gives out by itself: programs, heaps, libraries and
 * stacks are loaded near the ends of the address space. */
#include "memory.h"

#include <errno.h>
#include <sys/mman.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define WINDOW_START ((uintptr_t)0x100000000000)
#define WINDOW_END ((uintptr_t)0x500000000000)
enum { STEP = 2 << 20, TRIES = 4096 }; /* a huge page needs an address of its own size */

static uintptr_t next_start = WINDOW_START;

int built_with_asan(void)
{
#if defined(__SANITIZE_ADDRESS__)
    return 1;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
    return 1;
#else
    return 0;
#endif
#else
    return 0;
#endif
}

/* Replaces a mapping by addresses that can't be accessed, and that no other mapping gets. Returns
 * -1 on failure, as mmap sets errno. */
int memory_hide(void *start, uint64_t size)
{
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE;
    return mmap(start, size, PROT_NONE, flags, -1, 0) == MAP_FAILED ? -1 : 0;
}

void *memory_map_at(void *start, int fd, uint64_t size, uint64_t offset, uint32_t flags)
{
    int access = flags & MEMORY_READ_ONLY ? PROT_READ : PROT_READ | PROT_WRITE;
    int how = MAP_SHARED | (start ? MAP_FIXED_NOREPLACE : 0);
    void *mapped;
    if (flags & MEMORY_EXECUTABLE)
        access = PROT_READ | PROT_EXEC;
    mapped = mmap(start, size, access, how, fd, (off_t)offset);
    if (mapped == MAP_FAILED)
        return NULL;
    if (start && mapped != start) { /* a kernel before 4.17 takes the address as a hint */
        munmap(mapped, size);
        errno = EEXIST;
        return NULL;
    }
    if (flags & MEMORY_SEQUENTIAL)
        madvise(mapped, size, MADV_SEQUENTIAL);
    return mapped;
}

/* The next address of the window for so many bytes. Each is used again only after all others. */
static void *window_take(uint64_t size)
{
    uintptr_t whole = (size + STEP - 1) & ~(uintptr_t)(STEP - 1), from, next;
    from = __atomic_load_n(&next_start, __ATOMIC_RELAXED);
    do {
        next = WINDOW_END - from > whole ? from + whole : WINDOW_START + whole;
    } while (!__atomic_compare_exchange_n(&next_start, &from, next, 0, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return (void *)(next - whole);
}

void *memory_map(int fd, uint64_t size, uint64_t offset, uint32_t flags)
{
    for (int i = 0; i < TRIES && size < WINDOW_END - WINDOW_START; i++) {
        void *mapped = memory_map_at(window_take(size), fd, size, offset, flags);
        if (mapped)
            return mapped;
        if (errno != EEXIST)
            break; /* an address space without such a window: then any address */
    }
    return memory_map_at(NULL, fd, size, offset, flags);
}

int memory_unmap(void *start, uint64_t size) { return munmap(start, size); }
