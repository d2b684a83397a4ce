// SPDX-License-Identifier: Apache-2.0
/* memif: packets that were put into a transmit ring and that the peer never drained. */
#include "memif.h"

/* Packets (not slots: a chain is one packet) and bytes. */
struct load {
    uint64_t packets, bytes;
};

uint32_t memif_untaken(const struct memif_queue *m)
{
    uint16_t filled;
    if (load_relaxed(&m->q.closed) || !m->ring)
        return 0;
    filled = (uint16_t)(m->next - (load_acquire(m->theirs) - m->their_lead));
    return least(filled, m->size);
}

/* The content of the last `slots` filled slots. Lengths and flags are in memory that the peer can
 * write, so both numbers are limited to what was counted as sent. */
static struct load load_of(const struct memif_queue *m, uint32_t slots)
{
    const struct counters *c = m->q.counters;
    struct load load = {0, 0};
    for (uint32_t i = 0; i < slots; i++) {
        struct memif_descriptor d = slot_read(slot_of(m, m->next - slots + i));
        load.packets += !(d.flags & MEMIF_NEXT);
        load.bytes += least(d.length, UINT16_MAX);
    }
    if (load.packets > c->packets)
        load.packets = c->packets;
    if (load.bytes > c->bytes)
        load.bytes = c->bytes;
    return load;
}

void memif_take_back(struct memif_queue *m)
{
    struct load load;
    if (m->counted || !m->ring)
        return;
    m->counted = 1;
    load =
        load_of(m, least((uint16_t)(m->next - (load_acquire(m->theirs) - m->their_lead)), m->size));
    m->q.counters->packets -= load.packets;
    m->q.counters->bytes -= load.bytes;
    queue_drop(&m->q, DROP_PEER_LEFT, load.packets);
}
