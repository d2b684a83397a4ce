// SPDX-License-Identifier: Apache-2.0
/* memif, zero copy: rings of a client whose pool is one of its regions. Slots [clean, next) hold
 * pool buffers that the server may use; `out` has their indices, out of the server's reach. */
#include "memif.h"

/* Slots that the peer has finished with. */
static inline uint32_t finished(struct memif_queue *m)
{
    uint16_t theirs = load_acquire(m->theirs);
    if (likely(ring_within(m->clean, theirs, m->next)))
        return (uint16_t)(theirs - m->clean);
    queue_fault(&m->q, FAULT_PEER);
    return 0;
}

/* Returns the buffers of finished slots to the stack, as two runs of `out` around its end. */
static void reclaim(struct memif_queue *m)
{
    struct stack *s = m->q.stack;
    uint32_t at = m->clean & (m->size - 1), n = finished(m), first = least(n, m->size - at);
    memcpy(s->free + s->top, m->out + at, first * sizeof *m->out);
    memcpy(s->free + s->top + first, m->out, (n - first) * sizeof *m->out);
    s->top += n;
    m->clean = (uint16_t)(m->clean + n);
}

/* The fields that filling slots needs, in locals, so that they are not reloaded after stores. */
struct lending {
    struct memif_descriptor *slots;
    uint32_t *out, mask, size;
    uint16_t region;
};

static inline struct lending lending_of(const struct memif_queue *m)
{
    return (struct lending){m->ring->slots, m->out, m->size - 1, m->q.pool->size,
                            (uint16_t)m->pool_region};
}

static inline void slot_lend(const struct lending *l, uint32_t at, struct packet p)
{
    uint32_t offset = p.index * l->size + p.offset;
    l->out[at & l->mask] = p.index;
    l->slots[at & l->mask] = (struct memif_descriptor){0, l->region, p.length, offset, 0};
}

uint32_t memif_zero_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct memif_queue *m = (struct memif_queue *)q;
    const struct lending l = lending_of(m);
    uint32_t next = m->next;
    uint64_t bytes = 0;
    if (ring_reserve(m->next, m->clean, m->size, n) < n)
        reclaim(m); /* only when needed: the peer writes to the cache line of `theirs` */
    n = ring_reserve(m->next, m->clean, m->size, n);
    if (n == 0)
        return 0;
    for (uint32_t i = 0; i < n; i++) {
        struct packet p = packets[i];
        slot_lend(&l, next + i, p);
        bytes += p.length;
    }
    keep_order(); /* slots before `next`, as revive() expects */
    m->next = (uint16_t)(next + n);
    publish(m, m->next);
    keep_order(); /* what is counted as sent was published */
    queue_count(q, n, bytes);
    return n;
}

/* Posts free buffers for the server, in batches: each publication transfers a shared cache line. */
static void lend(struct memif_queue *m)
{
    const struct lending l = lending_of(m);
    uint32_t index[BURST_MAX], n = ring_reserve(m->next, m->clean, m->size, BURST_MAX);
    uint32_t next = m->next, room = pool_room(m->q.pool);
    if (n < least(BURST_MAX / 2, m->size / 2))
        return;
    n = stack_take(m->q.stack, index, n);
    for (uint32_t i = 0; i < n; i++)
        slot_lend(&l, next + i, (struct packet){index[i], cache_offset(index[i]), (uint16_t)room});
    keep_order();
    m->next = (uint16_t)(next + n);
    if (n)
        publish(m, m->next);
}

/* Receives and counts packets of one slot each, up to the first slot that is invalid or begins a
 * chain. */
static inline uint32_t receive_plain(struct memif_queue *m, struct packet *packets, uint32_t n)
{
    const struct memif_descriptor *slots = m->ring->slots;
    const uint32_t *out = m->out, mask = m->size - 1, room = pool_room(m->q.pool);
    uint32_t at = m->clean, got;
    uint64_t total = 0;
    for (got = 0; got < n; got++, at++) {
        struct memif_front d = front_read(&slots[at & mask]);
        uint32_t index = out[at & mask];
        if (unlikely((d.flags & MEMIF_NEXT) || d.length - 1 >= room))
            break;
        packets[got] = (struct packet){index, cache_offset(index), (uint16_t)d.length};
        total += d.length;
    }
    if (likely(got))
        settle(m, m->clean);
    queue_count(&m->q, got, total);
    keep_order(); /* what has left the ring is counted */
    m->clean = (uint16_t)at;
    return got;
}

/* Receives the packet in the slots at `clean`, its chain joined in the first buffer. Returns as
 * drain_one(). Only lengths and flags are read from the slots; the buffers are those of `out`. */
static uint32_t receive_one(struct memif_queue *m, uint32_t ahead, struct packet *p,
                            enum drop_reason *wrong)
{
    uint32_t used = 0, total = 0, room = pool_room(m->q.pool);
    struct memif_front d;
    *wrong = DROP_NONE;
    do {
        uint32_t index, at = (m->clean + used) & (m->size - 1);
        if (unlikely(used == ahead)) {
            *wrong = DROP_BAD_CHAIN;
            if (ahead < m->size)
                return 0;
            break;
        }
        d = front_read(&m->ring->slots[at]);
        index = m->out[at];
        if (*wrong == DROP_NONE)
            *wrong = piece_wrong(d.length, room, room - total);
        if (used++ == 0)
            *p = (struct packet){index, cache_offset(index), 0};
        else if (*wrong == DROP_NONE)
            memcpy(packet_data(m->q.pool, *p) + total,
                   packet_data(m->q.pool, (struct packet){index, cache_offset(index), 0}),
                   d.length);
        total += *wrong == DROP_NONE ? d.length : 0;
    } while (unlikely(d.flags & MEMIF_NEXT));
    p->length = (uint16_t)total;
    for (uint32_t i = 1; i < used; i++)
        stack_give(m->q.stack, m->out[(m->clean + i) & (m->size - 1)]);
    return used;
}

uint32_t memif_zero_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct memif_queue *m = (struct memif_queue *)q;
    uint32_t ahead = finished(m), got = 0;
    while (got < n && ahead) {
        struct packet p;
        enum drop_reason wrong;
        uint32_t used = receive_plain(m, packets + got, least(n - got, ahead));
        got += used;
        ahead -= used;
        if (likely(got == n || ahead == 0))
            break;
        used = receive_one(m, ahead, &p, &wrong);
        if (used == 0)
            break;
        ahead -= used;
        if (unlikely(wrong != DROP_NONE)) {
            queue_refuse(q, p.index, wrong);
        } else {
            settle(m, m->clean);
            queue_count(q, 1, p.length);
            packets[got++] = p;
        }
        keep_order();
        m->clean = (uint16_t)(m->clean + used);
    }
    lend(m);
    return got;
}

/* The peer gets what was put into slots and not published. `out` and both positions are out of its
 * reach; what it drained meanwhile is validated by the next burst. */
static int revive(struct memif_queue *m)
{
    store_relaxed(&m->ringing, 0);
    if ((uint16_t)(m->next - m->clean) > m->size) {
        queue_fault(&m->q, FAULT_RING);
        return -1;
    }
    store_release(m->ours, (uint16_t)(m->next + m->our_lead));
    return 0;
}

int memif_zero_revive_tx(struct memif_queue *m) { return revive(m); }

int memif_zero_revive_rx(struct memif_queue *m)
{
    if (revive(m))
        return -1;
    settle_again(m, m->clean);
    return 0;
}

/* Returns all buffers to the stack when the ring is detached. Called by Python while the worker is
 * paused. */
void memif_zero_reset(struct memif_queue *m)
{
    uint32_t used = least((uint16_t)(m->next - m->clean), m->size);
    for (uint32_t i = 0; i < used; i++)
        stack_return(m->q.stack, m->out[(m->clean + i) & (m->size - 1)]);
    m->clean = m->next;
}

int memif_zero_arm(struct queue *q, int on)
{
    struct memif_queue *m = (struct memif_queue *)q;
    memif_mask(m, !on);
    return on && finished(m) > 0;
}
