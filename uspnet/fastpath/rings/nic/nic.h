/* SPDX-License-Identifier: Apache-2.0
 *
 * What the rings of NICs share: DMA addresses, doorbells (a store to a mapped register, or a qtest
 * request to QEMU), interrupts of receive queues, and frames that take several buffers. */
#ifndef USPNET_NIC_H
#define USPNET_NIC_H
#include "fastpath.h"

// [python]
/* A connection to QEMU's qtest server, shared by Python and the workers. Requests are sent under
 * the lock, so replies arrive in the order of the requests. */
struct qtest_link {
    uint32_t lock; /* the id of the thread that has it; 0: none */
    int32_t fd;
    uint32_t gone;    /* QEMU has exited, or did not reply in time */
    uint32_t pending; /* replies to doorbells that have not been read yet */
    uint32_t filled;  /* bytes in `line` */
    char line[256];   /* the part of the next reply that has arrived */
};

/* The register by which a ring announces new descriptors to the device. */
struct doorbell {
    volatile void *mmio; /* the mapped register; NULL: written through `link` */
    struct qtest_link *link;
    uint64_t address; /* of the register in the emulated machine */
    uint32_t bytes;   /* width of the register: 2 or 4 */
    int32_t wire_fd;  /* transmit: the socket of the emulated cable; -1: none */
};

/* The interrupt of a receive queue, masked unless the queue's worker sleeps. The device latches
 * causes while masked, and raises the interrupt when unmasked. */
struct vector {
    struct doorbell unmask, mask; /* the registers that unmask and mask it */
    uint32_t unmask_value, mask_value;
    struct doorbell cause; /* INTx: the register whose read deasserts the line; else no `mmio` */
    int32_t line_fd;       /* INTx: the eventfd that unmasks the line in the kernel (VFIO) */
};

/* A frame that takes several buffers and is still incomplete. Its pieces are copied into the
 * first. */
struct partial {
    struct packet frame; /* the pieces so far */
    uint32_t open;       /* a frame has begun and not ended */
    uint32_t wrong;      /* enum drop_reason of its first bad piece; DROP_REASONS: none */
};

/* Sends one request line and waits for its reply. Returns 0 and the number in it, if any, in
 * *value; -1 when QEMU is gone or reports an error. `fd`: of the server, which a worker process can
 * overwrite in the link. */
int qtest_ask(struct qtest_link *link, int32_t fd, const char *request, uint32_t length,
              uint64_t *value);
/* Makes replies match requests again, after a thread that used the link was killed or a reply came
 * too late. No worker runs. Returns -1 when QEMU does not answer within a second. */
int qtest_synchronize(struct qtest_link *link, int32_t fd);
/* Disconnects a datagram socket from its peer, so that another one may connect to it. */
int wire_release(int32_t fd);
// [c]

enum {
    TX_LAZY = 64, /* frames in flight before completions are polled */
    RX_BEHIND =
        32, /* refilled slots before the doorbell is rung; half of the ring if that is less */
};

/* join.c: appends a piece to the frame in `part`, or begins one with it. `wrong`: the drop
 * reason of the piece, or DROP_NONE; `room`: bytes for the whole frame in the first buffer.
 * Returns 1 when *p is a complete, valid frame; 0 while pieces are missing, or when the frame
 * was dropped. */
int frame_join(struct queue *q, struct partial *part, struct packet *p, enum drop_reason wrong,
               uint32_t room, int last);
/* Drops the incomplete frame in `part`, if there is one. */
void frame_abandon(struct queue *q, struct partial *part, enum drop_reason reason);

int qtest_ring(const struct doorbell *d, uint32_t value);
void vector_forget(const struct queue *q);
void vector_arm(const struct queue *q, const struct vector *v, int on);
int wire_writable(int fd);

/* The DMA address of a byte in a buffer; `base` is that of the pool's first byte. */
static inline uint64_t dma_address(const struct queue *q, uint64_t base, uint32_t index,
                                   uint32_t offset)
{
    return base + (uint64_t)index * q->pool->size + offset;
}

/* May a transmit ring take packets? QEMU's models send at once, and discard what the emulated cable
 * has no room for; so wait until its socket is writable. A physical link needs no such check. */
static inline int doorbell_ready(const struct doorbell *d)
{
    return likely(d->mmio != NULL) || d->wire_fd < 0 || wire_writable(d->wire_fd);
}

static inline void doorbell_store(const struct doorbell *d, uint32_t value)
{
    device_write_barrier(); /* descriptors before the doorbell */
    if (d->bytes == 2)
        *(volatile uint16_t *)d->mmio = (uint16_t)value;
    else
        *(volatile uint32_t *)d->mmio = value;
}

/* Rings the doorbell with `value`; once a burst. */
static inline void doorbell_ring(struct queue *q, const struct doorbell *d, uint32_t value)
{
    q->counters->doorbells++;
    if (likely(d->mmio != NULL))
        doorbell_store(d, value);
    else if (qtest_ring(d, value))
        queue_fault(q, FAULT_GONE);
}

#endif
