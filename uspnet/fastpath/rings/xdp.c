// SPDX-License-Identifier: Apache-2.0
/* xdp: receive and transmit bursts (xdp.h). */
#define _GNU_SOURCE
#include "xdp.h"

#include <errno.h>
#include <linux/if_xdp.h>
#include <sys/socket.h>

/* --- receive -------------------------------------------------------------------------------- */

/* A frame in several chunks: the pieces are copied into the first one's buffer. Returns 1 when *p
 * is a complete frame. */
static int join(struct xdp_queue *x, struct packet *p, int last)
{
    uint32_t first = x->part.open ? x->part.frame.offset : p->offset;
    if (x->skipping) {
        stack_give(x->q.stack, p->index);
        x->skipping = !last;
        return 0;
    }
    return frame_join(&x->q, &x->part, p, DROP_NONE, x->q.pool->size - first, last);
}

static void refuse(struct xdp_queue *x, uint32_t index, uint32_t length)
{
    queue_refuse(&x->q, index, length < FRAME_SHORTEST ? DROP_TOO_SHORT : DROP_BAD_LENGTH);
}

/* Takes the frame, or piece, of a slot. Returns 1 when *p is complete and valid. */
static __attribute__((cold, noinline)) int take(struct xdp_queue *x, uint64_t address,
                                                uint64_t word, struct packet *p)
{
    uint64_t offset;
    uint32_t length = (uint32_t)word, options = (uint32_t)(word >> 32);
    uint32_t chunk, index = owned_at(x, address, &chunk);
    if (unlikely(index == UINT32_MAX)) {
        queue_fault(&x->q, FAULT_RING);
        return 0;
    }
    x->owners[index] = 0;
    offset = address - buffer_address(x, index);
    if (unlikely(offset + length > 1u << x->chunk_shift)) {
        refuse(x, index, FRAME_SHORTEST);
        return 0;
    }
    *p = (struct packet){index, (uint16_t)offset, (uint16_t)length};
    if (options & CONTINUES || x->part.open || x->skipping)
        return join(x, p, !(options & CONTINUES));
    if (length < FRAME_SHORTEST)
        refuse(x, index, length);
    return length >= FRAME_SHORTEST;
}

/* Takes frames from slot `position` on, as long as they are whole, and in buffers of one chunk.
 * Returns how many. */
static inline __attribute__((always_inline)) uint32_t take_whole(const struct xdp_queue *x,
                                                                 struct packet *packets, uint32_t n,
                                                                 uint32_t position, uint32_t shift,
                                                                 uint64_t *bytes)
{
    const struct xdp_slot *slots = (const struct xdp_slot *)x->frames.slots;
    uint32_t *owners = x->owners, slot_mask = x->size - 1, got = 0;
    uint64_t n_owners = x->n_owners, sum = 0;
    for (; got < n; got++) {
        const struct xdp_slot *slot = &slots[(position + got) & slot_mask];
        uint64_t address = load_relaxed(&slot->address), index = address >> shift;
        uint64_t word = load_relaxed((const uint64_t *)&slot->length); /* options above it */
        uint32_t offset = (uint32_t)address & ((1u << shift) - 1);
        if (unlikely(index >= n_owners || word < FRAME_SHORTEST || word + offset > 1u << shift) ||
            unlikely(!owners[index]))
            break;
        owners[index] = 0;
        packets[got] = (struct packet){(uint32_t)index, (uint16_t)offset, (uint16_t)word};
        sum += word;
    }
    *bytes += sum;
    return got;
}

/* Takes what is in n slots. Returns how many frames that makes. */
static inline uint32_t receive(struct xdp_queue *x, struct packet *packets, uint32_t n,
                               uint64_t *bytes)
{
    const struct xdp_slot *slots = (const struct xdp_slot *)x->frames.slots;
    uint32_t position = (uint32_t)x->taken, end = position + n, got = 0, whole = 0;
    for (; position != end; position++) {
        const struct xdp_slot *slot = &slots[position & (x->size - 1)];
        if (likely(x->n_chunks == 1 && !x->part.open && !x->skipping)) {
            whole = x->chunk_shift == 11
                        ? take_whole(x, packets + got, end - position, position, 11, bytes)
                        : take_whole(x, packets + got, end - position, position, 12, bytes);
            got += whole;
            position += whole;
            if (likely(position == end))
                break;
            slot = &slots[position & (x->size - 1)];
        }
        if (take(x, load_relaxed(&slot->address), load_relaxed((const uint64_t *)&slot->length),
                 &packets[got]))
            *bytes += packets[got++].length;
    }
    return got;
}

uint32_t xdp_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct xdp_queue *x = (struct xdp_queue *)q;
    uint32_t got, free, position = (uint32_t)x->taken;
    uint64_t bytes = 0;
    n = least(n, ready(x, &x->frames));
    got = receive(x, packets, n, &bytes);
    if (n) {
        if (unlikely(q->stamps != NULL))
            memset(q->stamps, 0xFF, got * sizeof *q->stamps); /* STAMP_UNKNOWN */
        queue_count(q, got, bytes);
        keep_order();
        x->taken = (uint32_t)(position + n) | (x->part.open || x->skipping ? MID_FRAME : 0);
        /* Release: our reads of the slots happen before the kernel's next writes to them. */
        store_release(x->frames.consumer, position + n);
    }
    free = x->size - (x->given - (uint32_t)x->taken);
    if (free >= REFILL)
        xdp_refill(x, free);
    if (unlikely(load_relaxed(x->buffers.flags) & XDP_RING_NEED_WAKEUP) ||
        unlikely(x->always_wake && !n))
        (void)!recvfrom(x->fd, NULL, 0, MSG_DONTWAIT, NULL, NULL);
    return got;
}

/* --- transmit ------------------------------------------------------------------------------- */

/* Frees the buffer that a completion is of, when the frame ends in its chunk. */
static __attribute__((cold, noinline)) void complete(struct xdp_queue *x, uint64_t address)
{
    uint32_t chunk, index = owned_at(x, address, &chunk);
    if (index == UINT32_MAX) {
        queue_fault(&x->q, FAULT_RING);
    } else if (mark_ends_in(x->owners[index], chunk)) {
        x->owners[index] = 0;
        stack_give(x->q.stack, index);
    }
}

/* Frees the buffers of frames that were sent. */
static inline void clean(struct xdp_queue *x)
{
    uint32_t n = ready(x, &x->buffers), position = (uint32_t)x->taken, slot_mask = x->size - 1;
    const uint64_t *slots = (const uint64_t *)x->buffers.slots;
    struct stack *s = x->q.stack;
    uint32_t *owners = x->owners, *free = s->free, top = s->top, shift = x->chunk_shift, done = 0;
    uint64_t n_owners = x->n_chunks == 1 ? x->n_owners : 0;
    if (!n)
        return;
    for (; done < n; done++) {
        uint64_t index = load_relaxed(&slots[(position + done) & slot_mask]) >> shift;
        if (unlikely(index >= n_owners) || unlikely(!owners[index]))
            break;
        owners[index] = 0;
        free[top++] = (uint32_t)index;
    }
    s->top = top;
    for (; done < n; done++)
        complete(x, load_relaxed(&slots[(position + done) & slot_mask]));
    keep_order();
    x->taken = position + n;
    store_release(x->buffers.consumer, position + n);
}

/* The kernel has dropped the last frame that it took, as its driver had no use for it. */
static void take_back_last(struct xdp_queue *x)
{
    uint32_t position = load_acquire(x->frames.consumer) - 1, bytes = 0;
    for (uint32_t pieces = 0; pieces < x->size; pieces++) {
        bytes += frame_slot(x, position--)->length;
        if (!(frame_slot(x, position)->options & CONTINUES))
            break;
    }
    x->q.counters->packets--;
    x->q.counters->bytes -= bytes;
    queue_drop(&x->q, DROP_REFUSED, 1);
}

/* Classifies a failed wake-up. */
static __attribute__((cold, noinline)) void wake_failed(struct queue *q, int error)
{
    switch (error) {
    case EBUSY:
        take_back_last((struct xdp_queue *)q);
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

static inline int wanted(const struct xdp_queue *x)
{
    return load_relaxed(x->frames.flags) & XDP_RING_NEED_WAKEUP || x->always_wake;
}

static inline void wake(struct xdp_queue *x)
{
    if (!wanted(x))
        return;
    x->q.counters->doorbells++;
    if (sendto(x->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) < 0)
        wake_failed(&x->q, errno);
}

/* Writes a frame that extends over several chunks to as many slots. Returns how many; 0: there are
 * too few. */
static __attribute__((cold, noinline)) uint32_t split(struct xdp_queue *x, uint32_t position,
                                                      struct packet p, uint32_t room)
{
    uint32_t bytes = 1u << x->chunk_shift, left = p.length, offset = p.offset, n = 0;
    uint32_t last = (offset + left - 1) >> x->chunk_shift;
    if (last - (offset >> x->chunk_shift) + 1 > room)
        return 0;
    while (left) {
        uint32_t piece = least(left, bytes - (offset & (bytes - 1)));
        left -= piece;
        *frame_slot(x, position + n++) =
            (struct xdp_slot){buffer_address(x, p.index) + offset, piece, left ? CONTINUES : 0};
        offset += piece;
    }
    x->owners[p.index] = mark(position, last);
    return n;
}

uint32_t xdp_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct xdp_queue *x = (struct xdp_queue *)q;
    struct xdp_slot *slots = (struct xdp_slot *)x->frames.slots;
    uint32_t *owners = x->owners;
    uint32_t chunk = 1u << x->chunk_shift, position = x->given, slot_mask = x->size - 1;
    uint32_t longest = x->limit - FRAME_SHORTEST, size = q->pool->size, end, done, refused = 0;
    uint64_t bytes = 0;
    clean(x);
    end = (uint32_t)x->taken + x->size;
    for (done = 0; done < n && position != end; done++) {
        struct packet p = packets[done];
        uint32_t pieces = 1;
        if (unlikely((uint32_t)p.length - FRAME_SHORTEST > longest)) {
            queue_refuse(q, p.index, tx_wrong_length(p.length, FRAME_SHORTEST));
            refused++;
            continue;
        }
        if (likely((uint32_t)p.offset + p.length <= chunk)) {
            slots[position & slot_mask] =
                (struct xdp_slot){(uint64_t)p.index * size + p.offset, p.length, 0};
            owners[p.index] = mark(position, 0);
        } else if (!(pieces = split(x, position, p, end - position))) {
            break;
        }
        position += pieces;
        bytes += p.length;
    }
    keep_order();
    x->given = position;
    /* Release: the slots before the position. */
    store_release(x->frames.producer, position);
    queue_count(q, done - refused, bytes);
    if (likely(load_relaxed(x->frames.consumer) != position))
        wake(x);
    return done;
}

void xdp_flush(struct queue *q)
{
    struct xdp_queue *x = (struct xdp_queue *)q;
    if (load_relaxed(x->frames.consumer) != x->given)
        wake(x);
}
