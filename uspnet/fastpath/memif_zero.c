// SPDX-License-Identifier: Apache-2.0
/* memif rings without a copy: those of a client whose pool is one of its regions. Slots [clean,
 * next) hold buffers of ours that the server works on; which ones, we remember ourselves. */
#include "memif.h"

/* How many slots the peer has finished with. */
static inline uint32_t finished(struct memif_queue *m)
{
    uint16_t theirs = load_acquire(m->theirs);
    if (likely(ring_within(m->clean, theirs, m->next)))
        return (uint16_t)(theirs - m->clean);
    queue_fault(&m->q, FAULT_PEER);
    return 0;
}

static void reclaim(struct memif_queue *m)
{
    for (uint32_t n = finished(m); n > 0; n--)
        stack_give(m->q.stack, m->out[m->clean++ & (m->size - 1)]);
}

static inline void slot_lend(struct memif_queue *m, struct packet p)
{
    uint32_t offset = p.index * m->q.pool->size + p.offset;
    m->out[m->next & (m->size - 1)] = p.index;
    slot_write(m, m->next++,
               (struct memif_descriptor){0, (uint16_t)m->pool_region, p.length, offset, 0});
}

uint32_t memif_zero_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct memif_queue *m = (struct memif_queue *)q;
    uint64_t bytes = 0;
    if (ring_reserve(m->next, m->clean, m->size, n) < n)
        reclaim(m); /* only when room is short: `theirs` is a line that the peer writes */
    n = ring_reserve(m->next, m->clean, m->size, n);
    if (n == 0)
        return 0;
    for (uint32_t i = 0; i < n; i++) {
        slot_lend(m, packets[i]);
        bytes += packets[i].length;
    }
    publish(m, m->next);
    queue_count(q, n, bytes);
    return n;
}

/* Lends free buffers to the server, in batches: each publication moves a shared line. */
static void lend(struct memif_queue *m)
{
    uint32_t index[BURST_MAX], n = ring_reserve(m->next, m->clean, m->size, BURST_MAX);
    uint32_t room = longest(m->q.pool);
    if (n < least(BURST_MAX / 2, m->size / 2))
        return;
    n = stack_take(m->q.stack, index, n);
    for (uint32_t i = 0; i < n; i++)
        slot_lend(m, (struct packet){index[i], colour(index[i]), (uint16_t)room});
    if (n)
        publish(m, m->next);
}

/* The packet in the slots at `clean`: the first buffer, with the rest of its chain joined to it.
 * Same returns as drain_one. Only lengths and flags are the peer's; the buffers we know. */
static inline uint32_t receive_one(struct memif_queue *m, uint32_t ahead, struct packet *p)
{
    uint32_t used = 0, total = 0, bad = 0, room = longest(m->q.pool);
    struct memif_descriptor d;
    do {
        uint32_t index;
        if (unlikely(used == ahead)) {
            bad = 1;
            if (ahead < m->size)
                return 0;
            break;
        }
        d = slot_read(m, (uint16_t)(m->clean + used));
        index = m->out[(m->clean + used) & (m->size - 1)];
        bad |= d.length == 0 || d.length > room - total;
        if (used++ == 0)
            *p = (struct packet){index, colour(index), 0};
        else if (!bad)
            memcpy(packet_data(m->q.pool, *p) + total,
                   packet_data(m->q.pool, (struct packet){index, colour(index), 0}), d.length);
        total += bad ? 0 : d.length;
    } while (unlikely(d.flags & MEMIF_NEXT));
    p->length = bad ? 0 : (uint16_t)total;
    for (uint32_t i = 1; i < used; i++)
        stack_give(m->q.stack, m->out[(m->clean + i) & (m->size - 1)]);
    return used;
}

uint32_t memif_zero_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct memif_queue *m = (struct memif_queue *)q;
    uint32_t ahead = finished(m), got = 0;
    uint64_t bytes = 0;
    while (got < n && ahead) {
        struct packet p;
        uint32_t used = receive_one(m, ahead, &p);
        if (used == 0)
            break;
        ahead -= used;
        m->clean = (uint16_t)(m->clean + used);
        if (unlikely(p.length == 0)) {
            q->counters->errors++;
            stack_give(q->stack, p.index);
            continue;
        }
        bytes += p.length;
        packets[got++] = p;
    }
    queue_count(q, got, bytes);
    lend(m);
    return got;
}

/* The ring is gone: all buffers come home. Called from Python while the worker pauses. */
void memif_zero_reset(struct memif_queue *m)
{
    for (; m->clean != m->next; m->clean++)
        stack_give(m->q.stack, m->out[m->clean & (m->size - 1)]);
}

int memif_zero_arm(struct queue *q, int on)
{
    struct memif_queue *m = (struct memif_queue *)q;
    memif_mask(m, !on);
    return on && finished(m) > 0;
}
