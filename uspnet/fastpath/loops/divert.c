// SPDX-License-Identifier: Apache-2.0
/* divert: forwards between the first two ports, and sends what a filter accepts of the first one's
 * packets by the third, instead or as well. What the third one receives leaves by the first. */
#include "filter.h"
#include "ways.h"

// [python]
struct divert_loop {
    struct ways_loop w;
    struct filter *only;
    uint32_t to;             /* the number of the port that accepted packets leave by */
    uint32_t tee;            /* that gets copies, and the packets go on */
    uint64_t packets, bytes; /* accepted */
};
void loop_divert(struct worker *w);
// [c]

/* Which of the first n packets are to be diverted: a bit each. */
static uint64_t wanted(const struct divert_loop *d, const struct lane *lane,
                       const struct ways *ways, uint32_t n)
{
    return ways->port == 0 ? filter_burst(d->only, lane->rx, &lane->received, n) : 0;
}

static void divert(struct forward_loop *f, struct lane *lane, uint32_t n)
{
    struct divert_loop *d = (struct divert_loop *)f;
    const struct ways *ways = lane_ways(&d->w, lane);
    struct exit *on = way_to(lane, ways, ways->other), *aside = way_to(lane, ways, d->to);
    uint64_t hits = wanted(d, lane, ways, n);
    for (uint32_t i = 0; i < n; i++) {
        struct exit *e = on;
        if (hits >> i & 1 && likely(aside != NULL)) {
            d->packets++;
            d->bytes += lane->received.packets[i].length;
            if (d->tee)
                lane_copy(f, lane, aside, i);
            else
                e = aside;
        }
        if (likely(e != NULL))
            lane_put(lane, e, i);
        else
            lane_discard(f, lane, i, DROP_NO_ROUTE);
    }
}

void loop_divert(struct worker *w) { forward_run(w, NULL, divert); }
