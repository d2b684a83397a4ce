// SPDX-License-Identifier: Apache-2.0
/* every_second: of the packets that enter the first port, every second one leaves by the last. */
#include "forward.h"

// [python]
struct every_second_loop {
    struct forward_loop f;
    uint32_t turn; /* packets seen so far, modulo 2 */
};
void loop_every_second(struct worker *w);
// [c]

static void deal(struct forward_loop *f, struct lane *lane, uint32_t n)
{
    struct every_second_loop *loop = (struct every_second_loop *)f;
    for (uint32_t i = 0; i < n; i++, loop->turn ^= 1)
        lane_put(lane, &lane->exits[loop->turn], i);
}

void loop_every_second(struct worker *w) { forward_run(w, NULL, deal); }
