// SPDX-License-Identifier: Apache-2.0
/* Intel's legacy descriptors, as on the 8254x and 82574 (8254x Software Developer's Manual, §3.2.3
 * and §3.3.3): 16 bytes, little endian, in a ring that we fill up to its tail register. The device
 * marks what it is done with in memory, so no register is ever read here. */
#include "nic.h"

// [python]
struct legacy_descriptor {
    uint64_t address;
    uint64_t word; /* length, checksum, status or command, errors, VLAN tag */
};
struct legacy_queue {
    struct queue q;
    struct legacy_descriptor *ring; /* shared with the device */
    uint32_t *buffers;              /* ours: the pool buffer in each slot */
    uint32_t *last;                 /* transmit: at a burst's first slot, its last position */
    uint32_t size;                  /* slots, a power of two */
    uint32_t next;                  /* position of the next slot to use; runs freely */
    uint32_t clean;                 /* transmit: position of the oldest slot not yet taken back */
    uint32_t tail;                  /* receive: position that the device was told last */
    uint32_t limit;                 /* bytes: what one slot takes of a frame */
    uint32_t joining;               /* receive: `part` is the beginning of a frame */
    struct packet part;
    uint64_t command;  /* transmit: the bits that every descriptor carries */
    uint64_t dma_base; /* where the device sees the pool's first byte */
    struct doorbell bell;
};
uint32_t legacy_rx(struct queue *q, struct packet *packets, uint32_t n);
uint32_t legacy_tx(struct queue *q, struct packet *packets, uint32_t n);
/* Before the device starts: fills a receive ring. Nonzero: the stack has too few buffers. */
int legacy_fill(struct legacy_queue *l);
/* After the device has stopped: gives every buffer back to the stack. */
void legacy_empty(struct legacy_queue *l, int receive);
uint32_t legacy_clean(struct legacy_queue *l); /* returns the slots still in flight */
// [c]

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "descriptors are little endian"
#endif

enum {
    FRAME_MIN = 14,   /* received: an Ethernet header */
    SEND_MIN = 17,    /* shorter ones the device can't pad */
    TX_LAZY = 64,     /* slots in flight before the first look at what is done */
    RX_BEHIND = 32,   /* slots refilled before the device is told; half of a small ring */
    RX_DONE = 1 << 0, /* status, §3.2.3.1 */
    RX_LAST = 1 << 1,
    RX_BAD = 0x97, /* errors, §3.2.3.2: CRC, symbol, sequence, carrier extension, data */
};
static const uint64_t TX_DONE = 1ull << 32;   /* status, §3.3.3.2 */
static const uint64_t TX_REPORT = 1ull << 27; /* command, §3.3.3.1: write the status back */

static inline uint32_t slot_of(const struct legacy_queue *l, uint32_t position)
{
    return position & (l->size - 1);
}

static inline uint64_t dma_address(const struct legacy_queue *l, uint32_t index, uint32_t offset)
{
    return l->dma_base + (uint64_t)index * l->q.pool->size + offset;
}

/* --- receive -------------------------------------------------------------------------------- */

static inline void post(struct legacy_queue *l, uint32_t slot, uint32_t index)
{
    l->buffers[slot] = index;
    l->ring[slot].address = dma_address(l, index, colour(index));
    l->ring[slot].word = 0;
}

int legacy_fill(struct legacy_queue *l)
{
    uint32_t index;
    for (uint32_t slot = 0; slot < l->size; slot++) {
        if (!stack_take(l->q.stack, &index, 1))
            return -1;
        post(l, slot, index);
        l->clean = slot + 1; /* how far legacy_empty has to go */
    }
    l->next = 0;
    l->joining = 0;
    l->tail = l->size - 1; /* one slot stays ours: a full ring would look like an empty one */
    return 0;
}

static int refuse(struct legacy_queue *l, uint32_t index)
{
    l->q.counters->errors++;
    stack_give(l->q.stack, index);
    return 0;
}

/* A frame longer than a slot takes comes in pieces; they are joined in the first one's buffer.
 * A bad piece, of length 0, spoils the whole. Returns 1 when *p is a whole, good frame. */
static int join(struct legacy_queue *l, struct packet *p, uint32_t last)
{
    const struct pool *pool = l->q.pool;
    if (!l->joining) {
        l->part = *p;
        l->joining = 1;
    } else {
        uint32_t whole = (uint32_t)l->part.length + p->length;
        if (l->part.length && p->length && whole <= pool_room(pool)) {
            memcpy(packet_data(pool, l->part) + l->part.length, packet_data(pool, *p), p->length);
            l->part.length = (uint16_t)whole;
        } else {
            l->part.length = 0;
        }
        stack_give(l->q.stack, p->index);
    }
    if (!last)
        return 0;
    l->joining = 0;
    *p = l->part;
    return p->length ? 1 : refuse(l, p->index);
}

/* Checks what the device wrote into a slot. Returns 1 when *p is a whole, good frame. */
static inline int accept_frame(struct legacy_queue *l, struct packet *p, uint64_t word)
{
    uint32_t length = (uint16_t)word, last = (uint32_t)(word >> 32) & RX_LAST;
    uint32_t bad = (uint32_t)(word >> 40) & RX_BAD || length > l->limit;
    p->length = bad ? 0 : (uint16_t)length;
    if (unlikely(l->joining || !last))
        return join(l, p, last);
    if (unlikely(p->length < FRAME_MIN))
        return refuse(l, p->index);
    return 1;
}

uint32_t legacy_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct legacy_queue *l = (struct legacy_queue *)q;
    uint32_t fresh[BURST_MAX], taken, used, got = 0;
    uint64_t bytes = 0;
    if (!(l->ring[slot_of(l, l->next)].word >> 32 & RX_DONE))
        return 0;
    taken = stack_take(q->stack, fresh, n);
    for (used = 0; used < taken; used++) {
        uint32_t slot = slot_of(l, l->next);
        uint64_t word = load_acquire(&l->ring[slot].word); /* before the frame itself is read */
        struct packet p = {l->buffers[slot], colour(l->buffers[slot]), 0};
        if (!(word >> 32 & RX_DONE))
            break;
        post(l, slot, fresh[used]);
        l->next++;
        if (likely(accept_frame(l, &p, word))) {
            bytes += p.length;
            packets[got++] = p;
        }
    }
    for (uint32_t i = used; i < taken; i++)
        stack_give(q->stack, fresh[i]);
    if (l->next + l->size - 1 - l->tail >= least(RX_BEHIND, l->size / 2)) {
        l->tail = l->next + l->size - 1;
        doorbell_ring(q, &l->bell, slot_of(l, l->tail));
    }
    queue_count(q, got, bytes);
    return got;
}

/* --- transmit ------------------------------------------------------------------------------- */

/* The device reports the last slot of each burst; all before it are done too. */
uint32_t legacy_clean(struct legacy_queue *l)
{
    while (l->clean != l->next) {
        uint32_t last = l->last[slot_of(l, l->clean)];
        if (!(load_acquire(&l->ring[slot_of(l, last)].word) & TX_DONE))
            break;
        for (; l->clean != last + 1; l->clean++)
            stack_give(l->q.stack, l->buffers[slot_of(l, l->clean)]);
    }
    return l->next - l->clean;
}

uint32_t legacy_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct legacy_queue *l = (struct legacy_queue *)q;
    uint32_t first = l->next, flying = first - l->clean, done = 0, sent = 0;
    uint64_t bytes = 0;
    if (unlikely(!doorbell_ready(&l->bell)))
        return 0;
    if (flying >= TX_LAZY || flying + n >= l->size)
        flying = legacy_clean(l);
    for (; done < n && flying + sent < l->size - 1; done++) {
        struct packet p = packets[done];
        uint32_t slot = slot_of(l, l->next);
        if (unlikely(p.length < SEND_MIN || p.length > l->limit)) {
            q->counters->errors++;
            stack_give(q->stack, p.index);
            continue;
        }
        l->buffers[slot] = p.index;
        l->ring[slot].address = dma_address(l, p.index, p.offset);
        l->ring[slot].word = l->command | p.length;
        bytes += p.length;
        l->next++;
        sent++;
    }
    if (sent == 0)
        return done;
    l->last[slot_of(l, first)] = l->next - 1;
    l->ring[slot_of(l, l->next - 1)].word |= TX_REPORT;
    doorbell_ring(q, &l->bell, slot_of(l, l->next));
    queue_count(q, sent, bytes);
    return done;
}

void legacy_empty(struct legacy_queue *l, int receive)
{
    if (receive) {
        for (uint32_t slot = 0; slot < l->clean; slot++)
            stack_give(l->q.stack, l->buffers[slot]);
        if (l->joining)
            stack_give(l->q.stack, l->part.index);
    } else {
        for (; l->clean != l->next; l->clean++)
            stack_give(l->q.stack, l->buffers[slot_of(l, l->clean)]);
    }
    l->next = l->clean = l->tail = l->joining = 0;
}
