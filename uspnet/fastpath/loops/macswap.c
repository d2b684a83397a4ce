// SPDX-License-Identifier: Apache-2.0
/* macswap: swaps source and destination MAC address. */
#include "forward.h"

// [python]
void loop_macswap(struct worker *w);
// [c]

enum { ADDRESS = 6 }; /* bytes */

/* Frames too short for two addresses are not changed. */
static void swap(struct forward_loop *f, struct lane *lane, struct packet *p, uint32_t n)
{
    const struct pool *pool = lane->rx->pool;
    (void)f;
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *frame = packet_data(pool, p[i]), mac[ADDRESS];
        if (unlikely(p[i].length < 2 * ADDRESS))
            continue;
        memcpy(mac, frame, ADDRESS);
        memcpy(frame, frame + ADDRESS, ADDRESS);
        memcpy(frame + ADDRESS, mac, ADDRESS);
    }
}

void loop_macswap(struct worker *w) { forward_run(w, swap, NULL); }
