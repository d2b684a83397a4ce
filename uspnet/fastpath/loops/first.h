/* SPDX-License-Identifier: Apache-2.0
 *
 * The first packets of each flow: those behind a number of packets, or bytes, are left out. Both
 * directions are one flow. The table's size is fixed: where there is no place for a new flow, the
 * one that was silent for the longest time is forgotten, and would begin anew. */
#ifndef USPNET_FIRST_H
#define USPNET_FIRST_H
#include "fastpath.h"
#include "flow.h"

// [python]
enum { FIRST_PROBES = 16 }; /* places in which a flow may be */

struct first_flow {
    struct flow_ends ends;
    uint64_t taken; /* packets or bytes so far that were not left out */
    uint64_t last;  /* the latest packet's time in ns since 1970 */
    uint32_t used;
    uint16_t cut;   /* some of it was left out */
    uint16_t ended; /* a FIN or RST has been seen: a SYN begins another flow */
};

struct first {
    struct first_flow *flows;
    uint32_t n_flows; /* a power of two; one worker's */
    uint32_t by_bytes;
    uint64_t limit; /* packets, or bytes: the packet that reaches it is the last */
    uint64_t idle;  /* ns of silence after which a flow has ended; 0: none has */
    uint64_t seed;
    uint64_t begun, cut;     /* flows */
    uint64_t forgotten;      /* flows, before they were idle */
    uint64_t packets, bytes; /* left out */
};
// [c]

struct burst;

/* Which of the first n packets of a burst from this ring are among the first? A bit each. */
uint64_t first_burst(struct first *f, const struct queue *rx, const struct burst *b, uint32_t n);

#endif
