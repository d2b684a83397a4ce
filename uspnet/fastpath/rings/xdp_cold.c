// SPDX-License-Identifier: Apache-2.0
/* xdp: outside of the bursts (xdp.h). */
#define _GNU_SOURCE
#include "xdp.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <sys/socket.h>

int xdp_bind(int32_t fd, uint32_t ifindex, uint32_t queue, uint16_t flags)
{
    struct sockaddr_xdp to = {.sxdp_family = AF_XDP,
                              .sxdp_flags = flags,
                              .sxdp_ifindex = ifindex,
                              .sxdp_queue_id = queue};
    return bind(fd, (struct sockaddr *)&to, sizeof to) ? errno : 0;
}

void xdp_fill(struct xdp_queue *x)
{
    uint32_t before;
    do {
        before = x->given;
        xdp_refill(x, x->size - (x->given - (uint32_t)x->taken));
    } while (x->given != before);
}

uint32_t xdp_pending(const struct xdp_queue *x, uint64_t *bytes)
{
    uint32_t at = load_acquire(x->zero_copy ? x->buffers.producer : x->frames.consumer), n = 0;
    *bytes = 0;
    if (x->given - at > x->size)
        return 0;
    for (; at != x->given; at++) {
        const struct xdp_slot *slot = frame_slot(x, at);
        *bytes += slot->length;
        n += !(slot->options & CONTINUES);
    }
    return n;
}

/* Marks of positions from `published` on: the kernel has never seen these slots. */
static void take_back_unpublished(struct xdp_queue *x, uint32_t published)
{
    for (uint32_t i = 0; i < x->n_owners; i++)
        if (x->owners[i] &&
            (((x->owners[i] >> POSITION_SHIFT) - published) & POSITIONS) <= POSITIONS / 2)
            x->owners[i] = 0;
    x->given = published;
}

/* What the kernel gave back in slots from `taken` on. The worker may have taken some of it. */
static int settle_returned(struct xdp_queue *x, const struct xdp_ring *ring, int receive)
{
    uint32_t taken = (uint32_t)x->taken, chunk, n = load_acquire(ring->producer) - taken;
    if (n > x->size)
        return -1;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t address = receive ? frame_slot(x, taken + i)->address : *buffer_slot(x, taken + i);
        uint32_t index = buffer_at(x, address, &chunk);
        if (index >= x->n_owners)
            return -1;
        if (receive) /* they are received again */
            x->owners[index] = mark(x->given - 1, 0);
        else if (mark_ends_in(x->owners[index], chunk))
            x->owners[index] = 0;
    }
    if (!receive)
        x->taken = taken += n;
    store_release(ring->consumer, taken);
    return 0;
}

void xdp_revive(struct xdp_queue *x, int receive)
{
    uint32_t shift = x->chunk_shift;
    int bad = shift < 11 || shift > 12 || !x->n_chunks || !x->size || x->size & (x->size - 1);
    if (!bad) {
        take_back_unpublished(x, load_acquire((receive ? &x->buffers : &x->frames)->producer));
        bad = settle_returned(x, receive ? &x->frames : &x->buffers, receive);
    }
    if (bad) {
        queue_fault(&x->q, FAULT_RING);
        return;
    }
    if (receive && x->taken & MID_FRAME)
        x->skipping = 1;
    if (x->part.open)
        queue_drop(&x->q, DROP_WORKER_LOST, 1);
    x->part.open = 0;
}

/* Bytes of the frame whose last chunk is at an address that the kernel gave back. */
static uint32_t bytes_at(const struct xdp_queue *x, uint64_t address)
{
    uint32_t chunk, bytes = 0, index = owned_at(x, address, &chunk), position;
    if (index == UINT32_MAX)
        return 0;
    position = x->owners[index] >> POSITION_SHIFT;
    for (uint32_t pieces = 0; pieces < x->size; pieces++, position++) {
        bytes += frame_slot(x, position)->length;
        if (!(frame_slot(x, position)->options & CONTINUES))
            break;
    }
    return bytes;
}

/* The kernel has dropped the frame that it gave back last, as its driver had no use for it. Before
 * Linux 6.17, the consumer's position may be behind that. */
static void take_back_last(struct xdp_queue *x)
{
    uint32_t done = load_acquire(x->buffers.producer);
    x->q.counters->packets--;
    if (done != (uint32_t)x->taken)
        x->q.counters->bytes -= bytes_at(x, *buffer_slot(x, done - 1));
    queue_drop(&x->q, DROP_REFUSED, 1);
}

void xdp_wake_failed(struct xdp_queue *x, int error)
{
    struct queue *q = &x->q;
    switch (error) {
    case EBUSY:
        take_back_last(x);
        return;
    case EAGAIN: /* there is more to send than it does in one call */
    case ENOBUFS:
    case ENOMEM:
    case EINTR:
        return;
    case ENETDOWN: /* Python opens the queue when the interface is up again */
        store_release(&q->closed, 1);
        return;
    case ENXIO:
    case ENODEV:
        queue_fault(q, FAULT_GONE);
        return;
    default:
        q->sys_errno = error;
        queue_fault(q, FAULT_IO);
    }
}
