// SPDX-License-Identifier: Apache-2.0
/* virtq: the driver's side of split virtqueues (VIRTIO 1.2, §2.7).  A packet to send is a chain
 * of two descriptors. The first is the net header, the same twelve zeros for all packets: so the
 * packet's memory is not touched, and that descriptor is written once, when the ring is
 * initialized. A received frame follows its net header in one buffer. */
#include "virtq_driver.h"

static inline uint64_t split_word(uint32_t length, uint32_t flags, uint32_t next)
{
    return length | (uint64_t)flags << 32 | (uint64_t)next << 48;
}

/* The number of used chains by the used index. More than `most` is a fault. §2.7.14: used elements
 * are read after the index. */
static inline uint32_t reported(struct virtq_queue *v, uint32_t most)
{
    uint32_t n = (uint16_t)(load_relaxed(&v->used->index) - v->clean);
    device_read_barrier();
    if (likely(n <= most) && likely(!v->q.fault))
        return n;
    queue_fault(&v->q, FAULT_RING);
    return 0;
}

static inline const struct virtq_used_element *element(const struct virtq_queue *v,
                                                       uint32_t position, uint32_t per_chain)
{
    return v->used->ring + (position & (v->chains * per_chain - 1));
}

static inline uint32_t in_order_run(const struct virtq_queue *v, uint32_t most, uint32_t per_chain)
{
    const struct virtq_used_element *e = element(v, v->clean, per_chain);
    uint32_t id = (v->clean & (v->chains - 1)) * per_chain, n = 0;
    while (n < most && load_relaxed(&e[n].id) == id + n * per_chain)
        n++;
    return n;
}

/* Called only for positions that reported() covers. A chain's first descriptor is a multiple of
 * per_chain. */
static inline int used(const struct virtq_queue *v, uint32_t position, uint32_t per_chain,
                       uint32_t *id)
{
    uint32_t head = load_relaxed(&element(v, position, per_chain)->id);
    *id = head % per_chain ? VIRTQ_NONE : head / per_chain;
    return 1;
}

static inline void lengths(const struct virtq_queue *v, uint32_t *restrict lengths, uint32_t n)
{
    const struct virtq_used_element *e = element(v, v->clean, 1);
    for (uint32_t i = 0; i < n; i++)
        lengths[i] = e[i].length;
    virtq_read_once();
}

/* Length and flags of these descriptors are constant. */
static inline void place(struct virtq_queue *v, uint32_t position, uint32_t id,
                         const uint32_t *restrict fresh, uint32_t n)
{
    uint16_t *restrict ring = v->available->ring + (position & (v->chains - 1));
    struct virtq_descriptor *restrict d = v->descriptors + id;
    uint64_t base = v->dma_base;
    uint32_t size = v->buffer;
    for (size_t i = 0; i < n; i++)
        d[i].address = virtq_address(base, size, fresh[i], cache_offset(fresh[i]));
    for (uint32_t i = 0; i < n; i++)
        ring[i] = (uint16_t)(id + i);
}

/* Fills in only the second descriptors; all else is constant since virtq_fill(). */
static inline void send(struct virtq_queue *v, uint32_t position,
                        const struct packet *restrict packets, uint32_t n)
{
    struct virtq_descriptor *restrict d = v->descriptors + 2 * (position & (v->chains - 1));
    uint64_t base = v->dma_base;
    uint32_t size = v->buffer;
    for (size_t i = 0; i < n; i++) {
        struct packet p = packets[i];
        d[2 * i + 1].address = virtq_address(base, size, p.index, p.offset);
        d[2 * i + 1].word = split_word(p.length, 0, 0);
    }
}

/* §2.7.13.3.1: the driver must perform a suitable memory barrier before the idx update, to ensure
 * the device sees the most up-to-date copy of descriptors and ring. */
static inline void publish(struct virtq_queue *v)
{
    device_write_barrier();
    store_relaxed(&v->available->index, (uint16_t)v->next);
    virtq_notify(v, &v->used->flags, (uint16_t)v->next);
}

static const struct virtq_format SPLIT = {in_order_run, used,    lengths,    place,
                                          send,         publish, virtq_clean};

uint32_t virtq_value(const struct virtq_queue *v)
{
    return virtq_notify_value(v, (uint16_t)v->next);
}

uint32_t virtq_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct virtq_queue *v = (struct virtq_queue *)q;
    n = least(n, reported(v, v->chains));
    return n ? virtq_receive(v, packets, n, &SPLIT) : 0;
}

int virtq_arm(struct queue *q, int on)
{
    const struct virtq_queue *v = (const struct virtq_queue *)q;
    virtq_ask_notice(q, &v->available->flags, on);
    return load_relaxed(&v->used->index) != (uint16_t)v->clean && !q->fault;
}

uint32_t virtq_clean(struct virtq_queue *v)
{
    return virtq_reclaim(v, reported(v, v->next - v->clean), &SPLIT);
}

uint32_t virtq_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    return virtq_transmit((struct virtq_queue *)q, packets, n, &SPLIT);
}

/* --- before and after ----------------------------------------------------------------------- */

int virtq_fill(struct virtq_queue *v, int receive)
{
    uint32_t fresh;
    virtq_begin_fill(v);
    v->available->flags = VIRTQ_QUIET; /* used chains are polled for */
    v->used->flags = v->used->index = 0;
    for (uint32_t id = 0; id < v->chains; id++) {
        if (receive) {
            v->descriptors[id].word = split_word(v->limit, VIRTQ_WRITE, 0);
            if (!stack_fetch(v->q.stack, &fresh))
                return -1;
            v->buffers[id] = fresh;
            place(v, id, id, &fresh, 1);
        } else {
            v->available->ring[id] = v->available->ring[v->chains + id] = (uint16_t)(2 * id);
            v->descriptors[2 * id].address = v->header;
            v->descriptors[2 * id].word = split_word(VIRTQ_NET_HEADER, VIRTQ_NEXT, 2 * id + 1);
        }
    }
    v->next = receive ? v->chains : 0;
    v->available->index = (uint16_t)v->next;
    return 0;
}

void virtq_ask(struct virtq_queue *v, uint64_t address, uint32_t out, uint32_t in)
{
    v->descriptors[0].address = address;
    v->descriptors[0].word = split_word(out, VIRTQ_NEXT, 1);
    v->descriptors[1].address = address + out;
    v->descriptors[1].word = split_word(in, VIRTQ_WRITE, 0);
    v->available->ring[v->next++ & (2 * v->chains - 1)] = 0;
    publish(v);
}

int virtq_answered(struct virtq_queue *v)
{
    if (load_relaxed(&v->used->index) != (uint16_t)v->next)
        return 0;
    device_read_barrier(); /* the index, then the reply */
    return 1;
}
