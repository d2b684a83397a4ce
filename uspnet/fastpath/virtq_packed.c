// SPDX-License-Identifier: Apache-2.0
/* The driver's end of packed virtqueues (VIRTIO 1.2, §2.8): one ring, in which we write
 * descriptors and the device overwrites them with what it has used. Two flags of a descriptor say
 * whose it is, in a sense that changes with every round, and so with a bit of the position. */
#include "virtq.h"

static inline uint64_t packed_word(uint32_t length, uint32_t id, uint32_t flags)
{
    return length | (uint64_t)id << 32 | (uint64_t)flags << 48;
}

static inline uint64_t flags(uint32_t bits) { return (uint64_t)bits << 48; }

/* The flags that make a descriptor at this position available (§2.8.1). */
static inline uint32_t available(const struct virtq_queue *v, uint32_t position)
{
    return position & v->chains ? VIRTQ_USED : VIRTQ_AVAILABLE;
}

/* Both flags, as they are when the device has used the chain at this position (§2.8.1). */
static inline uint64_t used_flags(const struct virtq_queue *v, uint32_t position)
{
    return position & v->chains ? 0 : flags(VIRTQ_AVAILABLE | VIRTQ_USED);
}

static inline int is_used(uint64_t word, uint64_t used)
{
    return (word & flags(VIRTQ_AVAILABLE | VIRTQ_USED)) == used;
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

/* Puts n buffers into the ring, not beyond its end, the first one last. */
static inline void place(struct virtq_queue *restrict v, const uint32_t *ids, const uint32_t *fresh,
                         uint32_t n)
{
    uint32_t slot = v->next & (v->chains - 1);
    struct virtq_descriptor *d = v->descriptors + slot;
    uint64_t word = packed_word(v->limit, 0, VIRTQ_WRITE | available(v, v->next)), first,
             *where = &first;
    for (uint32_t i = 0; i < n; i++) {
        v->buffers[ids[i]] = fresh[i];
        d[i].address = virtq_address(v, fresh[i], colour(fresh[i]));
        *where = word | (uint64_t)ids[i] << 32;
        where = &d[i + 1].word;
    }
    publish(v, slot, first);
    v->next += n;
}

/* Takes at most n used chains, not beyond the ring's end, and puts fresh buffers in their place:
 * the ring is always full. Only then does the device see these again, so that whatever it gives
 * back twice is noticed. */
static uint32_t receive(struct virtq_queue *restrict v, struct packet *restrict packets, uint32_t n)
{
    uint32_t fresh[BURST_MAX], ids[BURST_MAX], at = v->clean & (v->chains - 1), used, got = 0;
    const struct virtq_descriptor *d = v->descriptors + at;
    uint64_t bytes = 0, as_used = used_flags(v, v->clean);
    n = stack_take(v->q.stack, fresh, least(n, v->chains - at));
    for (used = 0; used < n; used++) {
        uint64_t word = load_relaxed(&d[used].word);
        struct packet p;
        if (!is_used(word, as_used))
            break;
        virtq_read_barrier(); /* §2.8.22: the flags, then what the device wrote before them */
        ids[used] = id_of(word);
        if (unlikely(!virtq_take(v, ids[used], &p.index)))
            break;
        if (likely(virtq_accept(v, &p, (uint32_t)word))) {
            bytes += p.length;
            packets[got++] = p;
        }
    }
    v->clean += used;
    if (used)
        place(v, ids, fresh, used);
    for (uint32_t i = used; i < n; i++)
        stack_give(v->q.stack, fresh[i]);
    queue_count(&v->q, got, bytes);
    return got;
}

static inline int has_come(const struct virtq_queue *v)
{
    uint32_t at = v->clean & (v->chains - 1);
    return is_used(load_relaxed(&v->descriptors[at].word), used_flags(v, v->clean));
}

uint32_t virtq_packed_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct virtq_queue *v = (struct virtq_queue *)q;
    uint32_t before = v->next;
    if (!has_come(v) || unlikely(q->fault))
        return 0;
    n = receive(v, packets, n);
    if (v->next != before)
        notify(v);
    return n;
}

int virtq_packed_arm(struct queue *q, int on)
{
    struct virtq_queue *v = (struct virtq_queue *)q;
    virtq_ask_notice(q, &v->ours->flags, on);
    return has_come(v);
}

/* --- transmit ------------------------------------------------------------------------------- */

static inline uint32_t tx_slot(const struct virtq_queue *v, uint32_t position)
{
    return 2 * (position & (v->chains - 1));
}

uint32_t virtq_packed_clean(struct virtq_queue *restrict v)
{
    uint64_t as_used = used_flags(v, v->clean);
    if (unlikely(v->q.fault))
        return v->next - v->clean;
    while (v->clean != v->next) {
        uint64_t word = load_relaxed(&v->descriptors[tx_slot(v, v->clean)].word);
        if (!is_used(word, as_used))
            break;
        virtq_read_barrier(); /* the flags, then the buffer is ours */
        if (unlikely(!virtq_sent(v, id_of(word), v->next - v->clean)))
            break;
        as_used = used_flags(v, v->clean);
    }
    return v->next - v->clean;
}

/* Sends one run, its first header last. The headers' addresses stand there always. Ids follow the
 * position: a chain that a device out of order still has keeps those behind it waiting. */
static uint32_t transmit(struct virtq_queue *restrict v, const struct packet *restrict packets,
                         uint32_t n)
{
    uint32_t at = v->next & (v->chains - 1), sent = 0, done, *buffers = v->buffers + at;
    struct virtq_descriptor *d = v->descriptors + 2 * at;
    uint64_t body = packed_word(0, at, available(v, v->next)), bytes = 0, first;
    uint64_t head = body | packed_word(VIRTQ_NET_HEADER, 0, VIRTQ_NEXT), *where = &first;
    n = virtq_run(v, n);
    for (done = 0; done < n; done++) {
        struct packet p = packets[done];
        if (unlikely(buffers[sent] != VIRTQ_NONE))
            break;
        if (unlikely(!virtq_sendable(v, p)))
            continue;
        buffers[sent++] = p.index;
        d[1].address = virtq_address(v, p.index, p.offset);
        d[1].word = body | p.length;
        *where = head;
        d += 2;
        where = &d->word;
        body += 1ull << 32; /* the next id */
        head += 1ull << 32;
        bytes += p.length;
    }
    if (sent)
        publish(v, 2 * at, first);
    v->next += sent;
    queue_count(&v->q, sent, bytes);
    return done;
}

uint32_t virtq_packed_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct virtq_queue *v = (struct virtq_queue *)q;
    uint32_t before = v->next, done;
    if (virtq_due(v, n))
        virtq_packed_clean(v);
    done = transmit(v, packets, n);
    if (unlikely(done < n)) { /* the ring's end, or it is full, or an old chain is in the way */
        virtq_packed_clean(v);
        done += transmit(v, packets + done, n - done);
    }
    if (v->next != before)
        notify(v);
    return done;
}

/* --- before and after ----------------------------------------------------------------------- */

int virtq_packed_fill(struct virtq_queue *v, int receive)
{
    uint32_t fresh;
    virtq_begin_fill(v);
    *v->ours = (struct virtq_events){0, VIRTQ_QUIET}; /* used chains are looked for */
    *v->theirs = (struct virtq_events){0, 0};
    for (uint32_t id = 0; id < v->chains; id++) {
        if (receive) {
            if (!stack_take(v->q.stack, &fresh, 1))
                return -1;
            place(v, &id, &fresh, 1);
        } else {
            v->descriptors[2 * id] = (struct virtq_descriptor){v->header, 0};
            v->descriptors[2 * id + 1] = (struct virtq_descriptor){0, 0};
        }
    }
    return 0;
}

void virtq_packed_ask(struct virtq_queue *v, uint64_t address, uint32_t out, uint32_t in)
{
    uint32_t slot = tx_slot(v, v->next), sense = available(v, v->next++);
    struct virtq_descriptor *d = &v->descriptors[slot];
    d[0].address = address;
    d[1].address = address + out;
    d[1].word = packed_word(in, 0, sense | VIRTQ_WRITE);
    publish(v, slot, packed_word(out, 0, sense | VIRTQ_NEXT));
    notify(v);
}

int virtq_packed_answered(struct virtq_queue *v)
{
    uint32_t position = v->next - 1;
    if (!is_used(load_relaxed(&v->descriptors[tx_slot(v, position)].word), used_flags(v, position)))
        return 0;
    virtq_read_barrier(); /* the flags, then the answer */
    return 1;
}
