// SPDX-License-Identifier: Apache-2.0
/* The driver's end of packed virtqueues (VIRTIO 1.2, §2.8): one ring, in which we write
 * descriptors and the device overwrites them with what it has used. Two flags of a descriptor say
 * whose it is, in a sense that changes with every round, and so with a bit of the position. */
#include "virtq.h"

static inline uint64_t packed_word(uint32_t length, uint32_t id, uint32_t flags)
{
    return length | (uint64_t)id << 32 | (uint64_t)flags << 48;
}

/* The flags that make a descriptor at this position available (§2.8.1). */
static inline uint32_t available(const struct virtq_queue *v, uint32_t position)
{
    return position & v->chains ? VIRTQ_USED : VIRTQ_AVAILABLE;
}

/* Has the device used the chain at this position (§2.8.1)? */
static inline int is_used(const struct virtq_queue *v, uint32_t position, uint64_t word)
{
    uint32_t both = VIRTQ_AVAILABLE | VIRTQ_USED;
    return ((uint32_t)(word >> 48) & both) == (position & v->chains ? 0 : both);
}

static inline uint32_t id_of(uint64_t word) { return (uint16_t)(word >> 32); }

/* Hands over a batch whose first descriptor, at `slot`, was kept back. §2.8.21.3.1: the driver must
 * perform a suitable memory barrier before the flags update, to ensure the device sees the most
 * up-to-date copy. One barrier covers the batch: the device takes descriptors in order. */
static inline void publish(struct virtq_queue *v, uint32_t slot, uint64_t word)
{
    virtq_write_barrier();
    store_relaxed(&v->descriptors[slot].word, word);
}

/* The ring's next descriptor and the round's sense, as a doorbell tells them (§4.1.5.2). */
static inline uint32_t come_to(const struct virtq_queue *v)
{
    return (v->next & (v->chains - 1)) * v->span | (v->next & v->chains ? 0 : 1u << 15);
}

static inline void notify(struct virtq_queue *v) { virtq_notify(v, &v->theirs->flags, come_to(v)); }

uint32_t virtq_packed_value(const struct virtq_queue *v) { return virtq_told(v, come_to(v)); }

/* --- receive -------------------------------------------------------------------------------- */

static inline uint32_t rx_slot(const struct virtq_queue *v, uint32_t position)
{
    return position & (v->chains - 1);
}

/* Puts n buffers into the ring, the first one last. */
static inline void place(struct virtq_queue *v, const uint32_t *ids, const uint32_t *fresh,
                         uint32_t n)
{
    for (uint32_t i = n; i-- > 0;) {
        uint32_t slot = rx_slot(v, v->next + i);
        uint64_t word = packed_word(v->limit, ids[i], VIRTQ_WRITE | available(v, v->next + i));
        v->buffers[ids[i]] = fresh[i];
        v->descriptors[slot].address = virtq_address(v, fresh[i], colour(fresh[i]));
        if (i)
            v->descriptors[slot].word = word;
        else
            publish(v, slot, word);
    }
    v->next += n;
}

uint32_t virtq_packed_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct virtq_queue *v = (struct virtq_queue *)q;
    uint32_t fresh[BURST_MAX], ids[BURST_MAX], taken, used, got = 0;
    uint64_t bytes = 0;
    if (!is_used(v, v->clean, load_relaxed(&v->descriptors[rx_slot(v, v->clean)].word)) ||
        unlikely(q->fault))
        return 0;
    taken = stack_take(q->stack, fresh, n);
    for (used = 0; used < taken; used++) {
        uint64_t word = load_relaxed(&v->descriptors[rx_slot(v, v->clean)].word);
        struct packet p;
        if (!is_used(v, v->clean, word))
            break;
        virtq_read_barrier(); /* §2.8.22: the flags, then what the device wrote before them */
        ids[used] = id_of(word);
        if (unlikely(!virtq_take(v, ids[used], &p.index)))
            break;
        v->clean++;
        if (likely(virtq_accept(v, &p, (uint32_t)word))) {
            bytes += p.length;
            packets[got++] = p;
        }
    }
    place(v, ids, fresh, used);
    for (uint32_t i = used; i < taken; i++)
        stack_give(q->stack, fresh[i]);
    if (used)
        notify(v);
    queue_count(q, got, bytes);
    return got;
}

/* --- transmit ------------------------------------------------------------------------------- */

static inline uint32_t tx_slot(const struct virtq_queue *v, uint32_t position)
{
    return 2 * (position & (v->chains - 1));
}

uint32_t virtq_packed_clean(struct virtq_queue *v)
{
    while (v->clean != v->next && likely(!v->q.fault)) {
        uint64_t word = load_relaxed(&v->descriptors[tx_slot(v, v->clean)].word);
        if (!is_used(v, v->clean, word))
            break;
        virtq_read_barrier(); /* the flags, then the buffer is ours */
        if (unlikely(!virtq_sent_until(v, id_of(word), v->next - v->clean)))
            break;
    }
    return v->next - v->clean;
}

uint32_t virtq_packed_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct virtq_queue *v = (struct virtq_queue *)q;
    uint32_t first = v->next, flying = first - v->clean, done;
    uint64_t bytes = 0, first_word = 0;
    if (virtq_due(v, flying, n))
        flying = virtq_packed_clean(v);
    n = virtq_room(v, flying, n);
    for (done = 0; done < n; done++) {
        struct packet p = packets[done];
        uint32_t id = v->ids[v->next & (v->chains - 1)], flags = available(v, v->next);
        struct virtq_descriptor *d = &v->descriptors[tx_slot(v, v->next)];
        uint64_t word = packed_word(VIRTQ_NET_HEADER, id, flags | VIRTQ_NEXT);
        if (unlikely(!virtq_sendable(v, p)))
            continue;
        v->buffers[id] = p.index;
        d[1].address = virtq_address(v, p.index, p.offset);
        d[1].word = packed_word(p.length, id, flags);
        if (v->next++ == first)
            first_word = word;
        else
            d->word = word;
        bytes += p.length;
    }
    if (v->next == first)
        return done;
    publish(v, tx_slot(v, first), first_word);
    notify(v);
    queue_count(q, v->next - first, bytes);
    return done;
}

/* --- before and after ----------------------------------------------------------------------- */

int virtq_packed_fill(struct virtq_queue *v, int receive)
{
    uint32_t fresh;
    v->next = v->clean = v->left = 0;
    *v->ours = (struct virtq_events){0, VIRTQ_QUIET}; /* used chains are looked for */
    *v->theirs = (struct virtq_events){0, 0};
    memset(v->buffers, 0xFF, v->chains * sizeof *v->buffers);
    for (uint32_t id = 0; id < v->chains; id++) {
        if (receive) {
            if (!stack_take(v->q.stack, &fresh, 1))
                return -1;
            place(v, &id, &fresh, 1);
        } else {
            v->ids[id] = id;
            v->descriptors[2 * id] = (struct virtq_descriptor){v->header, 0};
            v->descriptors[2 * id + 1] = (struct virtq_descriptor){0, 0};
        }
    }
    return 0;
}

void virtq_packed_ask(struct virtq_queue *v, uint64_t address, uint32_t out, uint32_t in)
{
    uint32_t slot = tx_slot(v, v->next), flags = available(v, v->next++);
    struct virtq_descriptor *d = &v->descriptors[slot];
    d[0].address = address;
    d[1].address = address + out;
    d[1].word = packed_word(in, 0, flags | VIRTQ_WRITE);
    publish(v, slot, packed_word(out, 0, flags | VIRTQ_NEXT));
    notify(v);
}

int virtq_packed_answered(struct virtq_queue *v)
{
    uint32_t position = v->next - 1;
    if (!is_used(v, position, load_relaxed(&v->descriptors[tx_slot(v, position)].word)))
        return 0;
    virtq_read_barrier(); /* the flags, then the answer */
    return 1;
}
