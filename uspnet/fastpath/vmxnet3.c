// SPDX-License-Identifier: Apache-2.0
/* VMXNET3's rings (vmxnet3.h): descriptors that we write, completions that the device writes. Each
 * carries a generation bit that turns over at every lap, so neither side ever erases anything, and
 * no register is read. Completions name the slot they are about; nothing that they say is
 * believed before it was compared with what the device holds. */
#include "vmxnet3.h"

enum {
    FRAME_MIN = 14,  /* an Ethernet header */
    TX_LAZY = 64,    /* slots in flight before the first look at what is done */
    RX_BEHIND = 32,  /* slots refilled before the device is told; half of a small ring */
    LENGTH = 0x3FFF, /* §Vmxnet3_RxCompDesc: len */
    SLOT = 0xFFF,    /* rxdIdx, txdIdx */
    RING = 0x3FF,    /* rqID: with one queue, the ring's number */
};
static const uint64_t TX_GENERATION = 1ull << 14, TX_REPORT = 1ull << 45; /* §Vmxnet3_TxDesc: cq */
static const uint64_t LAST = 1ull << 14, FIRST = 1ull << 15; /* §Vmxnet3_RxCompDesc: eop, sop */
static const uint64_t BAD = 1ull << 14;                      /* err, in the higher half */

static inline const struct vmxnet3_completion *next_completion(const struct vmxnet3_queue *v)
{
    return &v->completions[v->completed & (v->completions_size - 1)];
}

/* Has the device written it, by the generation in its higher half? */
static inline int is_written(const struct vmxnet3_queue *v, uint64_t high)
{
    return high >> 63 == vmxnet3_generation(v->completed, v->completions_size);
}

/* The next completion, if the device has written it: read once, its generation first. */
static inline int completed(struct vmxnet3_queue *v, struct vmxnet3_completion *c)
{
    const struct vmxnet3_completion *at = next_completion(v);
    c->high = load_acquire(&at->high); /* before the rest of it, and the frame itself, are read */
    if (!is_written(v, c->high))
        return 0;
    c->low = load_relaxed(&at->low);
    v->completed++;
    return 1;
}

/* How far the slot lies behind the oldest one that the device has; -1: it has no such slot. */
static inline int32_t distance(const struct vmxnet3_ring *ring, uint32_t slot)
{
    uint32_t ahead = (slot - ring->next) & (ring->size - 1);
    return slot < ring->size && ahead < ring->fill - ring->next ? (int32_t)ahead : -1;
}

/* --- receive -------------------------------------------------------------------------------- */

static int refuse(struct vmxnet3_queue *v, uint32_t index, enum drop_reason reason)
{
    queue_refuse(&v->q, index, reason);
    return 0;
}

/* A frame longer than a slot takes comes in pieces; they are joined in the first one's buffer.
 * A bad piece, of length 0, spoils the whole. Returns 1 when *p is a whole frame. */
static int join(struct vmxnet3_queue *v, struct packet *p, const struct vmxnet3_completion *c)
{
    const struct pool *pool = v->q.pool;
    uint32_t whole;
    if (v->joining && c->low & FIRST)
        v->joining = refuse(v, v->part.index, DROP_BAD_CHAIN); /* that one never ended */
    if (!v->joining) {
        if (!(c->low & FIRST))
            return refuse(v, p->index, DROP_BAD_CHAIN); /* this one never began */
        v->joining = 1;
        v->part = *p;
    } else {
        whole = (uint32_t)v->part.length + p->length;
        if (v->part.length && p->length && whole <= pool_room(pool)) {
            memcpy(packet_data(pool, v->part) + v->part.length, packet_data(pool, *p), p->length);
            v->part.length = (uint16_t)whole;
        } else {
            v->part.length = 0;
        }
        stack_give(v->q.stack, p->index);
    }
    if (!(c->low & LAST))
        return 0;
    v->joining = 0;
    *p = v->part;
    return 1;
}

/* Checks what the device wrote about a buffer that it had in ring `number`. Returns 1 when *p is
 * a whole, good frame. */
static inline int accept_frame(struct vmxnet3_queue *v, struct packet *p, uint32_t number,
                               const struct vmxnet3_completion *c)
{
    uint32_t length = (uint32_t)c->high & LENGTH, begins = number == 0;
    uint32_t fits = length <= v->rings[number].limit && begins == !!(c->low & FIRST);
    p->length = fits ? (uint16_t)length : 0;
    if (unlikely(v->joining || (c->low & (FIRST | LAST)) != (FIRST | LAST)) && !join(v, p, c))
        return 0;
    if (unlikely(p->length < FRAME_MIN))
        return refuse(v, p->index, DROP_BAD_LENGTH);
    if (unlikely(c->high & BAD)) { /* the device counts those, too */
        v->spoiled++;
        stack_give(v->q.stack, p->index);
        return 0;
    }
    return 1;
}

/* Takes the buffer that a completion names out of its ring, and puts `fresh` into it. Slots that
 * the device has skipped are given to it again. Returns the ring's number; -1: no such buffer. */
static inline int32_t exchange(struct vmxnet3_queue *v, const struct vmxnet3_completion *c,
                               uint32_t *index, uint32_t fresh)
{
    uint32_t number = (uint32_t)(c->low >> 16) & RING;
    struct vmxnet3_ring *ring;
    int32_t ahead;
    if (unlikely(number > 1))
        return -1;
    ring = &v->rings[number];
    ahead = distance(ring, (uint32_t)c->low & SLOT);
    if (unlikely(ahead < 0))
        return -1;
    for (; unlikely(ahead > 0); ahead--) {
        uint32_t skipped = ring->buffers[vmxnet3_slot(ring, ring->next++)];
        vmxnet3_post(v, ring, skipped);
    }
    *index = ring->buffers[vmxnet3_slot(ring, ring->next++)];
    vmxnet3_post(v, ring, fresh);
    return (int32_t)number;
}

/* The ordinary case: frames that are whole, good, and in the first ring's slots one after another.
 * Takes up to n of them, up to the first that is otherwise, and puts `fresh` into their slots. */
static inline uint32_t take_whole(struct vmxnet3_queue *restrict v, struct packet *restrict packets,
                                  const uint32_t *restrict fresh, uint32_t n, uint64_t *bytes)
{
    const uint64_t base = v->dma_base, buffer = v->q.pool->size;
    const uint64_t said = FIRST | LAST | SLOT | (uint64_t)RING << 16;
    struct vmxnet3_ring *ring = v->rings;
    const uint32_t size = ring->size, limit = ring->limit, lap = v->completions_size;
    const struct vmxnet3_completion *completions = v->completions;
    struct vmxnet3_descriptor *slots = ring->slots;
    uint32_t *restrict buffers = ring->buffers;
    uint32_t next = ring->next, fill = ring->fill, at = v->completed, got;
    uint64_t total = 0;
    for (got = 0; got < n; got++, next++, fill++, at++) {
        const struct vmxnet3_completion *c = &completions[at & (lap - 1)];
        const uint64_t high = load_acquire(&c->high), low = load_relaxed(&c->low);
        const uint32_t slot = next & (size - 1), free = fill & (size - 1), index = fresh[got];
        const uint32_t length = (uint32_t)high & LENGTH, offset = colour(index);
        if (high >> 63 != vmxnet3_generation(at, lap) || (low & said) != (FIRST | LAST | slot) ||
            unlikely(high & BAD || length - FRAME_MIN > limit - FRAME_MIN))
            break;
        packets[got] = (struct packet){buffers[slot], colour(buffers[slot]), (uint16_t)length};
        total += length;
        buffers[free] = index;
        slots[free].address = base + index * buffer + offset;
        store_release(&slots[free].word,
                      limit | (vmxnet3_generation(fill, size) ? RX_GENERATION : 0));
    }
    ring->next = next;
    ring->fill = fill;
    v->completed = at;
    *bytes = total;
    return got;
}

/* The device says whether it wants to be told at all: one made of software looks by itself. */
static inline void tell(struct vmxnet3_queue *v, struct vmxnet3_ring *ring)
{
    if (ring->fill - ring->told < least(RX_BEHIND, ring->size / 2))
        return;
    ring->told = ring->fill;
    if (load_relaxed(v->wants_doorbell))
        doorbell_ring(&v->q, &ring->bell, vmxnet3_slot(ring, ring->fill));
}

uint32_t vmxnet3_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct vmxnet3_queue *v = (struct vmxnet3_queue *)q;
    struct vmxnet3_completion c;
    uint32_t fresh[BURST_MAX], taken, used = 0, got;
    uint64_t bytes = 0;
    if (!is_written(v, load_relaxed(&next_completion(v)->high)))
        return 0;
    taken = stack_take(q->stack, fresh, n);
    if (likely(!v->joining))
        used = take_whole(v, packets, fresh, taken, &bytes);
    got = used;
    for (uint32_t i = used; i < taken && completed(v, &c); i++) {
        struct packet p;
        int32_t number = exchange(v, &c, &p.index, fresh[used]);
        if (unlikely(number < 0)) {
            queue_drop(q, DROP_BAD_CHAIN, 1); /* a frame in no buffer of ours */
            continue;
        }
        used++;
        p.offset = colour(p.index);
        if (likely(accept_frame(v, &p, (uint32_t)number, &c))) {
            bytes += p.length;
            packets[got++] = p;
        }
    }
    for (uint32_t i = used; i < taken; i++)
        stack_give(q->stack, fresh[i]);
    tell(v, &v->rings[0]);
    tell(v, &v->rings[1]);
    queue_count(q, got, bytes);
    return got;
}

int vmxnet3_arm(struct queue *q, int on)
{
    const struct vmxnet3_queue *v = (const struct vmxnet3_queue *)q;
    vector_arm(q, &v->vector, on);
    return is_written(v, load_relaxed(&next_completion(v)->high));
}

/* --- transmit ------------------------------------------------------------------------------- */

/* The device reports the last slot of each burst, or every slot; all before it are done too. */
uint32_t vmxnet3_clean(struct vmxnet3_queue *v)
{
    struct vmxnet3_ring *ring = v->rings;
    struct vmxnet3_completion c;
    for (uint32_t i = 0; i < ring->size && completed(v, &c); i++) {
        int32_t ahead = distance(ring, (uint32_t)c.low & SLOT);
        if (unlikely(ahead < 0))
            v->q.counters->errors++; /* of the device: no packet is lost by it */
        for (; ahead >= 0; ahead--)
            stack_give(v->q.stack, ring->buffers[vmxnet3_slot(ring, ring->next++)]);
    }
    return ring->fill - ring->next;
}

uint32_t vmxnet3_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct vmxnet3_queue *v = (struct vmxnet3_queue *)q;
    struct vmxnet3_ring *ring = v->rings;
    struct vmxnet3_descriptor *held = NULL; /* the latest, until we know whether it is the last */
    uint32_t flying = ring->fill - ring->next, done = 0, sent = 0;
    const uint64_t base = v->dma_base, buffer = q->pool->size, command = v->command;
    const uint32_t size = ring->size, limit = ring->limit;
    uint32_t *restrict buffers = ring->buffers;
    uint32_t fill = ring->fill;
    uint64_t bytes = 0, word = 0;
    if (unlikely(!doorbell_ready(&ring->bell)))
        return 0;
    if (flying >= TX_LAZY || flying + n >= ring->size)
        flying = vmxnet3_clean(v);
    for (; done < n && flying + sent < size - 1; done++) {
        struct packet p = packets[done];
        uint32_t slot = fill & (size - 1);
        if (unlikely(p.length < FRAME_MIN || p.length > limit)) {
            queue_refuse(q, p.index, wrong_length(p.length));
            continue;
        }
        if (held)
            store_release(&held->word, word); /* after its address: now it is the device's */
        held = &ring->slots[slot];
        held->address = base + p.index * buffer + p.offset;
        word = command | p.length | (vmxnet3_generation(fill, size) ? TX_GENERATION : 0);
        buffers[slot] = p.index;
        bytes += p.length;
        fill++;
        sent++;
    }
    if (sent == 0)
        return done;
    ring->fill = fill;
    store_release(&held->word, word | TX_REPORT);
    doorbell_ring(q, &ring->bell, vmxnet3_slot(ring, ring->fill));
    queue_count(q, sent, bytes);
    return done;
}
