/* SPDX-License-Identifier: Apache-2.0
 *
 * What the rings of NIC drivers share: addresses as the device sees them, and the doorbell, a plain
 * store on a physical device and a line of text on an emulated one. */
#ifndef USPNET_NIC_H
#define USPNET_NIC_H
#include "fastpath.h"

// [python]
/* A conversation with QEMU's qtest server, shared by Python and the workers: every request takes
 * the lock, so answers come back in the order of the requests. */
struct qtest_link {
    uint32_t lock;
    int32_t fd;
    uint32_t gone;    /* QEMU has ended, or does not answer */
    uint32_t pending; /* answers to doorbells that nobody has read yet */
    uint32_t filled;  /* bytes in `line` */
    char line[256];   /* what has arrived of the next answer */
};

/* Where a ring tells its device how far it may go. */
struct doorbell {
    volatile void *mmio; /* the mapped register; NULL: by way of `link` */
    struct qtest_link *link;
    uint64_t address; /* of the register in the emulated machine */
    uint32_t bytes;   /* width of the register: 2 or 4 */
    int32_t wire_fd;  /* of a transmit ring's emulated cable; -1: none */
};

/* The interrupt of a receive queue: held back unless the queue's worker sleeps, so that a busy one
 * costs nothing. What the device wants to say meanwhile it says when it may. */
struct vector {
    struct doorbell unmask, mask; /* registers that let it through, and hold it back */
    uint32_t unmask_value, mask_value;
    struct doorbell cause; /* INTx: reading it takes the interrupt off the line; else no `mmio` */
    int32_t line_fd;       /* INTx: an eventfd by which the kernel lets the line through again */
};

/* A frame that takes several buffers, while its pieces arrive. They are joined in the first one. */
struct partial {
    struct packet frame; /* what has been joined so far */
    uint32_t open;       /* `frame` is the beginning of a frame */
    uint32_t wrong;      /* enum drop_reason of its first bad piece; DROP_REASONS: none so far */
};

/* Sends one request line and waits for its answer. 0: done, *value is what was read if anything.
 * -1: QEMU is gone, or did not understand. */
int qtest_ask(struct qtest_link *link, const char *request, uint32_t length, uint64_t *value);
/* Takes a datagram socket off its peer: anybody may connect to it again. */
int wire_release(int32_t fd);
// [c]

enum {
    TX_LAZY = 64,   /* frames in flight before the first look at what was sent */
    RX_BEHIND = 32, /* slots refilled before the device is told; half of a small ring */
};

/* join.c: adds a piece to a frame, or begins one with it. `wrong`: what is wrong with the piece, or
 * DROP_NONE; `room`: bytes that the first buffer has for the frame. Returns 1 when *p is a whole,
 * good frame; 0 while pieces are missing, or after the frame was counted as dropped. */
int frame_join(struct queue *q, struct partial *part, struct packet *p, enum drop_reason wrong,
               uint32_t room, int last);
/* Drops a frame whose other pieces will not come. */
void frame_abandon(struct queue *q, struct partial *part, enum drop_reason reason);

int qtest_ring(const struct doorbell *d, uint32_t value);
void vector_forget(const struct queue *q);
void vector_arm(const struct queue *q, const struct vector *v, int on);
int wire_writable(int fd);

/* Where a device whose pool begins at `base` sees a byte of a buffer. */
static inline uint64_t dma_address(const struct queue *q, uint64_t base, uint32_t index,
                                   uint32_t offset)
{
    return base + (uint64_t)index * q->pool->size + offset;
}

/* May a transmit ring take packets? A real cable sets the pace by itself; QEMU's models send at
 * once, and what their cable has no room for they forget. */
static inline int doorbell_ready(const struct doorbell *d)
{
    return likely(d->mmio != NULL) || d->wire_fd < 0 || wire_writable(d->wire_fd);
}

static inline void doorbell_store(const struct doorbell *d, uint32_t value)
{
    device_write_barrier(); /* the descriptors before the store that announces them */
    if (d->bytes == 2)
        *(volatile uint16_t *)d->mmio = (uint16_t)value;
    else
        *(volatile uint32_t *)d->mmio = value;
}

/* Writes `value` to the device's register, once a burst. */
static inline void doorbell_ring(struct queue *q, const struct doorbell *d, uint32_t value)
{
    q->counters->doorbells++;
    if (likely(d->mmio != NULL))
        doorbell_store(d, value);
    else if (qtest_ring(d, value))
        queue_fault(q, FAULT_GONE);
}

#endif
