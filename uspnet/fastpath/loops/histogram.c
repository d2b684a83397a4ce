// SPDX-License-Identifier: Apache-2.0
#include "histogram.h"

uint64_t histogram_floor(uint32_t slot)
{
    uint32_t octave = slot / SUBSLOTS;
    if (octave == 0)
        return slot;
    return (uint64_t)(slot % SUBSLOTS + SUBSLOTS) << (octave - 1);
}
