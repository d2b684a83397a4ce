// SPDX-License-Identifier: Apache-2.0
/* memif 2.0 rings: shared-memory packet queues between two processes.
 *
 * A ring has slots (descriptors) and two positions, on cache lines of their own. On a C2S ring the
 * client moves `head` when it has filled slots and the server `tail` when it has drained them. On
 * an S2C ring the client moves `head` to lend empty slots, and the server `tail` when it has
 * filled them. So one side fills and one side drains in both, and a lead of one ring size between
 * `head` and "drained" is all that differs: fill and drain below serve both roles.
 *
 * Everything in the ring's memory belongs to a peer that may be hostile. Each field is read once,
 * checked against what this struct knows, and never read back. */
#ifndef USPNET_MEMIF_H
#define USPNET_MEMIF_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE /* preadv2 */
#endif
#include "fastpath.h"

// [python]
struct memif_descriptor {
    uint16_t flags, region;
    uint32_t length, offset, metadata;
};

struct memif_ring {
    uint32_t cookie;
    uint16_t flags, head;
    uint8_t line0[56];
    uint16_t tail;
    uint8_t line1[62];
    struct memif_descriptor slots[];
};

struct memif_region {
    uint8_t *base;
    uint64_t size;
};

struct memif_queue {
    struct queue q;
    struct memif_ring *ring;
    uint16_t *ours, *theirs;       /* the position we move, and the one that the peer moves */
    uint32_t size;                 /* slots, a power of two */
    uint16_t our_lead, their_lead; /* size on the S2C side's head, else 0 */
    uint16_t next, clean; /* our position; zero copy: first slot whose buffer is still out */
    int32_t bell_fd;      /* the peer's eventfd, to wake it */
    uint32_t ringing;     /* inside that system call, which a hostile peer can make block */
    uint32_t counted;     /* transmit: what the peer never took of this ring is counted */
    uint32_t n_regions;   /* server: the client's regions */
    const struct memif_region *regions;
    uint8_t *buffers; /* client, copying: slot i's buffer is buffers + i × buffer_size */
    uint32_t buffer_size;
    uint32_t pool_region; /* client, zero copy: the region that is our pool */
    uint32_t *out;        /* client, zero copy: the pool buffer in each slot */
};

enum { MEMIF_COOKIE = 0x3E31F20, MEMIF_NEXT = 1, MEMIF_MASK_INT = 1 };

uint32_t memif_copy_tx(struct queue *q, struct packet *packets, uint32_t n);
uint32_t memif_copy_rx(struct queue *q, struct packet *packets, uint32_t n);
uint32_t memif_zero_tx(struct queue *q, struct packet *packets, uint32_t n);
uint32_t memif_zero_rx(struct queue *q, struct packet *packets, uint32_t n);
void memif_copy_lend(struct memif_queue *m);
void memif_zero_reset(struct memif_queue *m);
/* Slots of a transmit ring that we filled and the peer has not drained. A client does not say what
 * it has drained, only what it lends again, and in batches: then this is the most it can be. */
uint32_t memif_untaken(const struct memif_queue *m);
/* When a transmit ring is taken away: the packets in those slots count as dropped (peer_left), no
 * longer as sent; once for each ring, however often it is called. */
void memif_take_back(struct memif_queue *m);
int memif_copy_arm(struct queue *q, int on);
int memif_zero_arm(struct queue *q, int on);
// [c]

#include <sys/uio.h>
#include <unistd.h>

_Static_assert(offsetof(struct memif_ring, tail) == 64, "memif.h of VPP: tail on line 1");
_Static_assert(offsetof(struct memif_ring, slots) == 128, "memif.h of VPP: slots on line 2");

/* A slot's fields come in two reads of eight bytes, each done once: what was checked is what is
 * used. Fields are not read one by one, so the compiler can't read one of them twice. */
struct memif_front {
    uint16_t flags, region;
    uint32_t length;
};

static inline struct memif_front front_read(const struct memif_descriptor *slot)
{
    struct memif_front front;
    uint64_t word = load_relaxed((const uint64_t *)slot);
    memcpy(&front, &word, sizeof front);
    return front;
}

static inline struct memif_descriptor slot_read(const struct memif_descriptor *slot)
{
    struct memif_descriptor d;
    uint64_t words[2] = {load_relaxed((const uint64_t *)slot),
                         load_relaxed((const uint64_t *)slot + 1)};
    memcpy(&d, words, sizeof d);
    return d;
}

static inline struct memif_descriptor *slot_of(const struct memif_queue *m, uint32_t at)
{
    return &m->ring->slots[at & (m->size - 1)];
}

/* Publishes our position, and wakes the peer if it sleeps. */
static inline void publish(struct memif_queue *m, uint16_t at)
{
    store_release(m->ours, (uint16_t)(at + m->our_lead)); /* slots before the position */
    if (m->bell_fd < 0)
        return;                              /* a drained ring wakes nobody */
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the position before we look whether it sleeps */
    if (unlikely(!(load_relaxed(&m->ring->flags) & MEMIF_MASK_INT))) {
        uint64_t one = 1;
        m->q.counters->doorbells++;
        store_relaxed(&m->ringing, 1);
        (void)!write(m->bell_fd, &one, sizeof one); /* full: the peer has its wake-up already */
        store_relaxed(&m->ringing, 0);
    }
}

/* The longest frame that we take: what a buffer and a packet handle have room for. */
static inline uint32_t longest(const struct pool *pool)
{
    return least(pool_room(pool), UINT16_MAX);
}

/* The memory behind a slot; NULL when its region does not exist or its end is beyond the region's.
 * Sets *room to the bytes from its start to its region's end; 0: there is no such region. */
static inline uint8_t *slot_memory(const struct memif_queue *m, uint32_t at,
                                   const struct memif_descriptor *d, uint64_t *room)
{
    const struct memif_region *region;
    if (m->buffers) {
        *room = m->buffer_size;
        return m->buffers + (uint64_t)(at & (m->size - 1)) * m->buffer_size;
    }
    *room = 0;
    if (unlikely(d->region >= m->n_regions))
        return NULL;
    region = &m->regions[d->region];
    if (unlikely(d->offset >= region->size))
        return NULL;
    *room = region->size - d->offset;
    return likely(d->length <= *room) ? region->base + d->offset : NULL;
}

/* What is wrong with one piece of a packet; DROP_NONE: nothing. `room`: bytes from its start to the
 * end of its memory; `left`: what our buffer still has room for. */
static inline enum drop_reason piece_wrong(uint32_t length, uint64_t room, uint32_t left)
{
    if (room == 0)
        return DROP_BAD_SLOT;
    if (length == 0 || length > room)
        return DROP_BAD_LENGTH;
    return length > left ? DROP_TOO_LONG : DROP_NONE;
}

/* Exactly n bytes, without a call: what lies behind a packet in its buffer is none of the peer's
 * business. The last block overlaps the one before it. */
static inline void copy(uint8_t *to, const uint8_t *from, uint32_t n)
{
    if (unlikely(n < 32)) {
        memcpy(to, from, n);
    } else if (n < 64) {
        memcpy(to, from, 32);
        memcpy(to + n - 32, from + n - 32, 32);
    } else {
        for (uint32_t at = 0; at + 64 < n; at += 64)
            memcpy(to + at, from + at, 64);
        memcpy(to + n - 64, from + n - 64, 64);
    }
}

/* What a burst needs of its ring, in locals: no store into a slot or buffer can change it. */
struct view {
    struct memif_descriptor *slots;
    uint32_t mask;
    uint32_t kind; /* a slot's first four bytes when it has no flags and lies in this region */
    uint8_t *base; /* of that region, or of our own buffers */
    uint64_t size; /* of that region, or of each of our buffers */
};

static inline struct view view_of(const struct memif_queue *m)
{
    struct view v = {m->ring->slots, m->size - 1, 0, m->buffers, m->buffer_size};
    if (!m->buffers && m->n_regions) {
        v.base = m->regions[0].base;
        v.size = m->regions[0].size;
    }
    return v;
}

/* Looks at another region than before. 0: there is none, or the slot has flags. */
static int view_move(const struct memif_queue *m, struct view *v, uint32_t kind)
{
    struct {
        uint16_t flags, region;
    } slot;
    memcpy(&slot, &kind, sizeof slot);
    if (slot.flags || slot.region >= m->n_regions)
        return 0;
    v->kind = kind;
    v->base = m->regions[slot.region].base;
    v->size = m->regions[slot.region].size;
    return 1;
}

/* Is this a slot without flags, with memory? Then its memory begins at *memory, *length is what the
 * slot says. Each field is read once.
 * `own`: the memory is our own buffer, whatever the slot says. */
static inline int view_slot(const struct memif_queue *m, struct view *v, uint32_t at, int own,
                            uint8_t **memory, uint32_t *length)
{
    struct memif_descriptor *slot = &v->slots[at & v->mask];
    uint32_t kind = load_relaxed((uint32_t *)slot), offset;
    *length = load_relaxed(&slot->length);
    if (own) {
        *memory = v->base + (at & v->mask) * v->size;
        return !kind && *length <= v->size;
    }
    if (unlikely(kind != v->kind) && !view_move(m, v, kind))
        return 0;
    offset = load_relaxed(&slot->offset);
    *memory = v->base + offset;
    return (uint64_t)offset + *length <= v->size;
}

/* The descriptor of a client's own slot when it is empty. */
static inline struct memif_descriptor own_slot(const struct memif_queue *m, uint32_t at)
{
    uint32_t first = (uint32_t)(m->buffers - m->regions[0].base);
    uint32_t offset = first + (at & (m->size - 1)) * m->buffer_size;
    return (struct memif_descriptor){0, 0, m->buffer_size, offset, 0};
}

/* Interrupt mode asks for wake-ups, polling mode declines them. After unmasking, the caller looks
 * at the ring once more: the peer may have published just before. */
static inline void memif_mask(struct memif_queue *m, int masked)
{
    uint64_t value;
    struct iovec to = {&value, sizeof value};
    store_relaxed(&m->ring->flags, masked ? MEMIF_MASK_INT : 0);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the flag before that look */
    if (masked) /* the peer can clear O_NONBLOCK; this call does not block all the same */
        (void)!preadv2(m->q.wake_fd, &to, 1, -1, RWF_NOWAIT);
}

#endif
