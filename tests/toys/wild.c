// SPDX-License-Identifier: Apache-2.0
/* wild: null's ring, which now and then writes where it must not. */
#include "fastpath.h"

// [python]
enum wild_at { WILD_NOWHERE, WILD_CODE };
struct wild_queue {
    struct queue q;
    uint32_t at;    /* enum wild_at */
    uint32_t times; /* so often */
    uint64_t after; /* packets */
    uint64_t left;  /* of them until the next time */
};
uint32_t wild_rx(struct queue *q, struct packet *packets, uint32_t n);
// [c]

static void go_wild(struct wild_queue *wild)
{
    uintptr_t at = wild->at == WILD_CODE ? (uintptr_t)wild_rx : 16;
    wild->left = wild->after;
    wild->times--;
    *(volatile uint64_t *)at = 0;
}

uint32_t wild_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct wild_queue *wild = (struct wild_queue *)q;
    uint32_t index[BURST_MAX];
    n = stack_take(q->stack, index, n);
    for (uint32_t i = 0; i < n; i++)
        packets[i] = (struct packet){index[i], cache_offset(index[i]), 60};
    if (wild->times && wild->left < n)
        go_wild(wild);
    wild->left -= n;
    queue_count(q, n, (uint64_t)n * 60);
    return n;
}
