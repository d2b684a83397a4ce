/* SPDX-License-Identifier: Apache-2.0
 *
 * Virtqueues: "Virtual I/O Device (VIRTIO) Version 1.2", split (§2.7) and packed (§2.8). First
 * what lies in the memory that a driver and a device share, and its barriers, for either end of a
 * ring; then the driver's end: virtq_chain.h, virtq_driver.h and virtq_cold.c have what both
 * formats share, virtq_split.c and virtq_packed.c what makes each of them. */
#ifndef USPNET_VIRTQ_H
#define USPNET_VIRTQ_H
#include "rings/nic/nic.h"

// [python]
enum {
    VIRTQ_NET_HEADER = 12,    /* bytes before each frame, §5.1.6; all zero when we send */
    VIRTQ_MERGED_AT = 10,     /* where in it the device says how many buffers a frame takes */
    VIRTQ_NEXT = 1,           /* descriptor: the chain goes on, §2.7.5 and §2.8.13 */
    VIRTQ_WRITE = 2,          /* descriptor: the device writes */
    VIRTQ_AVAILABLE = 1 << 7, /* packed descriptor, §2.8.1 */
    VIRTQ_USED = 1 << 15,
    VIRTQ_QUIET = 1, /* split flags (§2.7.6, §2.7.8), packed event flags (§2.8.14): don't notify */
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
struct virtq_events { /* packed, §2.8.14: when one end wants to be notified */
    uint16_t position, flags;
};

/* A chain is what the device gets and gives back as one: a receive buffer, one descriptor; or a
 * packet to send, two, of which the first is the net header. Positions count chains. */
struct virtq_queue {
    struct queue q;
    struct virtq_descriptor *descriptors; /* shared with the device, as are the next four */
    struct virtq_available *available;    /* split: written by us */
    struct virtq_used *used;              /* split: written by the device */
    struct virtq_events *ours, *theirs;   /* packed */
    uint32_t *buffers;        /* ours: each chain id's pool buffer; VIRTQ_NONE: we have it */
    uint32_t chains;          /* that the ring holds, a power of two */
    uint32_t descs_per_chain; /* descriptors a chain: 1 or 2 */
    uint32_t next;            /* position of the next chain to hand over; runs freely */
    uint32_t clean;           /* position of the next chain to get back */
    uint32_t published; /* packed: position of the next chain that the device does not see yet */
    uint32_t limit;     /* bytes: of a receive buffer, or of the longest frame to send */
    uint32_t merges;    /* receive: a frame may take several buffers */
    uint32_t in_order;  /* the device uses chains in order, and may report only a batch's last */
    uint32_t notification_data; /* a doorbell also says how far we are, §4.1.5.2 */
    uint32_t number;            /* of the queue */
    uint32_t left;              /* receive: pieces still to come of the frame in `part` */
    struct partial part;
    uint64_t header;   /* transmit: where the device sees 12 zeros, the header of every packet */
    uint64_t dma_base; /* where the device sees the pool's first byte */
    uint64_t first;    /* packed: the word that will show it those, the first of them */
    uint32_t buffer;   /* bytes of a pool buffer: the pool's size, at hand */
    struct doorbell bell;
};

/* Before the device starts: makes the ring, a receive ring full of buffers. Nonzero: too few. */
int virtq_fill(struct virtq_queue *v, int receive);
int virtq_packed_fill(struct virtq_queue *v, int receive);
/* After the device has stopped: gives every buffer back to the stack. */
void virtq_empty(struct virtq_queue *v);
/* Transmit: takes back what was sent; returns the packets still in flight. */
uint32_t virtq_clean(struct virtq_queue *v);
uint32_t virtq_packed_clean(struct virtq_queue *v);
/* What to write to the doorbell now. */
uint32_t virtq_value(const struct virtq_queue *v);
uint32_t virtq_packed_value(const struct virtq_queue *v);
/* A control queue, one command at a time: `out` bytes at `address`, then room for `in` bytes. */
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

/* The device may change what it wrote at any time: what was read before is not read again after. */
static inline void virtq_read_once(void) { __asm__ volatile("" ::: "memory"); }

#endif
