/* SPDX-License-Identifier: Apache-2.0
 *
 * The order within each flow: packets that come after a later one of the same flow (RFC 4737, type
 * P-reordered, by flow). Each direction is a flow, and so is what each stream has of one, as
 * streams have numbers of their own. The table's size is fixed, and no flow is forgotten: one that
 * finds no place stays unknown. Fences as in fastpath.h. */
#ifndef USPNET_FLOW_ORDER_H
#define USPNET_FLOW_ORDER_H
#include "flow.h"
#include "template.h"

// [python]
enum { FLOW_ORDER_PROBES = 64 }; /* places in which a flow may be */

struct ordered_flow {
    struct flow_ends ends;
    uint64_t next;      /* the number after the highest seen; 0: the place is free */
    uint64_t reordered; /* packets */
    uint32_t stream;
    uint32_t from; /* the side that sends */
};

/* What is known of one stream's flows. */
struct flow_order_counts {
    uint64_t flows, flows_reordered;
    uint64_t reordered; /* packets */
    uint64_t unknown;   /* packets of flows without a place */
};

struct flow_order {
    struct ordered_flow *flows;
    struct flow_order_counts *counts; /* of each stream */
    uint64_t seed;
    uint32_t n_flows; /* places: a power of two, FLOW_ORDER_PROBES or more */
};
// [c]

/* A packet that is no duplicate, and what says of which flow it is. */
struct arrival {
    struct flow_ends ends;
    uint64_t number;
    uint32_t hash;
    uint16_t stream;
    uint16_t from;
};

void flow_order_look(const struct flow_order *o, struct arrival *a, const uint8_t *frame,
                     uint32_t length, const struct signature *s);
void flow_order_decide(struct flow_order *o, const struct arrival *arrivals, uint32_t n);

#endif
