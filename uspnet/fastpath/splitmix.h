/* SPDX-License-Identifier: Apache-2.0
 *
 * SplitMix64 (Steele, Lea, Flood 2014): draw n of a seed is splitmix(seed + n * GOLDEN), so that
 * nothing has to be kept from draw to draw. */
#ifndef USPNET_SPLITMIX_H
#define USPNET_SPLITMIX_H
#include <stdint.h>

static const uint64_t GOLDEN = 0x9e3779b97f4a7c15;

static inline uint64_t splitmix(uint64_t x)
{
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9;
    x = (x ^ x >> 27) * 0x94d049bb133111eb;
    return x ^ x >> 31;
}

#endif
