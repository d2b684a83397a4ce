/* SPDX-License-Identifier: Apache-2.0
 *
 * Histograms of times, with the slots of HdrHistogram(1, 2^40, 2 digits): their width grows with
 * the value, 128 slots an octave, so that each value is known to 0.8 %. Fences as in fastpath.h. */
#ifndef USPNET_HISTOGRAM_H
#define USPNET_HISTOGRAM_H
#include <stdint.h>

// [python]
enum { HISTOGRAM_SLOTS = 4480 };

uint64_t histogram_floor(uint32_t slot); /* the smallest value that falls into the slot */
// [c]

enum { SUBSLOTS = 128 }; /* slots an octave */

static inline uint32_t histogram_slot(uint64_t value)
{
    uint32_t octave, slot;
    if (value < SUBSLOTS)
        return (uint32_t)value;
    octave = 63 - (uint32_t)__builtin_clzll(value) - 6; /* 1 for 128 … 255 */
    slot = octave * SUBSLOTS + (uint32_t)(value >> (octave - 1)) - SUBSLOTS;
    return slot < HISTOGRAM_SLOTS ? slot : HISTOGRAM_SLOTS - 1;
}

#endif
