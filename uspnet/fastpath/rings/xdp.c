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

/* Takes n frames from `slot` on, as long as they are whole, and in buffers of one chunk. Returns
 * how many. */
static NOINLINE uint32_t take_whole(const struct xdp_queue *x, const struct xdp_slot *slot,
                                    struct packet *restrict packets, uint32_t n, uint64_t *bytes)
{
    const struct xdp_slot *first = slot, *end = slot + n;
    uint32_t *restrict owners = x->owners, shift = x->chunk_shift;
    uint64_t n_owners = x->n_owners, chunk = 1u << shift, sum = 0;
    for (; slot != end; slot++, packets++) {
        uint64_t address = load_relaxed(&slot->address), index = address >> shift;
        uint64_t word = load_relaxed((const uint64_t *)&slot->length); /* options above it */
        uint64_t offset = address & (chunk - 1);
        /* Signed, so that the sum below does not overflow. */
        if (unlikely(index >= n_owners || (int64_t)word < FRAME_SHORTEST ||
                     word + offset > chunk) ||
            unlikely(!owners[index]))
            break;
        owners[index] = 0;
        *packets = (struct packet){(uint32_t)index, (uint16_t)offset, (uint16_t)word};
        sum += word;
    }
    *bytes += sum;
    return (uint32_t)(slot - first);
}

/* Takes what is in n slots. Returns how many frames that makes. */
static inline uint32_t receive(struct xdp_queue *x, struct packet *packets, uint32_t n,
                               uint64_t *bytes)
{
    uint32_t position = (uint32_t)x->taken, end = position + n, got = 0;
    while (position != end) {
        const struct xdp_slot *slot = frame_slot(x, position);
        uint32_t run = in_a_row(x, position, end - position), whole = 0;
        if (likely(x->n_chunks == 1 && !x->part.open && !x->skipping))
            whole = take_whole(x, slot, packets + got, run, bytes);
        got += whole;
        position += whole;
        if (likely(whole == run))
            continue;
        slot += whole;
        if (take(x, load_relaxed(&slot->address), load_relaxed((const uint64_t *)&slot->length),
                 &packets[got]))
            *bytes += packets[got++].length;
        position++;
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

/* Frees the buffers of n completions from `slot` on, as long as they are right. Returns of how
 * many. */
static NOINLINE uint32_t free_whole(const struct xdp_queue *x, const uint64_t *slot, uint32_t n)
{
    struct stack *s = x->q.stack;
    const uint64_t *first = slot, *end = slot + n;
    uint32_t *restrict owners = x->owners, *restrict free = s->free + s->top;
    uint32_t shift = x->chunk_shift;
    uint64_t n_owners = x->n_owners;
    for (; slot != end; slot++) {
        uint64_t index = load_relaxed(slot) >> shift;
        if (unlikely(index >= n_owners) || unlikely(!owners[index]))
            break;
        owners[index] = 0;
        *free++ = (uint32_t)index;
    }
    s->top += (uint32_t)(slot - first);
    return (uint32_t)(slot - first);
}

/* Frees the buffers of frames that were sent. */
static inline void clean(struct xdp_queue *x)
{
    uint32_t n = ready(x, &x->buffers), position = (uint32_t)x->taken, end = position + n;
    if (!n)
        return;
    while (position != end) {
        const uint64_t *slot = buffer_slot(x, position);
        uint32_t run = in_a_row(x, position, end - position);
        uint32_t done = x->n_chunks == 1 ? free_whole(x, slot, run) : 0;
        position += done;
        if (likely(done == run))
            continue;
        complete(x, load_relaxed(slot + done));
        position++;
    }
    keep_order();
    x->taken = position;
    store_release(x->buffers.consumer, position);
}

/* Does the kernel need a call to send what waits in the ring? */
static inline int wanted(const struct xdp_queue *x)
{
    return load_relaxed(x->frames.consumer) != x->given &&
           (load_relaxed(x->frames.flags) & XDP_RING_NEED_WAKEUP || x->always_wake);
}

static inline void wake(struct xdp_queue *x)
{
    uint32_t before;
    x->q.counters->doorbells++;
    do { /* that copies frames, it sends 32 at most in a call */
        before = load_relaxed(x->frames.consumer);
        if (sendto(x->fd, NULL, 0, MSG_DONTWAIT, NULL, 0) >= 0)
            return;
    } while (errno == EAGAIN && load_relaxed(x->frames.consumer) != before);
    xdp_wake_failed(x, errno);
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

/* Puts n frames into slots from `position` on, as long as each is in one chunk and may be sent.
 * Returns how many. */
static NOINLINE uint32_t put_whole(const struct xdp_queue *x, const struct packet *restrict packets,
                                   uint32_t n, uint32_t position, uint64_t *bytes)
{
    const struct packet *first = packets, *end = packets + n;
    struct xdp_slot *restrict slot = frame_slot(x, position);
    uint32_t *restrict owners = x->owners, owned = mark(position, 0);
    uint64_t chunk = 1u << x->chunk_shift, longest = x->limit - FRAME_SHORTEST;
    uint64_t size = x->q.pool->size, sum = 0;
    for (; packets != end; packets++, slot++, owned += NEXT_POSITION) {
        uint64_t index = packets->index, offset = packets->offset, length = packets->length;
        if (unlikely(length - FRAME_SHORTEST > longest) || unlikely(offset + length > chunk))
            break;
        slot->address = index * size + offset;
        store_relaxed((uint64_t *)&slot->length, length); /* no options */
        owners[index] = owned;
        sum += length;
    }
    *bytes += sum;
    return (uint32_t)(packets - first);
}

/* Writes what there is room for into the ring. Returns how many handles were taken; `refused`: of
 * frames that can't be sent. */
static inline uint32_t transmit(struct xdp_queue *x, const struct packet *packets, uint32_t n,
                                uint32_t *refused, uint64_t *bytes)
{
    uint32_t position = x->given, end = (uint32_t)x->taken + x->size, done = 0;
    while (done < n && position != end) {
        uint32_t run = in_a_row(x, position, least(n - done, end - position));
        uint32_t pieces, put = put_whole(x, packets + done, run, position, bytes);
        struct packet p;
        done += put;
        position += put;
        if (likely(put == run))
            continue;
        p = packets[done];
        if ((uint32_t)p.length - FRAME_SHORTEST > x->limit - FRAME_SHORTEST) {
            queue_refuse_packet(&x->q, p, tx_wrong_length(p.length, FRAME_SHORTEST));
            ++*refused;
        } else if ((pieces = split(x, position, p, end - position))) {
            position += pieces;
            *bytes += p.length;
        } else {
            break;
        }
        done++;
    }
    keep_order();
    x->given = position;
    /* Release: the slots before the position. */
    store_release(x->frames.producer, position);
    return done;
}

uint32_t xdp_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct xdp_queue *x = (struct xdp_queue *)q;
    uint32_t done, refused = 0;
    uint64_t bytes = 0;
    clean(x);
    done = transmit(x, packets, n, &refused, &bytes);
    queue_count(q, done - refused, bytes);
    if (likely(wanted(x)))
        wake(x);
    return done;
}

int xdp_flush(struct queue *q)
{
    struct xdp_queue *x = (struct xdp_queue *)q;
    if (wanted(x))
        wake(x);
    return wanted(x);
}
