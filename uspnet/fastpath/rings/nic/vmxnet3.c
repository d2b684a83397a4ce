// SPDX-License-Identifier: Apache-2.0
/* vmxnet3, receive (vmxnet3.h). The driver writes descriptors, the device completions; each has
 * a generation bit that is inverted every lap, so that neither side clears anything and no
 * register is read. A completion names its slot, which is checked against the slots that the
 * device owns. */
#include "vmxnet3.h"

enum {
    LENGTH = 0x3FFF, /* §Vmxnet3_RxCompDesc: len */
    SLOT = 0xFFF,    /* rxdIdx */
    RING = 0x3FF,    /* rqID: with one queue, the ring's number */
};
static const uint64_t LAST = 1ull << 14, FIRST = 1ull << 15;  /* §Vmxnet3_RxCompDesc: eop, sop */
static const uint64_t BAD = 1ull << 14, WRITTEN = 1ull << 63; /* err, gen: in the higher half */
/* A complete frame in the first ring: the lower half without hash type and checksum bits. */
static const uint32_t WHOLE = 3u << 14, WHERE = 3u << 14 | SLOT | (uint32_t)RING << 16;

/* The drop reason of one completion for a buffer of ring `number`; DROP_NONE: it is valid. */
static enum drop_reason wrong_piece(struct vmxnet3_queue *v, uint32_t number,
                                    const struct vmxnet3_completion *c)
{
    if (c->high & BAD) {
        v->rx_bad++; /* the device's own counters have them, too */
        return DROP_BAD_FRAME;
    }
    if (((uint32_t)c->high & LENGTH) > v->rings[number].limit)
        return DROP_BAD_LENGTH;
    return (number == 0) == !!(c->low & FIRST) ? DROP_NONE : DROP_BAD_CHAIN;
}

/* Handles a completion for a buffer of ring `number`; a frame longer than a slot has several.
 * Returns 1 when *p is a complete, valid frame. */
static int accept_frame(struct vmxnet3_queue *v, struct packet *p, uint32_t number,
                        const struct vmxnet3_completion *c)
{
    enum drop_reason wrong = wrong_piece(v, number, c);
    p->length = (uint16_t)((uint32_t)c->high & LENGTH);
    if (c->low & FIRST) {
        frame_abandon(&v->q, &v->part, DROP_BAD_CHAIN); /* the last piece is missing */
    } else if (!v->part.open) {
        queue_refuse(&v->q, p->index, DROP_BAD_CHAIN); /* the first piece is missing */
        return 0;
    }
    return frame_join(&v->q, &v->part, p, wrong, pool_room(v->q.pool), !!(c->low & LAST));
}

/* Takes the buffer that a completion names out of its ring and posts `fresh`. Slots that the device
 * skipped are posted again. Returns the ring's number; -1: the device owns no such slot. */
static inline int32_t exchange(struct vmxnet3_queue *v, const struct vmxnet3_completion *c,
                               uint32_t *index, uint32_t fresh)
{
    uint32_t number = (uint32_t)(c->low >> 16) & RING;
    struct vmxnet3_ring *ring;
    int32_t ahead;
    if (unlikely(number > 1))
        return -1;
    ring = &v->rings[number];
    ahead = vmxnet3_distance(ring, (uint32_t)c->low & SLOT);
    if (unlikely(ahead < 0))
        return -1;
    for (; unlikely(ahead > 0); ahead--) {
        uint32_t skipped = ring->buffers[vmxnet3_slot(ring, ring->next++)];
        vmxnet3_post(v, ring, skipped);
    }
    *index = ring->buffers[vmxnet3_slot(ring, ring->next++)];
    vmxnet3_post(v, ring, fresh);
    return (int32_t)number;
}

/* Takes up to n frames, ending at the first that is incomplete, invalid or not in the first ring's
 * next slot. Neither that ring nor the completions may wrap within n. */
static inline uint32_t take_run(struct vmxnet3_queue *restrict v, struct packet *restrict packets,
                                uint32_t n, uint64_t *bytes)
{
    struct vmxnet3_ring *ring = v->rings;
    const uint64_t lap = vmxnet3_generation(v->completed, v->completions_size) ? WRITTEN : 0;
    const uint32_t slot = vmxnet3_slot(ring, ring->next), range = ring->limit - FRAME_SHORTEST;
    const uint32_t *buffers = ring->buffers + slot;
    const struct vmxnet3_completion *c = vmxnet3_next_completion(v);
    uint32_t got;
    for (got = 0; got < n; got++, c++) {
        const uint64_t high = load_acquire(&c->high), low = load_relaxed(&c->low);
        const uint32_t length =
            (uint32_t)high & (LENGTH | BAD); /* the error bit makes it too long */
        if ((int64_t)(high ^ lap) < 0 || ((uint32_t)low & WHERE) != (WHOLE | (slot + got)) ||
            unlikely(length - FRAME_SHORTEST > range))
            break;
        packets[got] = (struct packet){buffers[got], cache_offset(buffers[got]), (uint16_t)length};
        *bytes += length;
    }
    ring->next += got;
    v->completed += got;
    return got;
}

/* Posts n buffers to the first ring, which may not wrap within n. */
static inline void post_run(struct vmxnet3_queue *restrict v, const uint32_t *restrict fresh,
                            uint32_t n)
{
    struct vmxnet3_ring *ring = v->rings;
    const uint64_t base = v->dma_base, buffer = v->q.pool->size;
    const uint64_t given = vmxnet3_generation(ring->fill, ring->size) ? RX_GENERATION : 0;
    const uint64_t word = ring->limit | given;
    struct vmxnet3_descriptor *d = ring->slots + vmxnet3_slot(ring, ring->fill);
    uint32_t *restrict buffers = ring->buffers + vmxnet3_slot(ring, ring->fill);
    for (uint32_t i = 0; i < n; i++, d++) {
        const uint32_t index = buffers[i] = fresh[i];
        d->address = base + index * buffer + cache_offset(index);
        store_release(&d->word, word); /* passes it to the device */
    }
    ring->fill += n;
}

/* The fast path: take_run() for up to n frames, across the ends of the rings; posts a fresh
 * buffer for each. */
static inline uint32_t take_whole(struct vmxnet3_queue *v, struct packet *packets,
                                  const uint32_t *fresh, uint32_t n, uint64_t *bytes)
{
    const struct vmxnet3_ring *ring = v->rings;
    uint32_t got = 0, run, taken, size = ring->size;
    n = least(n, ring->fill - ring->next); /* no more than the device owns */
    do {
        run = least(vmxnet3_run(ring->next, size), vmxnet3_run(v->completed, v->completions_size));
        run = least(run, n - got);
        taken = take_run(v, packets + got, run, bytes);
        got += taken;
    } while (got < n && taken == run);
    for (uint32_t done = 0; done < got; done += run) {
        run = least(vmxnet3_run(ring->fill, size), got - done);
        post_run(v, fresh + done, run);
    }
    return got;
}

/* Rings the doorbell when enough slots were refilled, and only if the device asks for it: most
 * hypervisors poll the ring. */
static inline void notify(struct vmxnet3_queue *v, struct vmxnet3_ring *ring)
{
    if (ring->fill - ring->notified < least(RX_BEHIND, ring->size / 2))
        return;
    ring->notified = ring->fill;
    if (load_relaxed(v->wants_doorbell))
        doorbell_ring(&v->q, &ring->bell, vmxnet3_slot(ring, ring->fill));
}

uint32_t vmxnet3_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct vmxnet3_queue *v = (struct vmxnet3_queue *)q;
    struct vmxnet3_completion c;
    uint32_t fresh[BURST_MAX], taken, used = 0, got;
    uint64_t bytes = 0;
    if (!vmxnet3_is_written(v, load_relaxed(&vmxnet3_next_completion(v)->high)))
        return 0;
    taken = stack_take(q->stack, fresh, n);
    if (likely(!v->part.open))
        used = take_whole(v, packets, fresh, taken, &bytes);
    got = used;
    for (uint32_t i = used; i < taken && vmxnet3_completed(v, &c); i++) {
        struct packet p;
        int32_t number = exchange(v, &c, &p.index, fresh[used]);
        if (unlikely(number < 0)) {
            queue_drop(q, DROP_BAD_SLOT, 1);
            continue;
        }
        used++;
        p.offset = cache_offset(p.index);
        if (likely(accept_frame(v, &p, (uint32_t)number, &c))) {
            bytes += p.length;
            packets[got++] = p;
        }
    }
    stack_give_all(q->stack, fresh + used, taken - used);
    notify(v, &v->rings[0]);
    notify(v, &v->rings[1]);
    queue_count(q, got, bytes);
    return got;
}

int vmxnet3_arm(struct queue *q, int on)
{
    const struct vmxnet3_queue *v = (const struct vmxnet3_queue *)q;
    vector_arm(q, &v->vector, on);
    return vmxnet3_is_written(v, load_relaxed(&vmxnet3_next_completion(v)->high));
}
