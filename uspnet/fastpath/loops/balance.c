// SPDX-License-Identifier: Apache-2.0
/* balance: packets of the first port are spread over the others by their flow, both directions of
 * which go the same way; what enters the others leaves by the first. Each of the hash's buckets has
 * all ports in an order of its own (rendezvous hashing, made by Python): the first one that is up
 * gets the packets, so that a port that goes or comes moves no flows but its own. */
#include "../flow.h"
#include "../splitmix.h"
#include "ways.h"

// [python]
enum { BUCKETS = 2048 };

struct balance_loop {
    struct ways_loop w;
    uint64_t rerouted;    /* packets whose first choice was down */
    uint8_t order[32768]; /* by bucket, WAYS_MAX ports each */
};
void loop_balance(struct worker *w);
// [c]

/* One end of a flow. */
static uint64_t end_hash(const struct flow_key *k, uint32_t side)
{
    uint64_t words[2];
    memcpy(words, k->addresses[side], sizeof words);
    return splitmix(splitmix(words[0] + GOLDEN) ^ words[1] ^ (uint64_t)k->ports[side] << 48);
}

/* The sum is the same for both directions. */
static uint32_t bucket_of(const uint8_t *frame, uint32_t length)
{
    struct flow_key key = {0};
    flow_of_frame(&key, frame, length);
    if (key.fragment) /* all parts of a datagram go the same way; only the first has all headers */
        key.ports[0] = key.ports[1] = key.protocol = 0;
    return (uint32_t)(splitmix(end_hash(&key, 0) + end_hash(&key, 1) + key.protocol) >> 32) %
           BUCKETS;
}

/* The exit of a packet. NULL: it has none. */
static struct exit *choose(struct balance_loop *b, struct lane *lane, const struct ways *ways,
                           struct packet p)
{
    const uint8_t *frame = packet_data(lane->rx->pool, p), *order;
    struct exit *first = NULL, *e;
    if (ways->port != 0)
        return way_to(lane, ways, 0);
    order = &b->order[bucket_of(frame, p.length) * WAYS_MAX];
    for (uint32_t i = 0; i < WAYS_MAX; i++) {
        if (!(e = way_to(lane, ways, order[i])))
            continue;
        if (likely(!load_relaxed(&e->tx->closed))) {
            b->rerouted += first != NULL;
            return e;
        }
        first = first ? first : e;
    }
    return first; /* which drops it as down */
}

static void spread(struct forward_loop *f, struct lane *lane, uint32_t n)
{
    struct balance_loop *b = (struct balance_loop *)f;
    const struct ways *ways = lane_ways(&b->w, lane);
    mirror(&b->w, lane, ways, n);
    for (uint32_t i = 0; i < n; i++) {
        struct exit *e = choose(b, lane, ways, lane->received.packets[i]);
        if (likely(e != NULL))
            lane_put(lane, e, i);
        else
            lane_discard(f, lane, i, DROP_NO_ROUTE);
    }
}

void loop_balance(struct worker *w) { forward_run(w, NULL, spread); }
