/* SPDX-License-Identifier: Apache-2.0
 *
 * What a forwarding loop does with single packets: traced/<mode>.c compiles a mode's file once
 * more, with rounds that give it one packet at a time and look at what it has changed. The mode's
 * own loop knows nothing of it. Without a trace, such a loop rewrites packets (rewriting.h). Fences
 * as in fastpath.h. */
#ifndef USPNET_TRACE_H
#define USPNET_TRACE_H
#include "filter.h"
#include "forward.h"

// [python]
enum { TRACE_BYTES = 2048, TRACE_EXITS = 17, TRACE_WATCHED = 512 };
/* What has become of a packet at an exit. FATE_DROPPED and more: dropped there, for a reason. */
enum trace_fate { FATE_NONE, FATE_SENT, FATE_WAITS, FATE_DROPPED };

/* A packet, and what was done with it. */
struct traced {
    uint64_t stamp;       /* ns since 1970, when the loop looked at it */
    uint64_t counted[8];  /* bit i: watched[i] was counted on */
    uint32_t done;        /* the rest is complete */
    uint32_t port;        /* as the trace has it for the lane */
    uint32_t lane;        /* its number in the loop */
    uint32_t before;      /* bytes when it came; of both, TRACE_BYTES are here at most */
    uint32_t after;       /* bytes when it left */
    uint32_t reason;      /* enum drop_reason of the loop; DROP_REASONS: it was not dropped */
    uint8_t fates[17];    /* by exit */
    uint8_t came[2048];   /* as it came */
    uint8_t leaves[2048]; /* as it leaves */
};

struct trace {
    struct filter *only; /* NULL: all packets */
    struct traced *packets;
    uint64_t **watched; /* what the mode counts */
    uint32_t n_packets, n_watched;
    uint32_t claimed; /* of `packets`, or more */
};
// [c]

#endif
