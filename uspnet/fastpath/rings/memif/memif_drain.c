// SPDX-License-Identifier: Apache-2.0
/* memif, receive with a copy: a server's C2S rings, and a client's S2C rings without zero copy. */
#include "memif.h"

/* Slots that the peer has filled and we have not drained. */
static inline uint32_t filled(struct memif_queue *m)
{
    uint16_t ahead = (uint16_t)(load_acquire(m->theirs) - m->their_lead - m->next);
    if (likely(ahead <= m->size))
        return ahead;
    queue_fault(&m->q, FAULT_PEER);
    return 0;
}

/* Copies one packet from the slots at `next`. Returns the slots used, 0 while the chain is
 * incomplete; *wrong is its drop reason or DROP_NONE. */
static __attribute__((noinline)) uint32_t drain_one(struct memif_queue *m, uint32_t ahead,
                                                    uint8_t *to, uint32_t limit, uint32_t *length,
                                                    enum drop_reason *wrong)
{
    uint32_t used = 0, total = 0;
    struct memif_descriptor d;
    *wrong = DROP_NONE;
    do {
        uint64_t room;
        const uint8_t *from;
        if (unlikely(used == ahead)) {
            *wrong = DROP_BAD_CHAIN;
            return ahead == m->size ? used : 0; /* a chain as long as the ring can't be complete */
        }
        d = slot_read(slot_of(m, m->next + used));
        from = slot_memory(m, m->next + used, &d, &room);
        used++;
        if (*wrong == DROP_NONE)
            *wrong = piece_wrong(d.length, room, limit - total);
        if (unlikely(*wrong != DROP_NONE))
            continue;
        copy(to + total, from, d.length);
        total += d.length;
    } while (unlikely(d.flags & MEMIF_NEXT));
    *length = total;
    return used;
}

/* Copies packets of one slot each into the buffers `index`, up to the first slot that is invalid or
 * begins a chain. Advances `next`. */
static inline uint32_t drain_plain(struct memif_queue *m, const uint32_t *index,
                                   struct packet *packets, uint32_t n, uint64_t *bytes, int own)
{
    struct view v = view_of(m);
    const struct pool pool = *m->q.pool;
    const uint32_t limit = pool_room(&pool);
    uint64_t total = 0;
    uint32_t got, at = m->next;
    for (got = 0; got < n; got++, at++) {
        struct packet p = {index[got], cache_offset(index[got]), 0};
        uint32_t length;
        uint8_t *from;
        if (unlikely(!view_slot(m, &v, at, own, &from, &length) || length - 1 >= limit))
            break;
        copy(packet_data(&pool, p), from, length);
        p.length = (uint16_t)length;
        packets[got] = p;
        total += length;
    }
    m->next = (uint16_t)at;
    *bytes += total;
    return got;
}

/* Posts slots of an S2C ring again, empty. */
static void lend_again(struct memif_queue *m, uint16_t from, uint16_t to)
{
    for (; from != to; from++)
        *slot_of(m, from) = own_slot(m, from);
}

/* Posts every slot of a new S2C ring. */
void memif_copy_lend(struct memif_queue *m)
{
    lend_again(m, 0, (uint16_t)m->size);
    publish(m, m->next);
}

/* What was drained and not published is received and counted once more; or, where slots may have
 * been posted again already, counted as lost: a burst at most. */
int memif_copy_revive_rx(struct memif_queue *m)
{
    uint16_t shown;
    if (!revive_shown(m, &shown))
        return -1;
    settle_again(m, shown);
    if (m->buffers && shown != m->next) {
        queue_drop(&m->q, DROP_WORKER_LOST, least((uint16_t)(m->next - shown), BURST_MAX));
        lend_again(m, shown, m->next);
        store_release(m->ours, (uint16_t)(m->next + m->our_lead));
    }
    if (!m->buffers)
        m->next = shown;
    return 0;
}

uint32_t memif_copy_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct memif_queue *m = (struct memif_queue *)q;
    uint32_t index[BURST_MAX], ahead = filled(m), got = 0, bad = 0, taken,
                               room = pool_room(q->pool);
    uint16_t first = m->next, end = (uint16_t)(first + ahead);
    uint64_t bytes = 0;
    if (ahead == 0)
        return 0;
    taken = stack_take(q->stack, index, least(n, ahead));
    while (got + bad < taken && m->next != end) {
        struct packet p;
        enum drop_reason wrong;
        uint32_t length, used, left = (uint16_t)(end - m->next);
        used = least(taken - got - bad, left);
        got += m->buffers ? drain_plain(m, index + got, packets + got, used, &bytes, 1)
                          : drain_plain(m, index + got, packets + got, used, &bytes, 0);
        left = (uint16_t)(end - m->next);
        if (likely(got + bad == taken || left == 0))
            break;
        p = (struct packet){index[got], cache_offset(index[got]), 0};
        used = drain_one(m, left, packet_data(q->pool, p), room, &length, &wrong);
        if (unlikely(used == 0))
            break;
        m->next = (uint16_t)(m->next + used);
        if (unlikely(wrong != DROP_NONE)) {
            queue_drop(q, wrong, 1);
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
    if (got)
        settle(m, first);
    keep_order();
    queue_count(q, got, bytes); /* before publish(), which makes these stores visible first */
    publish(m, m->next);
    return got;
}

/* Unmasks, then checks again: the peer may have published just before. */
int memif_copy_arm(struct queue *q, int on)
{
    struct memif_queue *m = (struct memif_queue *)q;
    memif_mask(m, !on);
    return on && filled(m) > 0;
}
