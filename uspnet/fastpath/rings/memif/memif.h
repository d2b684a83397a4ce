// SPDX-License-Identifier: Apache-2.0
/* memif 2.0 rings: packet queues in memory shared by two processes, a server (VPP: "master") and
 * a client ("slave"), which owns the memory. Reference: memif.h of VPP (src/plugins/memif).  A
 * ring has descriptors ("slots") and two positions on cache lines of their own. In a C2S ring
 * the client moves `head` after filling slots, and the server `tail` after draining them. In an
 * S2C ring the client moves `head` to post empty slots, and the server `tail` after filling
 * them. So in either ring one side fills and one drains; only `head` of an S2C ring is one ring
 * size ahead of what was drained (`lead` below). The code serves both roles.  All of the ring's
 * memory can be written by a peer that may be hostile. Each field is read once into a local,
 * validated against the fields of struct memif_queue, and not read again. */
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

enum { TAKEN_NONE = 1 << 16 };

/* What was counted before the packets from slot `at` on were; TAKEN_NONE: nobody knows. */
struct taken {
    uint64_t packets, bytes;
    uint32_t at;
};

struct memif_queue {
    struct queue q;
    struct memif_ring *ring;
    uint16_t *ours, *theirs;       /* the positions that we write and that the peer writes */
    uint32_t size;                 /* slots, a power of two */
    uint16_t our_lead, their_lead; /* `size` for `head` of an S2C ring, else 0 */
    uint16_t next, clean;          /* our position; zero copy: oldest slot with a buffer of ours */
    int32_t bell_fd;               /* the peer's eventfd; -1: none */
    uint32_t ringing;              /* 1 while writing to it, which a hostile peer can make block */
    uint32_t counted;              /* transmit: memif_take_back() was called for this ring */
    struct taken taken;            /* receive */
    uint32_t n_regions;            /* of the client */
    const struct memif_region *regions;
    uint8_t *buffers; /* client, copying: the buffer of slot i is buffers + i × buffer_size */
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
/* Slots of a transmit ring that were filled and not drained. A client doesn't report what it has
 * drained, only which slots it posts again, often in batches: of an S2C ring this is an upper
 * bound. */
uint32_t memif_untaken(const struct memif_queue *m);
/* Moves the packets in those slots from the sent ones to drops[DROP_PEER_LEFT], before the ring is
 * detached. Does nothing when called again for the same ring. */
void memif_take_back(struct memif_queue *m);
int memif_copy_arm(struct queue *q, int on);
int memif_zero_arm(struct queue *q, int on);
/* After the process of the queue's worker has ended at any instruction: makes the positions those
 * of a whole number of bursts. No worker runs. -1: they can't be, and the queue has a fault. */
int memif_copy_revive_rx(struct memif_queue *m);
int memif_copy_revive_tx(struct memif_queue *m);
int memif_zero_revive_rx(struct memif_queue *m);
int memif_zero_revive_tx(struct memif_queue *m);
// [c]

#include <sys/uio.h>
#include <unistd.h>

_Static_assert(offsetof(struct memif_ring, tail) == 64, "memif.h of VPP: tail on line 1");
_Static_assert(offsetof(struct memif_ring, slots) == 128, "memif.h of VPP: slots on line 2");

/* A descriptor is read by one or two loads of eight bytes, so that the values validated are the
 * values used: the compiler can't load a field twice. */
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

/* Publishes our position, and wakes the peer if it is in interrupt mode. */
static inline void publish(struct memif_queue *m, uint16_t at)
{
    store_release(m->ours, (uint16_t)(at + m->our_lead)); /* slots before the position */
    if (m->bell_fd < 0)
        return;                              /* receive: no wake-up for drained slots */
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the position before the peer's flags */
    if (unlikely(!(load_relaxed(&m->ring->flags) & MEMIF_MASK_INT))) {
        uint64_t one = 1;
        m->q.counters->doorbells++;
        store_relaxed(&m->ringing, 1);
        (void)!write(m->bell_fd, &one, sizeof one); /* EAGAIN: a wake-up is pending already */
        store_relaxed(&m->ringing, 0);
    }
}

/* The position that we published last, as far as the peer has not overwritten it: at most a ring
 * behind `next`. 0: it is out of range, and the queue has a fault. */
static inline int revive_shown(struct memif_queue *m, uint16_t *shown)
{
    uint16_t at = (uint16_t)(load_relaxed(m->ours) - m->our_lead);
    store_relaxed(&m->ringing, 0);
    if ((uint16_t)(m->next - at) > m->size) {
        queue_fault(&m->q, FAULT_PEER);
        return 0;
    }
    *shown = at;
    return 1;
}

/* Packets in the slots from `at` on are about to be counted. */
static inline void settle(struct memif_queue *m, uint16_t at)
{
    keep_order();
    m->taken.packets = m->q.counters->packets;
    m->taken.bytes = m->q.counters->bytes;
    keep_order();
    m->taken.at = at;
}

/* After the end of a worker process: slots are taken anew from `at` on, and counted anew. Those
 * that had left the ring before may have been discarded since, and stay as they are. */
static inline void settle_again(struct memif_queue *m, uint16_t at)
{
    if (m->taken.at == at) {
        m->q.counters->packets = m->taken.packets;
        m->q.counters->bytes = m->taken.bytes;
    }
    m->taken.at = TAKEN_NONE;
}

/* The memory of a slot; NULL when it is not within a region. Sets *room to the bytes from its
 * offset to the end of the region; 0: there is no such region, or the offset is beyond it. */
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

/* The drop reason of one piece of a packet; DROP_NONE: it is valid. `room`: from slot_memory();
 * `left`: space in our buffer. */
static inline enum drop_reason piece_wrong(uint32_t length, uint64_t room, uint32_t left)
{
    if (room == 0)
        return DROP_BAD_SLOT;
    if (length == 0 || length > room)
        return DROP_BAD_LENGTH;
    return length > left ? DROP_TOO_LONG : DROP_NONE;
}

/* Copies exactly n bytes, inline: bytes behind a packet must not be disclosed to the peer. The last
 * block overlaps the one before it. */
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

/* The fields that a burst needs, in locals, so that the compiler need not reload them after
 * stores. */
struct view {
    struct memif_descriptor *slots;
    uint32_t mask;
    uint32_t kind; /* flags and region of a slot without flags in the current region */
    uint8_t *base; /* of the current region, or of our own buffers */
    uint64_t size; /* of the current region, or of each of our buffers */
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

/* Switches to the region of a slot. 0: there is no such region, or the slot has flags. */
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

/* Is it a slot without flags, within a region? Sets *memory and *length; reads each field once.
 * `own`: the memory is our own buffer, whatever region and offset the slot has. */
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

/* The descriptor of an empty slot of a client. */
static inline struct memif_descriptor own_slot(const struct memif_queue *m, uint32_t at)
{
    uint32_t first = (uint32_t)(m->buffers - m->regions[0].base);
    uint32_t offset = first + (at & (m->size - 1)) * m->buffer_size;
    return (struct memif_descriptor){0, 0, m->buffer_size, offset, 0};
}

/* Selects polling (masked) or interrupt mode. After unmasking, the caller checks the ring again:
 * the peer may have published just before. */
static inline void memif_mask(struct memif_queue *m, int masked)
{
    uint64_t value;
    struct iovec to = {&value, sizeof value};
    store_relaxed(&m->ring->flags, masked ? MEMIF_MASK_INT : 0);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* the flag before that check */
    if (masked)                              /* RWF_NOWAIT: the peer may have cleared O_NONBLOCK */
        (void)!preadv2(m->q.wake_fd, &to, 1, -1, RWF_NOWAIT);
}

#endif
