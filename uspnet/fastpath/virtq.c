// SPDX-License-Identifier: Apache-2.0
/* The driver's end of split virtqueues (§ of VIRTIO 1.2), and what packed ones share with it.
 *
 * A packet to send is a chain of two descriptors. The first is the net header: the same twelve
 * zeros for all packets, so that sending touches neither the packet's memory nor what lies in
 * front of it, and the descriptor is written once, when the ring is made. A received frame follows
 * its header in one buffer. */
#include "virtq.h"

static inline uint64_t split_word(uint32_t length, uint32_t flags, uint32_t next)
{
    return length | (uint64_t)flags << 32 | (uint64_t)next << 48;
}

/* §2.7.13.3.1: the driver must perform a suitable memory barrier before the idx update, to ensure
 * the device sees the most up-to-date copy of descriptors and ring. */
static inline void publish(struct virtq_queue *v)
{
    virtq_write_barrier();
    store_relaxed(&v->available->index, (uint16_t)v->next);
}

static inline void notify(struct virtq_queue *v)
{
    virtq_notify(v, &v->used->flags, (uint16_t)v->next);
}

uint32_t virtq_value(const struct virtq_queue *v) { return virtq_told(v, (uint16_t)v->next); }

/* Chains that the device reports as used, at most `most` of them. §2.7.14: the driver must read
 * what was used after it has seen the index that says so. */
static inline uint32_t reported(struct virtq_queue *v, uint32_t most)
{
    uint32_t n = (uint16_t)(load_relaxed(&v->used->index) - v->clean);
    virtq_read_barrier();
    if (likely(n <= most) && likely(!v->q.fault))
        return n;
    queue_fault(&v->q, FAULT_RING);
    return 0;
}

/* --- receive -------------------------------------------------------------------------------- */

int virtq_refuse(struct virtq_queue *v, uint32_t index)
{
    v->q.counters->errors++;
    stack_give(v->q.stack, index);
    return 0;
}

/* The first piece of a frame that takes several buffers (§5.1.6.4). */
int virtq_begin(struct virtq_queue *v, struct packet *p, uint32_t pieces)
{
    if (pieces == 0 || pieces > v->chains)
        return virtq_refuse(v, p->index);
    v->part = *p;
    v->left = pieces - 1;
    return 0;
}

/* A further piece, without a header. They are joined in the first one's buffer; a piece that is
 * empty or too long spoils the whole, which then has length 0. */
int virtq_join(struct virtq_queue *v, struct packet *p, uint32_t length)
{
    const struct pool *pool = v->q.pool;
    struct packet piece = {p->index, colour(p->index), 0};
    uint64_t whole = (uint64_t)v->part.length + length;
    if (v->part.length && length && length <= v->limit &&
        whole <= pool_room(pool) - VIRTQ_NET_HEADER) {
        memcpy(packet_data(pool, v->part) + v->part.length, packet_data(pool, piece), length);
        v->part.length = (uint16_t)whole;
    } else {
        v->part.length = 0;
    }
    stack_give(v->q.stack, p->index);
    if (--v->left)
        return 0;
    *p = v->part;
    return p->length ? 1 : virtq_refuse(v, p->index);
}

/* Puts n buffers into the ring, not beyond its end. Their chains' length and flags never change. */
static inline void place(struct virtq_queue *restrict v, const uint32_t *ids, const uint32_t *fresh,
                         uint32_t n)
{
    uint16_t *ring = v->available->ring + (v->next & (v->chains - 1));
    for (uint32_t i = 0; i < n; i++) {
        v->buffers[ids[i]] = fresh[i];
        v->descriptors[ids[i]].address = virtq_address(v, fresh[i], colour(fresh[i]));
        ring[i] = (uint16_t)ids[i];
    }
    v->next += n;
}

/* Takes at most n used chains, not beyond the ring's end, and puts fresh buffers in their place:
 * the ring is always full. Only then does the device see these again, so that whatever it gives
 * back twice is noticed. */
static uint32_t receive(struct virtq_queue *restrict v, struct packet *restrict packets, uint32_t n)
{
    uint32_t fresh[BURST_MAX], ids[BURST_MAX], at = v->clean & (v->chains - 1), used, got = 0;
    const volatile struct virtq_used_element *e = v->used->ring + at;
    uint64_t bytes = 0;
    n = stack_take(v->q.stack, fresh, least(n, v->chains - at));
    for (used = 0; used < n; used++) {
        struct packet p;
        ids[used] = e[used].id;
        if (unlikely(!virtq_take(v, ids[used], &p.index)))
            break;
        if (likely(virtq_accept(v, &p, e[used].length))) {
            bytes += p.length;
            packets[got++] = p;
        }
    }
    v->clean += used;
    place(v, ids, fresh, used);
    for (uint32_t i = used; i < n; i++)
        stack_give(v->q.stack, fresh[i]);
    queue_count(&v->q, got, bytes);
    return got;
}

uint32_t virtq_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct virtq_queue *v = (struct virtq_queue *)q;
    uint32_t before = v->next;
    n = least(n, reported(v, v->chains));
    if (n == 0)
        return 0;
    n = receive(v, packets, n);
    if (v->next != before) {
        publish(v);
        notify(v);
    }
    return n;
}

int virtq_arm(struct queue *q, int on)
{
    struct virtq_queue *v = (struct virtq_queue *)q;
    virtq_ask_notice(q, &v->available->flags, on);
    return load_relaxed(&v->used->index) != (uint16_t)v->clean;
}

/* --- transmit ------------------------------------------------------------------------------- */

uint32_t virtq_clean(struct virtq_queue *restrict v)
{
    uint32_t ready = reported(v, v->next - v->clean);
    while (ready) {
        uint32_t at = v->clean & (2 * v->chains - 1), n;
        uint32_t head = load_relaxed(&v->used->ring[at].id);
        if (unlikely(head & 1))
            head = VIRTQ_NONE; /* chains begin at even descriptors */
        n = virtq_sent(v, head / 2, ready);
        if (unlikely(n == 0))
            break;
        ready -= n;
    }
    return v->next - v->clean;
}

/* Sends one run. Only the second descriptors are filled in; everything else stands there since the
 * ring was made. Ids follow the position: a chain that a device out of order still has keeps those
 * behind it waiting. */
static uint32_t transmit(struct virtq_queue *restrict v, const struct packet *restrict packets,
                         uint32_t n)
{
    uint32_t at = v->next & (v->chains - 1), sent = 0, done, *buffers = v->buffers + at;
    struct virtq_descriptor *d = v->descriptors + 2 * at + 1;
    uint64_t bytes = 0;
    n = virtq_run(v, n);
    for (done = 0; done < n; done++) {
        struct packet p = packets[done];
        if (unlikely(buffers[sent] != VIRTQ_NONE))
            break;
        if (unlikely(!virtq_sendable(v, p)))
            continue;
        buffers[sent] = p.index;
        d[2 * sent].address = virtq_address(v, p.index, p.offset);
        d[2 * sent].word = split_word(p.length, 0, 0);
        bytes += p.length;
        sent++;
    }
    v->next += sent;
    queue_count(&v->q, sent, bytes);
    return done;
}

uint32_t virtq_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct virtq_queue *v = (struct virtq_queue *)q;
    uint32_t before = v->next, done;
    if (virtq_due(v, n))
        virtq_clean(v);
    done = transmit(v, packets, n);
    if (unlikely(done < n)) { /* the ring's end, or it is full, or an old chain is in the way */
        virtq_clean(v);
        done += transmit(v, packets + done, n - done);
    }
    if (v->next != before) {
        publish(v);
        notify(v);
    }
    return done;
}

/* --- before and after ----------------------------------------------------------------------- */

/* What both formats begin with: no chain is out. */
void virtq_begin_fill(struct virtq_queue *v)
{
    v->next = v->clean = v->left = 0;
    v->buffer = v->q.pool ? v->q.pool->size : 0; /* a control queue has none */
    memset(v->buffers, 0xFF, v->chains * sizeof *v->buffers);
}

int virtq_fill(struct virtq_queue *v, int receive)
{
    uint32_t fresh;
    virtq_begin_fill(v);
    v->available->flags = VIRTQ_QUIET; /* used chains are looked for, not waited for */
    v->used->flags = v->used->index = 0;
    for (uint32_t id = 0; id < v->chains; id++) {
        if (receive) {
            v->descriptors[id].word = split_word(v->limit, VIRTQ_WRITE, 0);
            if (!stack_take(v->q.stack, &fresh, 1))
                return -1;
            place(v, &id, &fresh, 1);
        } else {
            v->available->ring[id] = v->available->ring[v->chains + id] = (uint16_t)(2 * id);
            v->descriptors[2 * id].address = v->header;
            v->descriptors[2 * id].word = split_word(VIRTQ_NET_HEADER, VIRTQ_NEXT, 2 * id + 1);
        }
    }
    publish(v);
    return 0;
}

void virtq_empty(struct virtq_queue *v)
{
    for (uint32_t id = 0; id < v->chains; id++) {
        if (v->buffers[id] != VIRTQ_NONE)
            stack_give(v->q.stack, v->buffers[id]);
        v->buffers[id] = VIRTQ_NONE;
    }
    if (v->left)
        stack_give(v->q.stack, v->part.index);
    v->next = v->clean = v->left = 0;
}

void virtq_ask(struct virtq_queue *v, uint64_t address, uint32_t out, uint32_t in)
{
    v->descriptors[0].address = address;
    v->descriptors[0].word = split_word(out, VIRTQ_NEXT, 1);
    v->descriptors[1].address = address + out;
    v->descriptors[1].word = split_word(in, VIRTQ_WRITE, 0);
    v->available->ring[v->next++ & (2 * v->chains - 1)] = 0;
    publish(v);
    notify(v);
}

int virtq_answered(struct virtq_queue *v)
{
    if (load_relaxed(&v->used->index) != (uint16_t)v->next)
        return 0;
    virtq_read_barrier(); /* the index, then the answer */
    return 1;
}
