// SPDX-License-Identifier: Apache-2.0
/* virtq_packed: the driver's side of packed virtqueues (VIRTIO 1.2, §2.8): one ring, in which
 * the driver writes available descriptors and the device overwrites them with used ones. Two
 * flags of a descriptor say who owns it; their sense is inverted every lap (the wrap counter),
 * which is a bit of the position. */
#include "virtq_driver.h"

static inline uint64_t packed_word(uint32_t length, uint64_t id, uint64_t flags)
{
    return length | id << 32 | flags << 48;
}

static inline uint64_t flags(uint32_t bits) { return (uint64_t)bits << 48; }

/* The flags that make a descriptor at this position available (§2.8.1). */
static inline uint32_t available(const struct virtq_queue *v, uint32_t position)
{
    return position & v->chains ? VIRTQ_USED : VIRTQ_AVAILABLE;
}

/* Both flags of a used descriptor at this position (§2.8.1). */
static inline uint64_t used_flags(const struct virtq_queue *v, uint32_t position)
{
    return position & v->chains ? 0 : flags(VIRTQ_AVAILABLE | VIRTQ_USED);
}

static inline uint32_t slot_of(const struct virtq_queue *v, uint32_t position, uint32_t per_chain)
{
    return (position & (v->chains - 1)) * per_chain;
}

static inline int is_used(uint64_t word, uint64_t used)
{
    return (word & flags(VIRTQ_AVAILABLE | VIRTQ_USED)) == used;
}

static inline uint32_t in_order_run(const struct virtq_queue *v, uint32_t most, uint32_t per_chain)
{
    const struct virtq_descriptor *d = v->descriptors + slot_of(v, v->clean, per_chain);
    uint64_t mask = packed_word(0, 0xFFFF, VIRTQ_AVAILABLE | VIRTQ_USED);
    uint64_t word = packed_word(0, v->clean & (v->chains - 1), 0) | used_flags(v, v->clean);
    uint32_t n = 0;
    for (; n < most && (load_relaxed(&d->word) & mask) == word; n++, d += per_chain)
        word += packed_word(0, 1, 0);
    device_read_barrier(); /* §2.8.22: the flags, then what the device wrote before them */
    return n;
}

static inline int used(const struct virtq_queue *v, uint32_t position, uint32_t per_chain,
                       uint32_t *id)
{
    uint64_t word = load_relaxed(&v->descriptors[slot_of(v, position, per_chain)].word);
    device_read_barrier();
    *id = (uint16_t)(word >> 32);
    return is_used(word, used_flags(v, position));
}

static inline void lengths(const struct virtq_queue *v, uint32_t *restrict lengths, uint32_t n)
{
    const struct virtq_descriptor *d = v->descriptors + slot_of(v, v->clean, 1);
    for (uint32_t i = 0; i < n; i++)
        lengths[i] = (uint32_t)d[i].word;
    virtq_read_once();
}

/* Writes a descriptor's word; that of a batch's first one is kept for publish(), since it makes the
 * whole batch available. */
static inline void write_first(struct virtq_queue *v, uint32_t position,
                               struct virtq_descriptor *first, uint64_t word)
{
    *(position == v->published ? &v->first : &first->word) = word;
}

static inline void place(struct virtq_queue *v, uint32_t position, uint32_t id,
                         const uint32_t *restrict fresh, uint32_t n)
{
    struct virtq_descriptor *restrict d = v->descriptors + slot_of(v, position, 1);
    uint64_t word = packed_word(v->limit, id, VIRTQ_WRITE | available(v, position));
    uint64_t base = v->dma_base;
    uint32_t size = v->buffer;
    write_first(v, position, d, word);
    d->address = virtq_address(base, size, *fresh, cache_offset(*fresh));
    for (size_t i = 1; i < n; i++) {
        d[i].address = virtq_address(base, size, fresh[i], cache_offset(fresh[i]));
        d[i].word = word + packed_word(0, i, 0);
    }
}

/* The descriptors of the net headers keep their addresses. */
static inline void send(struct virtq_queue *v, uint32_t position,
                        const struct packet *restrict packets, uint32_t n)
{
    uint32_t slot = slot_of(v, position, 2);
    struct virtq_descriptor *restrict d = v->descriptors + slot;
    uint64_t body = packed_word(0, slot / 2, available(v, position));
    uint64_t head = body | packed_word(VIRTQ_NET_HEADER, 0, VIRTQ_NEXT);
    uint64_t base = v->dma_base;
    uint32_t size = v->buffer;
    write_first(v, position, d, head);
    for (size_t i = 0; i < n; i++) {
        struct packet p = packets[i];
        d[2 * i + 1].address = virtq_address(base, size, p.index, p.offset);
        d[2 * i + 1].word = body + packed_word(p.length, i, 0);
    }
    for (size_t i = 1; i < n; i++)
        d[2 * i].word = head + packed_word(0, i, 0);
}

/* Offset and wrap counter of the next descriptor, as NOTIFICATION_DATA has them (§4.1.5.2). */
static inline uint32_t notify_position(const struct virtq_queue *v)
{
    return slot_of(v, v->next, v->descs_per_chain) | (v->next & v->chains ? 0 : 1u << 15);
}

/* §2.8.21.3.1: the driver must perform a suitable memory barrier before the flags update, to
 * ensure the device sees the most up-to-date copy. One barrier covers the batch: the device
 * reads descriptors in order. */
static inline void publish(struct virtq_queue *v)
{
    device_write_barrier();
    store_relaxed(&v->descriptors[slot_of(v, v->published, v->descs_per_chain)].word, v->first);
    v->published = v->next;
    virtq_notify(v, &v->theirs->flags, notify_position(v));
}

static const struct virtq_format PACKED = {in_order_run, used,    lengths,           place,
                                           send,         publish, virtq_packed_clean};

uint32_t virtq_packed_value(const struct virtq_queue *v)
{
    return virtq_notify_value(v, notify_position(v));
}

uint32_t virtq_packed_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct virtq_queue *v = (struct virtq_queue *)q;
    uint32_t id;
    if (!used(v, v->clean, 1, &id) || unlikely(q->fault))
        return 0;
    return virtq_receive(v, packets, n, &PACKED);
}

int virtq_packed_arm(struct queue *q, int on)
{
    const struct virtq_queue *v = (const struct virtq_queue *)q;
    uint32_t id;
    virtq_ask_notice(q, &v->ours->flags, on);
    return used(v, v->clean, 1, &id) && !q->fault;
}

uint32_t virtq_packed_clean(struct virtq_queue *v)
{
    return virtq_reclaim(v, v->q.fault ? 0 : v->next - v->clean, &PACKED);
}

uint32_t virtq_packed_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    return virtq_transmit((struct virtq_queue *)q, packets, n, &PACKED);
}

/* --- before and after ----------------------------------------------------------------------- */

int virtq_packed_fill(struct virtq_queue *v, int receive)
{
    uint32_t fresh;
    virtq_begin_fill(v);
    *v->ours = (struct virtq_events){0, VIRTQ_QUIET}; /* used chains are polled for */
    *v->theirs = (struct virtq_events){0, 0};
    for (uint32_t id = 0; id < v->chains; id++) {
        if (receive) {
            if (!stack_fetch(v->q.stack, &fresh))
                return -1;
            v->buffers[id] = fresh;
            place(v, id, id, &fresh, 1);
        } else {
            v->descriptors[2 * id] = (struct virtq_descriptor){v->header, 0};
            v->descriptors[2 * id + 1] = (struct virtq_descriptor){0, 0};
        }
    }
    if (receive) {
        v->descriptors[0].word = v->first;
        v->next = v->published = v->chains;
    }
    return 0;
}

void virtq_packed_ask(struct virtq_queue *v, uint64_t address, uint32_t out, uint32_t in)
{
    uint32_t sense = available(v, v->next);
    struct virtq_descriptor *d = &v->descriptors[slot_of(v, v->next, 2)];
    d[0].address = address;
    d[1].address = address + out;
    d[1].word = packed_word(in, 0, sense | VIRTQ_WRITE);
    v->first = packed_word(out, 0, sense | VIRTQ_NEXT);
    v->next++;
    publish(v);
}

int virtq_packed_answered(struct virtq_queue *v)
{
    uint32_t id;
    return used(v, v->next - 1, 2, &id); /* with its barrier: the flags, then the reply */
}
