// SPDX-License-Identifier: Apache-2.0
/* flow_order: the table of flows behind `pktgen --per-flow`. */
#include "flow_order.h"

enum { APART = 0x9E3779B1 }; /* the ends of one flow in several streams hash apart */

_Static_assert(sizeof(struct ordered_flow) == CACHE_LINE, "a flow is one line");

static INLINE struct ordered_flow *place(const struct flow_order *o, uint32_t at)
{
    return &o->flows[at & (o->n_flows - 1)];
}

/* Finds out of which flow a packet is, and has its place fetched. */
void flow_order_look(const struct flow_order *o, struct arrival *a, const uint8_t *frame,
                     uint32_t length, const struct signature *s)
{
    struct flow_key key = {0};
    a->number = s->number;
    a->stream = s->stream;
    a->from = (uint16_t)flow_ends_of_frame(&a->ends, &key, frame, length);
    a->hash = flow_ends_hash(&a->ends, o->seed) ^ (a->stream << 1 | a->from) * (uint32_t)APART;
    __builtin_prefetch(place(o, a->hash), 1);
}

/* Returns the packet's flow, which begins with it if `next` is 0; NULL if there is no place. */
static struct ordered_flow *find(const struct flow_order *o, const struct arrival *a)
{
    for (uint32_t i = 0; i < FLOW_ORDER_PROBES; i++) {
        struct ordered_flow *flow = place(o, a->hash + i);
        if (!flow->next)
            return flow;
        if (flow->stream == a->stream && flow->from == a->from &&
            !memcmp(&flow->ends, &a->ends, sizeof a->ends))
            return flow;
    }
    return NULL;
}

static void decide(struct flow_order *o, const struct arrival *a)
{
    struct flow_order_counts *counts = &o->counts[a->stream];
    struct ordered_flow *flow = find(o, a);
    if (unlikely(!flow)) {
        counts->unknown++;
        return;
    }
    if (unlikely(!flow->next)) { /* in an order in which the process may be killed anywhere */
        *flow = (struct ordered_flow){.ends = a->ends, .stream = a->stream, .from = a->from};
        keep_order();
        flow->next = a->number + 1;
        keep_order();
        counts->flows++;
        return;
    }
    if (likely(a->number >= flow->next)) {
        flow->next = a->number + 1;
        return;
    }
    counts->reordered++;
    counts->flows_reordered += !flow->reordered;
    flow->reordered++;
}

/* Counts packets, in the order in which they came. */
void flow_order_decide(struct flow_order *o, const struct arrival *arrivals, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        decide(o, &arrivals[i]);
}
