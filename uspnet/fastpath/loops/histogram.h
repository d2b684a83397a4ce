/* SPDX-License-Identifier: Apache-2.0
 *
 * Histograms of times: counts in slots whose width grows with the value, 32 slots an octave, so
 * that each value is known to 3 %. Fences as in fastpath.h. */
#ifndef USPNET_HISTOGRAM_H
#define USPNET_HISTOGRAM_H
#include <stdint.h>

// [python]
enum { HISTOGRAM_SLOTS = 1984 };

uint64_t histogram_floor(uint32_t slot); /* the smallest value that falls into the slot */
// [c]

enum { SUBSLOTS = 32 }; /* slots an octave */

static inline uint32_t histogram_slot(uint64_t value)
{
    uint32_t octave, slot;
    if (value < SUBSLOTS)
        return (uint32_t)value;
    octave = 63 - (uint32_t)__builtin_clzll(value) - 4; /* 1 for 32 … 63 */
    slot = octave * SUBSLOTS + (uint32_t)(value >> (octave - 1)) - SUBSLOTS;
    return slot < HISTOGRAM_SLOTS ? slot : HISTOGRAM_SLOTS - 1;
}

#endif
