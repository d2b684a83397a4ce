// SPDX-License-Identifier: Apache-2.0
/* memif rings that copy: all those of a server, and those of a client without zero copy. */
#include "memif.h"

/* Exactly n bytes, without a call: what lies behind a packet in its buffer is none of the peer's
 * business. The last block overlaps the one before it. */
static inline void copy(uint8_t *to, const uint8_t *from, uint32_t n)
{
    if (unlikely(n < 32)) {
        memcpy(to, from, n);
    } else if (n < 64) {
        memcpy(to, from, 32);
        memcpy(to + n - 32, from + n - 32, 32);
    } else {
        for (uint32_t at = 0; at + 64 < n; at += 64)
            memcpy(to + at, from + at, 64);
        memcpy(to + n - 64, from + n - 64, 64);
    }
}

/* Slots that the peer has filled for us and that we have not drained yet. */
static inline uint32_t filled(struct memif_queue *m)
{
    uint16_t ahead = (uint16_t)(load_acquire(m->theirs) - m->their_lead - m->next);
    if (likely(ahead <= m->size))
        return ahead;
    queue_fault(&m->q, FAULT_PEER);
    return 0;
}

/* Slots that the peer has drained and that we may fill. */
static inline uint32_t unfilled(struct memif_queue *m)
{
    uint16_t waiting = (uint16_t)(m->next - (load_acquire(m->theirs) - m->their_lead));
    if (likely(waiting <= m->size))
        return m->size - waiting;
    queue_fault(&m->q, FAULT_PEER);
    return 0;
}

/* Copies one packet out of the slots at `next`. Returns the slots used, 0 while a chain is still
 * incomplete; *length is 0 when the packet was malformed. */
static inline uint32_t drain_one(struct memif_queue *m, uint32_t ahead, uint8_t *to,
                                 uint32_t limit, uint32_t *length)
{
    uint32_t used = 0, total = 0, bad = 0;
    struct memif_descriptor d;
    do {
        uint64_t room = 0;
        const uint8_t *from;
        if (unlikely(used == ahead)) {
            *length = 0;
            return ahead == m->size ? used : 0; /* a chain as long as the ring never ends */
        }
        d = slot_read(m, (uint16_t)(m->next + used));
        from = slot_memory(m, (uint16_t)(m->next + used), &d, &room);
        used++;
        bad |= !from || d.length == 0 || d.length > room || d.length > limit - total;
        if (unlikely(bad))
            continue;
        copy(to + total, from, d.length);
        total += d.length;
    } while (unlikely(d.flags & MEMIF_NEXT));
    *length = bad ? 0 : total;
    return used;
}

/* Starts the loads of a burst together: each is a cache line in the other core's cache. */
static inline void prefetch_slots(struct memif_queue *m, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint16_t at = (uint16_t)(m->next + i);
        struct memif_descriptor d = slot_read(m, at);
        uint64_t room;
        const uint8_t *from = slot_memory(m, at, &d, &room);
        if (likely(from != NULL))
            prefetch(from);
    }
}

/* An S2C ring's slots go back to the server empty, as they were lent. */
static void lend_again(struct memif_queue *m, uint16_t from, uint16_t to)
{
    for (; from != to; from++) {
        uint32_t offset = (uint32_t)(m->buffers - m->regions[0].base) +
                          (from & (m->size - 1)) * m->buffer_size;
        slot_write(m, from, (struct memif_descriptor){0, 0, m->buffer_size, offset, 0});
    }
}

/* Lends every slot of a fresh S2C ring. */
void memif_copy_lend(struct memif_queue *m)
{
    lend_again(m, 0, (uint16_t)m->size);
    publish(m, m->next);
}

uint32_t memif_copy_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct memif_queue *m = (struct memif_queue *)q;
    uint32_t index[BURST_MAX], ahead = filled(m), got = 0, bad = 0, taken, room = longest(q->pool);
    uint16_t first = m->next, end = (uint16_t)(first + ahead);
    uint64_t bytes = 0;
    if (ahead == 0)
        return 0;
    n = least(n, ahead);
    prefetch_slots(m, n);
    taken = stack_take(q->stack, index, n);
    while (got + bad < taken && m->next != end) {
        struct packet p = {index[got], colour(index[got]), 0};
        uint32_t length, left = (uint16_t)(end - m->next);
        uint32_t used = drain_one(m, left, packet_data(q->pool, p), room, &length);
        if (unlikely(used == 0))
            break;
        m->next = (uint16_t)(m->next + used);
        if (unlikely(length == 0)) {
            bad++;
            continue;
        }
        p.length = (uint16_t)length;
        bytes += length;
        packets[got++] = p;
    }
    for (uint32_t i = got; i < taken; i++)
        stack_give(q->stack, index[i]);
    if (m->buffers)
        lend_again(m, first, m->next);
    publish(m, m->next);
    q->counters->errors += bad;
    queue_count(q, got, bytes);
    return got;
}

/* Copies one packet into the slots at `next`, chained when one is too small. Returns the slots
 * used, 0 when there are too few; *good is false when only unusable slots were used up. */
static inline uint32_t fill_one(struct memif_queue *m, uint32_t free, const uint8_t *from,
                                uint32_t length, int *good)
{
    uint32_t used = 0, done = 0;
    *good = 1;
    while (done < length) {
        uint16_t at = (uint16_t)(m->next + used);
        struct memif_descriptor d;
        uint64_t room = 0;
        uint8_t *to;
        uint32_t part;
        if (unlikely(used == free))
            return 0;
        d = slot_read(m, at);
        to = slot_memory(m, at, &d, &room);
        if (m->buffers)
            d = (struct memif_descriptor){0, 0, m->buffer_size, (uint32_t)(to - m->regions->base),
                                          0};
        used++;
        if (unlikely(!to || d.length == 0)) { /* a lent slot without memory: give it back empty */
            *good = 0;
            d.length = 0;
            d.flags = 0;
            slot_write(m, at, d);
            return used;
        }
        part = least(d.length, length - done);
        copy(to, from + done, part);
        done += part;
        d.length = part;
        d.flags = done < length ? MEMIF_NEXT : 0;
        slot_write(m, at, d);
    }
    return used;
}

uint32_t memif_copy_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct memif_queue *m = (struct memif_queue *)q;
    uint32_t free = unfilled(m), done = 0, sent = 0;
    uint16_t first = m->next;
    uint64_t bytes = 0;
    while (done < n && free) {
        int good;
        const uint8_t *from = packet_data(q->pool, packets[done]);
        uint32_t used = fill_one(m, free, from, packets[done].length, &good);
        if (unlikely(used == 0)) {
            if (free < m->size && packets[done].length)
                break;
            q->counters->errors++; /* empty, or longer than the whole ring: it will never fit */
            done++;
            continue;
        }
        m->next = (uint16_t)(m->next + used);
        free -= used;
        if (unlikely(!good)) {
            q->counters->errors++;
            continue;
        }
        bytes += packets[done++].length;
        sent++;
    }
    if (m->next != first)
        publish(m, m->next);
    stack_give_packets(q->stack, packets, done);
    queue_count(q, sent, bytes);
    return done;
}

/* Interrupt mode: unmask, then look once more, since the peer may have published just before. */
int memif_copy_arm(struct queue *q, int on)
{
    struct memif_queue *m = (struct memif_queue *)q;
    memif_mask(m, !on);
    return on && filled(m) > 0;
}
