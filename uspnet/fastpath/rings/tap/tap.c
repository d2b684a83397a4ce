// SPDX-License-Identifier: Apache-2.0
/* tap without offloads: the kernel's frames are whole, checksummed and within the MTU. */
#include "tap.h"

#include <errno.h>
#include <unistd.h>

// [python]
uint32_t tap_rx(struct queue *q, struct packet *packets, uint32_t n);
uint32_t tap_tx(struct queue *q, struct packet *packets, uint32_t n);
// [c]

void tap_fault(struct queue *q, int error)
{
    switch (error) {
    case EAGAIN:
    case EINTR:
    case ENOMEM:
    case ENOBUFS:
        return;
    case EIO: /* it is down; Python opens the queue when it is up again */
        store_release(&q->closed, 1);
        return;
    case EBADFD: /* the interface was deleted */
        queue_fault(q, FAULT_GONE);
        return;
    default:
        q->sys_errno = error;
        queue_fault(q, FAULT_IO);
    }
}

/* A frame that fills its buffer may have been truncated, which read() doesn't report. The port's
 * frame limit is below the size of a buffer, so complete frames are shorter. */
uint32_t tap_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    const struct tap_queue *tap = (struct tap_queue *)q;
    uint32_t index[BURST_MAX], got = 0, used = 0, room = pool_room(q->pool);
    n = stack_take(q->stack, index, n);
    while (used < n) {
        struct packet p = {index[used], cache_offset(index[used]), 0};
        ssize_t length = read(tap->fd, packet_data(q->pool, p), room);
        if (length <= 0) {
            if (length < 0)
                tap_fault(q, errno);
            break;
        }
        if (unlikely(length >= room)) {
            queue_refuse(q, index[used++], DROP_TOO_LONG);
            continue;
        }
        queue_count(q, 1, (uint64_t)length); /* what was read is counted, wherever this ends */
        p.length = (uint16_t)length;
        packets[got++] = p;
        used++;
    }
    while (used < n)
        stack_give(q->stack, index[--n]);
    return got;
}

uint32_t tap_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    const struct tap_queue *tap = (struct tap_queue *)q;
    uint32_t done = 0, refused = 0;
    uint64_t bytes = 0;
    for (; done < n; done++) {
        struct packet p = packets[done];
        if (likely(write(tap->fd, packet_data(q->pool, p), p.length) == p.length)) {
            bytes += p.length;
        } else if (errno == EINVAL) { /* shorter than an Ethernet header */
            queue_drop_packets(q, tap_refusal(p.length), &p, 1);
            refused++;
        } else {
            tap_fault(q, errno);
            break;
        }
    }
    stack_give_packets(q->stack, packets, done);
    queue_count(q, done - refused, bytes);
    return done;
}
