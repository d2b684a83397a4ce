/* SPDX-License-Identifier: Apache-2.0
 *
 * xdp: a queue of a kernel interface through AF_XDP. The pool is the socket's UMEM, so the kernel
 * reads and writes our buffers; two rings a direction pass them to the kernel and back.
 * Reference: Linux Documentation/networking/af_xdp.rst; include/uapi/linux/if_xdp.h. */
#ifndef USPNET_XDP_H
#define USPNET_XDP_H
#include "nic/nic.h"

// [python]
struct xdp_slot { /* struct xdp_desc */
    uint64_t address;
    uint32_t length, options;
};

/* A ring that is shared with the kernel. Positions are free-running. */
struct xdp_ring {
    uint32_t *producer, *consumer;
    uint32_t *flags; /* XDP_RING_NEED_WAKEUP; in rings that we produce into */
    uint8_t *slots;
};

/* Buffers are chunks of the UMEM, or several in a row. `owners`, by buffer: what the kernel has
 * of us, see mark(). */
struct xdp_queue {
    struct queue q;
    struct xdp_ring frames;  /* rx or tx: struct xdp_slot */
    struct xdp_ring buffers; /* fill or completion: addresses */
    uint32_t *owners;
    uint32_t n_owners;
    uint32_t size;        /* slots of each ring: a power of two */
    uint32_t given;       /* position after the last slot that the kernel was given */
    uint32_t chunk_shift; /* a chunk has 1 << chunk_shift bytes */
    uint32_t n_chunks;    /* of a buffer */
    uint32_t limit;       /* tx: bytes of the longest frame */
    uint32_t always_wake; /* tx: the kernel does not say when it needs that; rx: busy polling */
    uint32_t zero_copy;   /* tx: a frame that the kernel has taken may not be sent yet */
    uint32_t skipping;    /* rx: the rest of a frame whose beginning was lost */
    uint64_t taken;      /* position after the last slot that the kernel gave back, and MID_FRAME */
    struct partial part; /* rx: a frame in several chunks */
    int32_t fd;          /* the socket */
};

/* Gives the kernel buffers to receive into, up to all slots; Python calls it before the start. */
void xdp_fill(struct xdp_queue *x);
/* Has the kernel send what waits in the ring. Nonzero: it has to be asked again for the rest. */
int xdp_flush(struct queue *q);
/* Frames that the kernel has not sent yet, and their bytes. */
uint32_t xdp_pending(const struct xdp_queue *x, uint64_t *bytes);
/* After the process of the queue's worker has ended at any instruction: `owners` is right again,
 * and the rings agree with it. No worker runs. */
void xdp_revive(struct xdp_queue *x, int receive);
uint32_t xdp_rx(struct queue *q, struct packet *packets, uint32_t n);
uint32_t xdp_tx(struct queue *q, struct packet *packets, uint32_t n);
/* Binds an AF_XDP socket to a queue of an interface. Returns 0 or an errno. */
int xdp_bind(int32_t fd, uint32_t ifindex, uint32_t queue, uint16_t flags);
// [c]

/* Classifies a failed wake-up. */
__attribute__((cold)) void xdp_wake_failed(struct xdp_queue *x, int error);

enum {
    CONTINUES = 1,      /* XDP_PKT_CONTD: the frame goes on in the next slot */
    REFILL = 32,        /* slots that are filled at once */
    OWNED = 1,          /* in a mark; above it, 7 bits: the chunk that a frame ends in */
    POSITION_SHIFT = 8, /* in a mark: above all else, so that it may overflow */
    NEXT_POSITION = 1 << POSITION_SHIFT
};
static const uint32_t POSITIONS = UINT32_MAX >> POSITION_SHIFT;
static const uint64_t MID_FRAME = 1ull << 32;

/* The kernel may give buffers back in any order. owners[i] says of buffer i that the kernel has it,
 * and since which position: so what it gives back twice, or never had, is found; and after the end
 * of a worker process, what it had written to a ring and not published.
 *
 * The mark of a buffer that the kernel has since `position`; a frame in it ends in chunk `last`. */
static inline uint32_t mark(uint32_t position, uint32_t last)
{
    return position << POSITION_SHIFT | last << 1 | OWNED;
}

static inline struct xdp_slot *frame_slot(const struct xdp_queue *x, uint32_t position)
{
    return (struct xdp_slot *)x->frames.slots + (position & (x->size - 1));
}

static inline uint64_t *buffer_slot(const struct xdp_queue *x, uint32_t position)
{
    return (uint64_t *)x->buffers.slots + (position & (x->size - 1));
}

static inline uint64_t buffer_address(const struct xdp_queue *x, uint32_t index)
{
    return (uint64_t)index * x->n_chunks << x->chunk_shift;
}

/* Of n slots from a position on, those before the ring's end. */
static inline uint32_t in_a_row(const struct xdp_queue *x, uint32_t position, uint32_t n)
{
    return least(n, x->size - (position & (x->size - 1)));
}

/* Slots that the kernel has filled since `taken`; more than a ring has is a fault. */
static inline uint32_t ready(struct xdp_queue *x, const struct xdp_ring *ring)
{
    /* Acquire: the kernel's position before what it wrote to the slots. */
    uint32_t n = load_acquire(ring->producer) - (uint32_t)x->taken;
    if (likely(n <= x->size) && likely(!x->q.fault))
        return n;
    queue_fault(&x->q, FAULT_RING);
    return 0;
}

/* The number of the buffer at an address, and of the chunk in it; UINT32_MAX: in none. */
static inline uint32_t buffer_at(const struct xdp_queue *x, uint64_t address, uint32_t *chunk)
{
    uint64_t number = address >> x->chunk_shift;
    uint32_t index = (uint32_t)number / x->n_chunks;
    if (unlikely(number >> 32))
        return UINT32_MAX;
    *chunk = (uint32_t)number - index * x->n_chunks;
    return index;
}

/* The same for a buffer that the kernel has; UINT32_MAX: it has not. */
static inline uint32_t owned_at(const struct xdp_queue *x, uint64_t address, uint32_t *chunk)
{
    uint32_t index = buffer_at(x, address, chunk);
    return unlikely(index >= x->n_owners || !x->owners[index]) ? UINT32_MAX : index;
}

static inline int mark_ends_in(uint32_t mark, uint32_t chunk)
{
    return (mark & (NEXT_POSITION - 1)) >> 1 == chunk;
}

/* Gives the kernel up to n free buffers, at most a burst, and to the ring's end. */
static inline void xdp_refill(struct xdp_queue *x, uint32_t n)
{
    struct stack *s = x->q.stack;
    uint64_t *restrict slots = buffer_slot(x, x->given);
    uint32_t *restrict owners = x->owners, *restrict free;
    uint32_t size = x->q.pool->size, owned = mark(x->given, 0);
    n = in_a_row(x, x->given, least(least(n, BURST_MAX), s->top));
    free = s->free + s->top - n;
    UNROLL
    for (uint32_t i = 0; i < n; i++, owned += NEXT_POSITION) {
        slots[i] = (uint64_t)free[i] * size;
        owners[free[i]] = owned;
    }
    s->top -= n;
    keep_order();
    x->given += n;
    /* Release: the slots before the position. */
    store_release(x->buffers.producer, x->given);
}

#endif
