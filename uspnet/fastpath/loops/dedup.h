/* SPDX-License-Identifier: Apache-2.0
 *
 * Duplicates: packets with the same bytes as one shortly before, such as those that a switch
 * mirrors where they come and where they leave. A packet is known by a keyed hash of 128 bits, of
 * which the table has 64; its place says some of the others. The table's size is fixed: where there
 * is no place, the packet that was seen the longest time ago is forgotten. */
#ifndef USPNET_DEDUP_H
#define USPNET_DEDUP_H
#include "fastpath.h"

// [python]
enum dedup_ignored { DEDUP_MAC = 1, DEDUP_TTL = 2 };
enum { DEDUP_PLACES = 8 }; /* in which a packet may be */

struct seen_packet {
    uint64_t mark; /* 0: none */
    uint64_t last; /* the latest one's time in ns since 1970 */
};

struct dedup {
    struct seen_packet *seen;
    uint32_t n_seen;  /* a power of two, and of DEDUP_PLACES; one worker's */
    uint32_t ignored; /* enum dedup_ignored, or-ed: the MAC addresses; IPv4's time to live with its
                       * checksum, and IPv6's hop limit */
    uint64_t window;  /* ns */
    uint64_t secret[4];
    uint64_t forgotten;      /* packets that were to be known still */
    uint64_t packets, bytes; /* left out */
};
// [c]

struct burst;

/* Which of the first n packets of a burst from this ring are no duplicates? A bit each. */
uint64_t dedup_burst(struct dedup *d, const struct queue *rx, const struct burst *b, uint32_t n);

#endif
