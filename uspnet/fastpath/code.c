// SPDX-License-Identifier: Apache-2.0
/* Machine code that may be called (code.h). */
#include "code.h"

#include <stddef.h>

static const uint8_t *codes[CODES_MAX];
static uint32_t used; /* codes[used …] were never noted */

int code_add(const uint8_t *start)
{
    for (uint32_t i = 0; i < CODES_MAX; i++) {
        const uint8_t *none = NULL;
        uint32_t seen = load_relaxed(&used);
        if (!__atomic_compare_exchange_n(&codes[i], &none, start, 0, __ATOMIC_RELEASE,
                                         __ATOMIC_RELAXED))
            continue;
        while (seen < i + 1 && !__atomic_compare_exchange_n(&used, &seen, i + 1, 0,
                                                            __ATOMIC_RELEASE, __ATOMIC_RELAXED))
            ;
        return 0;
    }
    return -1;
}

void code_remove(const uint8_t *start)
{
    for (uint32_t i = 0; i < CODES_MAX; i++) {
        const uint8_t *found = start;
        if (__atomic_compare_exchange_n(&codes[i], &found, NULL, 0, __ATOMIC_RELEASE,
                                        __ATOMIC_RELAXED))
            return;
    }
}

int code_known(const uint8_t *start)
{
    for (uint32_t i = 0; start && i < load_acquire(&used); i++)
        if (load_relaxed(&codes[i]) == start)
            return 1;
    return 0;
}
