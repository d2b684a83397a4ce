// SPDX-License-Identifier: Apache-2.0
/* null: receives packets of zeros, discards what is sent. The smallest ring, as an example. */
#include "fastpath.h"

// [python]
struct null_queue {
    struct queue q;
    uint32_t length; /* of each packet received, in bytes */
};
uint32_t null_rx(struct queue *q, struct packet *packets, uint32_t n);
uint32_t null_rx_cleared(struct queue *q, struct packet *packets, uint32_t n);
uint32_t null_tx(struct queue *q, struct packet *packets, uint32_t n);
// [c]

/* The pool's memory is zeroed, and this ring does not write to it. */
uint32_t null_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    const struct null_queue *null = (struct null_queue *)q;
    uint32_t index[BURST_MAX];
    n = stack_take(q->stack, index, n);
    for (uint32_t i = 0; i < n; i++)
        packets[i] = (struct packet){index[i], cache_offset(index[i]), (uint16_t)null->length};
    queue_count(q, n, (uint64_t)n * null->length);
    return n;
}

/* Where other rings have written to the pool's memory: nobody sees what they have received. */
uint32_t null_rx_cleared(struct queue *q, struct packet *packets, uint32_t n)
{
    n = null_rx(q, packets, n);
    for (uint32_t i = 0; i < n; i++)
        memset(packet_data(q->pool, packets[i]), 0, packets[i].length);
    return n;
}

uint32_t null_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += packets[i].length;
    stack_give_packets(q->stack, packets, n);
    queue_count(q, n, bytes);
    return n;
}
