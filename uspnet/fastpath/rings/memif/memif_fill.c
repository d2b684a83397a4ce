// SPDX-License-Identifier: Apache-2.0
/* memif, transmit with a copy: a server's S2C rings, and a client's C2S rings without zero copy. */
#include "memif.h"

/* Slots that may be filled. */
static inline uint32_t unfilled(struct memif_queue *m)
{
    uint16_t waiting = (uint16_t)(m->next - (load_acquire(m->theirs) - m->their_lead));
    if (likely(waiting <= m->size))
        return m->size - waiting;
    queue_fault(&m->q, FAULT_PEER);
    return 0;
}

/* Copies packets into one slot each, up to the first slot that is too small. Advances `next`. */
static inline uint32_t fill_plain(struct memif_queue *m, const struct packet *packets, uint32_t n,
                                  uint64_t *bytes, int own)
{
    struct view v = view_of(m);
    const struct pool pool = *m->q.pool;
    const uint32_t first = own ? (uint32_t)(m->buffers - m->regions[0].base) : 0;
    uint64_t total = 0;
    uint32_t done, at = m->next;
    for (done = 0; done < n; done++, at++) {
        struct packet p = packets[done];
        struct memif_descriptor *slot = &v.slots[at & v.mask];
        uint32_t length = (uint32_t)v.size, buffer = (at & v.mask) * length;
        uint8_t *to = v.base + buffer;
        if (!own && unlikely(!view_slot(m, &v, at, 0, &to, &length)))
            break;
        if (unlikely(p.length - 1u >= length))
            break;
        copy(to, packet_data(&pool, p), p.length);
        if (own)
            *slot = (struct memif_descriptor){0, 0, p.length, first + buffer, 0};
        else
            store_relaxed(&slot->length, (uint32_t)p.length);
        total += p.length;
    }
    m->next = (uint16_t)at;
    *bytes += total;
    return done;
}

/* Copies one packet into the slots at `next`, chained when one is too small. Returns the slots
 * used, 0 when there are too few; *good is 0 when an unusable slot was skipped instead. */
static uint32_t fill_one(struct memif_queue *m, uint32_t free, const uint8_t *from, uint32_t length,
                         int *good)
{
    uint32_t used = 0, done = 0;
    *good = 1;
    while (done < length) {
        struct memif_descriptor d, *slot = slot_of(m, m->next + used);
        uint64_t room;
        uint8_t *to;
        uint32_t part;
        if (unlikely(used == free))
            return 0;
        d = slot_read(slot);
        to = slot_memory(m, m->next + used, &d, &room);
        if (m->buffers)
            d = own_slot(m, m->next + used);
        used++;
        if (unlikely(!to || d.length == 0)) { /* a posted slot without memory: return it empty */
            *good = 0;
            d.length = 0;
            d.flags = 0;
            *slot = d;
            return used;
        }
        part = least(d.length, length - done);
        copy(to, from + done, part);
        done += part;
        d.length = part;
        d.flags = done < length ? MEMIF_NEXT : 0;
        *slot = d;
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
        uint32_t most = least(n - done, free);
        uint32_t used = m->buffers ? fill_plain(m, packets + done, most, &bytes, 1)
                                   : fill_plain(m, packets + done, most, &bytes, 0);
        done += used;
        sent += used;
        free -= used;
        if (likely(done == n || free == 0))
            break;
        used = fill_one(m, free, packet_data(q->pool, packets[done]), packets[done].length, &good);
        if (unlikely(used == 0)) {
            if (free < m->size && packets[done].length)
                break;
            /* longer than all slots together */
            queue_drop_packets(q, packets[done].length ? DROP_TOO_LONG : DROP_TOO_SHORT,
                               packets + done, 1);
            done++;
            continue;
        }
        m->next = (uint16_t)(m->next + used);
        free -= used;
        if (unlikely(!good)) /* retry in the next slot */
            continue;
        bytes += packets[done++].length;
        sent++;
    }
    if (m->next != first)
        publish(m, m->next);
    stack_give_packets(q->stack, packets, done);
    keep_order(); /* what is counted as sent was published */
    queue_count(q, sent, bytes);
    return done;
}

/* What was filled and not published is filled again. A server has shortened these slots: frames
 * that no longer fit one are chained. */
int memif_copy_revive_tx(struct memif_queue *m) { return revive_shown(m, &m->next) ? 0 : -1; }
