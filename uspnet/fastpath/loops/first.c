// SPDX-License-Identifier: Apache-2.0
/* first: the table of flows behind `capture --first`. */
#include "first.h"
#include "worker.h"

enum { TCP_FIN = 1, TCP_SYN = 2, TCP_RST = 4, TCP_ACK = 16 };

_Static_assert(sizeof(struct first_flow) == CACHE_LINE, "a flow is one line");

/* What is known of a packet before its flow is looked for. */
struct sight {
    struct flow_ends ends;
    uint32_t hash;
    uint8_t tcp_flags;
};

static void see(struct sight *s, const struct first *f, const uint8_t *frame, uint32_t length)
{
    struct flow_key key = {0};
    flow_ends_of_frame(&s->ends, &key, frame, length);
    s->hash = flow_ends_hash(&s->ends, f->seed);
    s->tcp_flags = key.tcp_flags;
}

static int is_idle(const struct first *f, const struct first_flow *flow, uint64_t now)
{
    return f->idle && now > flow->last && now - flow->last > f->idle;
}

static void begin(struct first *f, struct first_flow *flow, const struct flow_ends *ends)
{
    *flow = (struct first_flow){.ends = *ends, .used = 1};
    f->begun++;
}

/* Finds the flow, or makes it: in a place that is free, or in that of the one that was silent for
 * the longest time. */
static struct first_flow *find(struct first *f, const struct sight *s, uint64_t now)
{
    struct first_flow *place = NULL;
    for (uint32_t i = 0; i < FIRST_PROBES; i++) {
        struct first_flow *flow = &f->flows[(s->hash + i) & (f->n_flows - 1)];
        if (!flow->used) {
            place = place && is_idle(f, place, now) ? place : flow;
            break;
        }
        if (!memcmp(&flow->ends, &s->ends, sizeof s->ends))
            return flow;
        if (!place || flow->last < place->last)
            place = flow;
    }
    f->forgotten += place->used && !is_idle(f, place, now);
    begin(f, place, &s->ends);
    return place;
}

/* Is the packet among the first of its flow? */
static int take(struct first *f, const struct sight *s, uint64_t now, uint32_t wire)
{
    struct first_flow *flow = find(f, s, now);
    int opens = (s->tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN;
    if (unlikely(flow->taken && (is_idle(f, flow, now) || (flow->ended && opens))))
        begin(f, flow, &s->ends);
    flow->last = now;
    if (s->tcp_flags & (TCP_FIN | TCP_RST))
        flow->ended = 1;
    if (flow->taken < f->limit) {
        flow->taken += f->by_bytes ? wire : 1;
        return 1;
    }
    f->cut += !flow->cut;
    flow->cut = 1;
    f->packets++;
    f->bytes += wire;
    return 0;
}

uint64_t first_burst(struct first *f, const struct queue *rx, const struct burst *b, uint32_t n)
{
    struct sight sights[BURST_MAX];
    uint64_t among = 0;
    for (uint32_t i = 0; i < n; i++) {
        see(&sights[i], f, packet_data(rx->pool, b->packets[i]), b->packets[i].length);
        __builtin_prefetch(&f->flows[sights[i].hash & (f->n_flows - 1)], 1);
    }
    for (uint32_t i = 0; i < n; i++) {
        uint64_t now = rx->stamps ? b->stamps[i] : 0;
        among |= (uint64_t)take(f, &sights[i], now, burst_wire(rx, b, i)) << i;
    }
    return among;
}
