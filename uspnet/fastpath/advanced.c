// SPDX-License-Identifier: Apache-2.0
/* Intel's advanced descriptors, as on the 82576 and everything after it, 10 Gbit/s included (82576
 * datasheet, §7.1.5 and §7.2.2): 16 bytes, little endian, in a ring that we fill up to its tail
 * register. One buffer holds a whole frame, by the limits that Python gave the device. The device
 * marks what it is done with in memory, so no register is ever read here. */
#include "nic.h"

// [python]
/* Receive: the buffer's address and zero, then what the device makes of it: hash and type, and in
 * `word` status, length and VLAN tag. Transmit: the address, and in `word` length, command and
 * status. */
struct advanced_descriptor {
    uint64_t address;
    uint64_t word;
};
struct advanced_queue {
    struct queue q;
    struct advanced_descriptor *ring; /* shared with the device */
    uint32_t *buffers;                /* ours: the pool buffer in each slot */
    uint32_t *last;                   /* transmit: at a burst's first slot, its last position */
    uint32_t size;                    /* slots, a power of two */
    uint32_t next;                    /* position of the next slot to use; runs freely */
    uint32_t clean;                   /* transmit: position of the oldest slot not yet taken back */
    uint32_t tail;                    /* receive: position that the device was told last */
    uint32_t limit;                   /* bytes of the longest frame */
    uint32_t bad;                     /* receive: status bits of a damaged frame */
    uint32_t skipping; /* receive: the slots up to the next end of a frame belong to a bad one */
    uint64_t command;  /* transmit: the bits that every descriptor carries */
    uint64_t dma_base; /* where the device sees the pool's first byte */
    struct doorbell bell;
};
uint32_t advanced_rx(struct queue *q, struct packet *packets, uint32_t n);
uint32_t advanced_tx(struct queue *q, struct packet *packets, uint32_t n);
/* Before the device starts: fills a receive ring. Nonzero: the stack has too few buffers. */
int advanced_fill(struct advanced_queue *a);
/* After the device has stopped: gives every buffer back to the stack. */
void advanced_empty(struct advanced_queue *a, int receive);
uint32_t advanced_clean(struct advanced_queue *a); /* returns the slots still in flight */
// [c]

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "descriptors are little endian"
#endif

enum {
    FRAME_MIN = 14, /* received: an Ethernet header */
    SEND_MIN = 17,  /* shorter ones the device can't pad */
    TX_LAZY = 64,   /* slots in flight before the first look at what is done */
    RX_BEHIND = 32, /* slots refilled before the device is told; half of a small ring */
    RX_DONE = 1 << 0,
    RX_LAST = 1 << 1,
};
static const uint64_t TX_DONE = 1ull << 32;
static const uint64_t TX_REPORT = 1ull << 27;      /* write the status back */
static const uint64_t TX_LENGTHS = 1ull << 46 | 1; /* of the packet, and of this buffer of it */

static inline uint64_t dma_address(const struct advanced_queue *a, uint32_t index, uint32_t offset)
{
    return a->dma_base + (uint64_t)index * a->q.pool->size + offset;
}

/* --- receive -------------------------------------------------------------------------------- */

static inline void post(struct advanced_queue *a, uint32_t slot, uint32_t index)
{
    a->buffers[slot] = index;
    a->ring[slot].address = dma_address(a, index, colour(index));
    a->ring[slot].word = 0;
}

int advanced_fill(struct advanced_queue *a)
{
    uint32_t index;
    for (uint32_t slot = 0; slot < a->size; slot++) {
        if (!stack_take(a->q.stack, &index, 1))
            return -1;
        post(a, slot, index);
        a->clean = slot + 1; /* how far advanced_empty has to go */
    }
    a->next = 0;
    a->skipping = 0;
    a->tail = a->size - 1; /* one slot stays ours: a full ring would look like an empty one */
    return 0;
}

/* A frame that we don't take, or a piece of one: no frame should need a second buffer. */
static uint32_t refuse(struct advanced_queue *a, uint32_t state)
{
    if (!a->skipping)
        a->q.counters->errors++;
    a->skipping = !(state & RX_LAST);
    return 0;
}

/* Checks what the device wrote. Returns 1 for a whole, good frame in its buffer. */
static inline uint32_t accept_frame(struct advanced_queue *a, uint64_t word, uint32_t length)
{
    uint32_t state = (uint32_t)word & (RX_DONE | RX_LAST | a->bad);
    if (likely(state == (RX_DONE | RX_LAST) && length - FRAME_MIN <= a->limit - FRAME_MIN &&
               !a->skipping))
        return 1;
    return refuse(a, state);
}

/* The device is told about refilled slots in batches. */
static inline void announce(struct advanced_queue *a)
{
    uint32_t tail = a->next + a->size - 1;
    if (tail - a->tail < least(RX_BEHIND, a->size / 2))
        return;
    a->tail = tail;
    doorbell_ring(&a->q, &a->bell, tail & (a->size - 1));
}

uint32_t advanced_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct advanced_queue *a = (struct advanced_queue *)q;
    struct stack *stack = q->stack;
    uint32_t next = a->next, mask = a->size - 1, got = 0;
    uint32_t end = next + least(n, stack->top);
    uint64_t bytes = 0;
    for (; next != end; next++) {
        uint32_t slot = next & mask, index = a->buffers[slot], length;
        uint64_t word = load_acquire(&a->ring[slot].word); /* before the frame itself is read */
        if (!(word & RX_DONE))
            break;
        length = (uint16_t)(word >> 32);
        if (likely(accept_frame(a, word, length))) {
            packets[got++] = (struct packet){index, colour(index), (uint16_t)length};
            bytes += length;
            index = stack->free[stack->top - got]; /* else the slot keeps its own */
        }
        post(a, slot, index);
    }
    if (next == a->next)
        return 0;
    a->next = next;
    stack->top -= got;
    announce(a);
    queue_count(q, got, bytes);
    return got;
}

/* --- transmit ------------------------------------------------------------------------------- */

/* Gives the buffers of the slots from `clean` to before `end` back to the stack. */
static void take_back(struct advanced_queue *a, uint32_t end)
{
    struct stack *s = a->q.stack;
    while (a->clean != end) {
        uint32_t slot = a->clean & (a->size - 1);
        uint32_t n = least(end - a->clean, a->size - slot); /* the ring's end parts them */
        memcpy(s->free + s->top, a->buffers + slot, n * sizeof *a->buffers);
        s->top += n;
        a->clean += n;
    }
}

/* The device reports the last slot of each burst; all before it are done too. */
uint32_t advanced_clean(struct advanced_queue *a)
{
    uint32_t mask = a->size - 1;
    while (a->clean != a->next) {
        uint32_t last = a->last[a->clean & mask];
        if (!(load_acquire(&a->ring[last & mask].word) & TX_DONE))
            break;
        take_back(a, last + 1);
    }
    return a->next - a->clean;
}

static void unsendable(struct queue *q, uint32_t index)
{
    q->counters->errors++;
    stack_give(q->stack, index);
}

uint32_t advanced_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct advanced_queue *a = (struct advanced_queue *)q;
    uint32_t first = a->next, next = first, mask = a->size - 1, flying = first - a->clean, done;
    uint64_t bytes = 0;
    if (unlikely(!doorbell_ready(&a->bell)))
        return 0;
    if (flying >= TX_LAZY || flying + n > mask)
        flying = advanced_clean(a);
    n = least(n, mask - flying); /* one slot stays free, as on receive */
    for (done = 0; done < n; done++) {
        struct packet p = packets[done];
        uint32_t slot = next & mask, length = p.length;
        if (unlikely(length - SEND_MIN > a->limit - SEND_MIN)) {
            unsendable(q, p.index);
            continue;
        }
        a->buffers[slot] = p.index;
        a->ring[slot].address = dma_address(a, p.index, p.offset);
        a->ring[slot].word = a->command | length * TX_LENGTHS;
        bytes += length;
        next++;
    }
    if (next == first)
        return done;
    a->next = next;
    a->last[first & mask] = next - 1;
    a->ring[(next - 1) & mask].word |= TX_REPORT;
    doorbell_ring(q, &a->bell, next & mask);
    queue_count(q, next - first, bytes);
    return done;
}

void advanced_empty(struct advanced_queue *a, int receive)
{
    if (receive) {
        for (uint32_t slot = 0; slot < a->clean; slot++)
            stack_give(a->q.stack, a->buffers[slot]);
    } else {
        take_back(a, a->next);
    }
    a->next = a->clean = a->tail = a->skipping = 0;
}
