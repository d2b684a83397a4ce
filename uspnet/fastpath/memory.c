// SPDX-License-Identifier: Apache-2.0
/* What memory.py needs besides Python's own mmap. */
#define _GNU_SOURCE
#include <stdint.h>
#include <sys/mman.h>

// [python]
int built_with_asan(void); /* whether AddressSanitizer checks this build's accesses */
int memory_hide(void *start, uint64_t size);
// [c]

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
