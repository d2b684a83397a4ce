/* SPDX-License-Identifier: Apache-2.0
 *
 * When packets are due that keep the gaps of their time stamps. Due times are in units of any
 * clock. Fences as in fastpath.h. */
#ifndef USPNET_TIMING_H
#define USPNET_TIMING_H
#include "fastpath.h"

// [python]
struct timing {
    double pace;                /* units to wait for each ns between two packets; 0: none */
    uint64_t gap_max;           /* units: the longest wait, at most 2^63 - 1: so that sums fit */
    uint64_t last_ns, last_due; /* time stamp, and due time, of the last packet */
    uint32_t begun;             /* last_ns is set */
};
// [c]

enum { NEAR_NS = 100000000 }; /* a time that steps back further begins another recording */

/* The due time of a packet. Times that are unknown or step back cause no wait. */
static inline uint64_t timing_due(const struct timing *t, uint64_t ns, uint64_t now)
{
    double wait;
    if (!t->begun)
        return now;
    if (ns == STAMP_UNKNOWN || ns <= t->last_ns)
        return t->last_due;
    wait = (double)(ns - t->last_ns) * t->pace;
    return t->last_due + (wait < (double)t->gap_max ? (uint64_t)wait : t->gap_max);
}

/* A packet with this time stamp was due then, and has come. */
static inline void timing_pass(struct timing *t, uint64_t ns, uint64_t due)
{
    t->last_due = due;
    /* Packets of several queues may be out of order by a little: the time between has passed. */
    if (ns != STAMP_UNKNOWN && (!t->begun || ns > t->last_ns || t->last_ns - ns > NEAR_NS)) {
        t->last_ns = ns;
        t->begun = 1;
    }
}

#endif
