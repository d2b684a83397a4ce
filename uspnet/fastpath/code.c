// SPDX-License-Identifier: Apache-2.0
/* Machine code that may be called (code.h): a hash table of addresses, with linear probing. Removed
 * ones leave holes, so a search ends after so many places only. */
#include "code.h"

#include <stddef.h>

enum {
    BITS = 14,   /* places: enough for two sets of 256 rules in each of 16 loops, half full */
    PROBES = 64, /* places at which an address may be */
};

static const uint8_t *codes[(1 << BITS) + PROBES];

/* The first of the places at which it may be. Code begins at a page. */
static const uint8_t **places_of(const uint8_t *start)
{
    return &codes[((uintptr_t)start >> 12) * 0x9E3779B97F4A7C15u >> (64 - BITS)];
}

static int exchange(const uint8_t *start, const uint8_t *from, const uint8_t *to)
{
    const uint8_t **place = places_of(start);
    for (uint32_t i = 0; i < PROBES; i++) {
        const uint8_t *found = from;
        if (__atomic_compare_exchange_n(&place[i], &found, to, 0, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
            return 0;
    }
    return -1;
}

int code_add(const uint8_t *start) { return exchange(start, NULL, start); }

void code_remove(const uint8_t *start) { exchange(start, start, NULL); }

int code_known(const uint8_t *start)
{
    const uint8_t **place = places_of(start);
    for (uint32_t i = 0; start && i < PROBES; i++)
        if (load_relaxed(&place[i]) == start)
            return 1;
    return 0;
}
