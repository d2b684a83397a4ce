// SPDX-License-Identifier: Apache-2.0
/* mirror: forwards packets unchanged between two ports, and copies of them to a third one. */
#include "ways.h"

// [python]
void loop_mirror(struct worker *w);
// [c]

static void both(struct forward_loop *f, struct lane *lane, uint32_t n)
{
    struct ways_loop *w = (struct ways_loop *)f;
    const struct ways *ways = lane_ways(w, lane);
    struct exit *e = way_to(lane, ways, ways->other);
    mirror(w, lane, ways, n);
    for (uint32_t i = 0; i < n; i++)
        if (likely(e != NULL))
            lane_put(lane, e, i);
        else
            lane_discard(f, lane, i, DROP_NO_ROUTE);
}

void loop_mirror(struct worker *w) { forward_run(w, NULL, both); }
