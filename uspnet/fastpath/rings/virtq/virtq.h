/* SPDX-License-Identifier: Apache-2.0
 *
 * virtq: virtqueues of "Virtual I/O Device (VIRTIO) Version 1.2", split (§2.7) and packed (§2.8).
 * Here: the memory that driver and device share, and the queue struct. virtq_chain.h and
 * virtq_driver.h: the driver's code for both formats. virtq_cold.c: its slow paths. virtq_split.c
 * and virtq_packed.c: the two formats. */
#ifndef USPNET_VIRTQ_H
#define USPNET_VIRTQ_H
#include "rings/nic/nic.h"

// [python]
enum {
    VIRTQ_NET_HEADER = 12,    /* bytes of struct virtio_net_hdr, §5.1.6; all zero on transmit */
    VIRTQ_MERGED_AT = 10,     /* offset of num_buffers in it */
    VIRTQ_NEXT = 1,           /* descriptor flag: the chain continues, §2.7.5 and §2.8.13 */
    VIRTQ_WRITE = 2,          /* descriptor flag: device-writable */
    VIRTQ_AVAILABLE = 1 << 7, /* packed descriptor, §2.8.1 */
    VIRTQ_USED = 1 << 15,
    VIRTQ_QUIET = 1, /* NO_INTERRUPT, NO_NOTIFY (§2.7.6, §2.7.8); packed: DISABLE (§2.8.14) */
};
static const uint32_t VIRTQ_NONE = 0xFFFFFFFF;

struct virtq_descriptor {
    uint64_t address;
    uint64_t word; /* split: length (32 bits), flags, next; packed: length, id, flags */
};
struct virtq_available {
    uint16_t flags, index, ring[];
};
struct virtq_used_element {
    uint32_t id, length;
};
struct virtq_used {
    uint16_t flags, index;
    struct virtq_used_element ring[];
};
struct virtq_events { /* packed: event suppression of one side, §2.8.14 */
    uint16_t position, flags;
};

/* A chain is the unit that is made available and used: on receive, one descriptor with a buffer; on
 * transmit, two, of which the first is the net header. Positions count chains. */
struct virtq_queue {
    struct queue q;
    struct virtq_descriptor *descriptors; /* shared with the device, as are the next four */
    struct virtq_available *available;    /* split: written by the driver */
    struct virtq_used *used;              /* split: written by the device */
    struct virtq_events *ours, *theirs;   /* packed: the driver's and the device's area */
    uint32_t *buffers;        /* private: pool buffer of each chain id; VIRTQ_NONE: not in flight */
    uint32_t chains;          /* capacity of the ring, a power of two */
    uint32_t descs_per_chain; /* 1 or 2 */
    uint32_t next;            /* position of the next chain to make available; free-running */
    uint32_t clean;           /* position of the next chain that the device will use */
    uint32_t published;       /* packed: position of the first chain not made available yet */
    uint32_t limit;           /* bytes: of a receive buffer, or of the longest frame to send */
    uint32_t merges;   /* receive: VIRTIO_NET_F_MRG_RXBUF: a frame may take several buffers */
    uint32_t in_order; /* VIRTIO_F_IN_ORDER: only the last chain of a batch may be reported */
    uint32_t notification_data; /* the doorbell's value has the next position, §4.1.5.2 */
    uint32_t number;            /* of the queue */
    uint32_t left;              /* receive: missing pieces of the frame in `part` */
    struct partial part;
    uint64_t header;   /* transmit: DMA address of 12 zeros, the net header of every packet */
    uint64_t dma_base; /* DMA address of the pool's first byte */
    uint64_t first;    /* packed: word of the first descriptor of a batch, written last */
    uint32_t buffer;   /* a copy of the pool's buffer size */
    struct doorbell bell;
};

/* Initializes the ring before the device starts, a receive ring full of buffers. Nonzero: the stack
 * has too few. */
int virtq_fill(struct virtq_queue *v, int receive);
int virtq_packed_fill(struct virtq_queue *v, int receive);
/* Returns every buffer to the stack, after the device has stopped. */
void virtq_empty(struct virtq_queue *v);
/* Frees the buffers of packets that were sent. Returns the packets still in flight. */
uint32_t virtq_clean(struct virtq_queue *v);
uint32_t virtq_packed_clean(struct virtq_queue *v);
/* The value to write to the doorbell now. */
uint32_t virtq_value(const struct virtq_queue *v);
uint32_t virtq_packed_value(const struct virtq_queue *v);
/* Control queue, one command at a time: `out` bytes at `address`, followed by `in` bytes of
 * space for the reply. Answered: has the device used it? */
void virtq_ask(struct virtq_queue *v, uint64_t address, uint32_t out, uint32_t in);
void virtq_packed_ask(struct virtq_queue *v, uint64_t address, uint32_t out, uint32_t in);
int virtq_answered(struct virtq_queue *v);
int virtq_packed_answered(struct virtq_queue *v);

uint32_t virtq_rx(struct queue *q, struct packet *packets, uint32_t n);
uint32_t virtq_tx(struct queue *q, struct packet *packets, uint32_t n);
uint32_t virtq_packed_rx(struct queue *q, struct packet *packets, uint32_t n);
uint32_t virtq_packed_tx(struct queue *q, struct packet *packets, uint32_t n);
int virtq_arm(struct queue *q, int on);
int virtq_packed_arm(struct queue *q, int on);
// [c]

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "virtqueues are little endian"
#endif

_Static_assert(offsetof(struct virtq_used, ring) == 4, "§2.7.8");

/* A compiler barrier: values read before it are not read again after it, whatever the device
 * writes. */
static inline void virtq_read_once(void) { __asm__ volatile("" ::: "memory"); }

#endif
