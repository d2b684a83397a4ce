// SPDX-License-Identifier: Apache-2.0
/* drop: counts packets and frees them. */
#include "forward.h"

// [python]
struct drop_loop {
    struct worker w;
};
void loop_drop(struct worker *w);
// [c]

void loop_drop(struct worker *w)
{
    worker_begin(w);
    while (worker_continue(w)) {
        uint32_t moved = 0, kept;
        for (uint32_t i = 0; i < w->n_lanes; i++) {
            struct lane *lane = &w->lanes[i];
            moved += lane_receive(w, lane, &lane->received, burst_wanted(w), &kept);
            stack_give_packets(w->stack, lane->received.packets, kept);
        }
        if (likely(moved))
            worker_busy(w);
        else
            worker_idle(w);
    }
    w->end = ticks();
}
