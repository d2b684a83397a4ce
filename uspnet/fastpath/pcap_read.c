// SPDX-License-Identifier: Apache-2.0
/* A capture file as a source: copies each packet into a buffer of the pool. */
#include "pcap.h"

enum { SKIPS = 4096 }; /* blocks without a packet that one burst may pass */

/* The end of the file: start again, unless a whole pass held no packet. */
static int starts_again(struct pcap_source *s)
{
    if (!s->loop || s->number == 0) {
        store_release(&s->q.ended, 1);
        return 0;
    }
    pcap_rewind(s);
    return 1;
}

/* The next packet that can be delivered; 0: none in this burst. */
static int find(struct pcap_source *s, uint32_t *skips, struct found *f)
{
    uint32_t room = pool_room(s->q.pool);
    for (;;) {
        enum step step = pcap_step(s, f);
        if (step == STEP_PACKET) {
            s->number++;
            if (likely(f->length <= room && f->length))
                return 1;
            /* a handle can't describe a packet without a byte */
            queue_drop(&s->q, f->length ? DROP_TOO_LONG : DROP_TOO_SHORT, 1);
        } else if (step == STEP_FAULT) {
            queue_drop(&s->q, DROP_BAD_LENGTH, 1);
            queue_fault(&s->q, FAULT_MALFORMED);
            store_release(&s->q.ended, 1); /* what came before is still delivered */
            return 0;
        } else if (step == STEP_END && !starts_again(s)) {
            return 0;
        }
        if (++*skips >= SKIPS)
            return 0;
    }
}

uint32_t pcap_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct pcap_source *s = (struct pcap_source *)q;
    uint32_t index[BURST_MAX], taken, got = 0, skips = 0;
    uint64_t bytes = 0;
    struct found f;
    if (unlikely(load_relaxed(&q->ended) || load_relaxed(&q->fault)))
        return 0;
    taken = stack_take(q->stack, index, n);
    while (got < taken && find(s, &skips, &f)) {
        struct packet p = {index[got], colour(index[got]), (uint16_t)f.length};
        uint64_t room = s->size - (uint64_t)(f.data - s->base), space = q->pool->size - p.offset;
        pcap_copy(packet_data(q->pool, p), f.data, f.length, room < space ? room : space);
        if (q->stamps)
            q->stamps[got] = f.ns;
        bytes += f.length;
        packets[got++] = p;
    }
    if (unlikely(load_acquire(&q->fault) == FAULT_MEMORY)) { /* zeros came in place of the file */
        queue_drop(q, DROP_BAD_LENGTH, 1);
        got = 0;
        bytes = 0;
    }
    for (uint32_t i = got; i < taken; i++)
        stack_give(q->stack, index[i]);
    queue_count(q, got, bytes);
    return got;
}
