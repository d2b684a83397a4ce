// SPDX-License-Identifier: Apache-2.0
/* tee: packets with an even first byte leave by every exit, the others by none. */
#include "forward.h"

// [python]
void loop_tee(struct worker *w);
// [c]

static void tee(struct forward_loop *f, struct lane *lane, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (*packet_data(lane->rx->pool, lane->received.packets[i]) & 1) {
            lane_discard(f, lane, i, DROP_FILTERED);
            continue;
        }
        for (uint32_t j = 1; j < lane->n_exits; j++)
            lane_copy(f, lane, &lane->exits[j], i);
        lane_put(lane, &lane->exits[0], i);
    }
}

void loop_tee(struct worker *w) { forward_run(w, NULL, tee); }
