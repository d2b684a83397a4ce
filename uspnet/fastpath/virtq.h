/* SPDX-License-Identifier: Apache-2.0
 *
 * Virtqueues: "Virtual I/O Device (VIRTIO) Version 1.2", split (§2.7) and packed (§2.8). First
 * what lies in the memory that a driver and a device share, and its barriers, for either end of a
 * ring; then the driver's end, which virtq.c and virtq_packed.c implement. */
#ifndef USPNET_VIRTQ_H
#define USPNET_VIRTQ_H
#include "nic.h"

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
    uint32_t *buffers; /* ours: each chain id's pool buffer; VIRTQ_NONE: we have it */
    uint32_t chains;   /* that the ring holds, a power of two */
    uint32_t span;     /* descriptors a chain: 1 or 2 */
    uint32_t next;     /* position of the next chain to hand over; runs freely */
    uint32_t clean;    /* position of the next chain to get back */
    uint32_t limit;    /* bytes: of a receive buffer, or of the longest frame to send */
    uint32_t merges;   /* receive: a frame may take several buffers */
    uint32_t in_order; /* the device uses chains in order, and may report only a batch's last */
    uint32_t tells;    /* a doorbell also says how far we are, §4.1.5.2 */
    uint32_t number;   /* of the queue */
    uint32_t left;     /* receive: pieces still to come of the frame that `part` begins */
    struct packet part;
    uint64_t header;   /* transmit: where the device sees 12 zeros, the header of every packet */
    uint64_t buffer;   /* bytes of a pool buffer: the pool's size, at hand */
    uint64_t dma_base; /* where the device sees the pool's first byte */
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

enum {
    VIRTQ_FRAME_MIN = 14, /* an Ethernet header */
    VIRTQ_LAZY = 64,      /* packets in flight before the first look at what was sent */
};

/* Barriers against a device, which may be hardware (VIRTIO_F_ORDER_PLATFORM) or another CPU: on
 * Arm the outer shareable domain covers both. x86 keeps loads in order, and stores. */
static inline void virtq_write_barrier(void)
{
#if defined(__x86_64__)
    __asm__ volatile("" ::: "memory");
#elif defined(__aarch64__)
    __asm__ volatile("dmb oshst" ::: "memory");
#else
    __sync_synchronize();
#endif
}

static inline void virtq_read_barrier(void)
{
#if defined(__x86_64__)
    __asm__ volatile("" ::: "memory");
#elif defined(__aarch64__)
    __asm__ volatile("dmb oshld" ::: "memory");
#else
    __sync_synchronize();
#endif
}

static inline void virtq_full_barrier(void)
{
#if defined(__aarch64__)
    __asm__ volatile("dmb osh" ::: "memory");
#else
    __atomic_thread_fence(__ATOMIC_SEQ_CST);
#endif
}

/* --- the driver's end: what both formats share ------------------------------------------------ */

static inline uint64_t virtq_address(const struct virtq_queue *v, uint32_t index, uint32_t offset)
{
    return v->dma_base + (uint64_t)index * v->buffer + offset;
}

/* A doorbell's value. `at` is what the ring has come to, for devices that are told (§4.1.5.2). */
static inline uint32_t virtq_told(const struct virtq_queue *v, uint32_t at)
{
    return v->tells ? at << 16 | v->number : v->number;
}

/* Rings the doorbell unless the device, in *flags, does not want it. §2.7.13.4.1 and §2.8.21.4.1:
 * the driver must perform a suitable memory barrier before reading those flags, or both ends may
 * wait for each other. */
static inline void virtq_notify(struct virtq_queue *v, const uint16_t *flags, uint32_t at)
{
    virtq_full_barrier();
    if (!(load_relaxed(flags) & VIRTQ_QUIET))
        doorbell_ring(&v->q, &v->bell, virtq_told(v, at));
}

/* Says in *flags whether the device shall notify us. Before we look at the ring once more, the
 * device must be able to see that: §2.7.13.4.1 and §2.8.21.4.1, as it is for the device. */
static inline void virtq_ask_notice(const struct queue *q, uint16_t *flags, int on)
{
    if (on)
        vector_forget(q);
    store_relaxed(flags, on ? 0 : VIRTQ_QUIET);
    virtq_full_barrier();
}

/* The buffer of a chain that the device gave back. An id that it did not have is a fault. */
static inline int virtq_take(struct virtq_queue *v, uint32_t id, uint32_t *index)
{
    if (unlikely(id >= v->chains || v->buffers[id] == VIRTQ_NONE)) {
        queue_fault(&v->q, FAULT_RING);
        return 0;
    }
    *index = v->buffers[id];
    v->buffers[id] = VIRTQ_NONE;
    return 1;
}

void virtq_begin_fill(struct virtq_queue *v);
int virtq_refuse(struct virtq_queue *v, uint32_t index);
int virtq_begin(struct virtq_queue *v, struct packet *p, uint32_t pieces);
int virtq_join(struct virtq_queue *v, struct packet *p, uint32_t length);

/* Checks what the device wrote, `length` bytes with the net header, into buffer p->index. Returns
 * 1 when *p is a whole, good frame. The header of a frame in one buffer holds nothing for us (no
 * offload was negotiated), so without merging this does not touch the packet's memory. */
static inline int virtq_accept(struct virtq_queue *v, struct packet *p, uint32_t length)
{
    uint32_t least_bytes = VIRTQ_NET_HEADER + VIRTQ_FRAME_MIN;
    if (unlikely(v->left))
        return virtq_join(v, p, length);
    if (unlikely(length - least_bytes > v->limit - least_bytes))
        return virtq_refuse(v, p->index);
    p->offset = (uint16_t)(colour(p->index) + VIRTQ_NET_HEADER);
    p->length = (uint16_t)(length - VIRTQ_NET_HEADER);
    if (v->merges) {
        uint16_t pieces;
        memcpy(&pieces, packet_data(v->q.pool, *p) - VIRTQ_NET_HEADER + VIRTQ_MERGED_AT, 2);
        if (unlikely(pieces != 1))
            return virtq_begin(v, p, pieces);
    }
    return 1;
}

/* Takes back what was sent, from the chain at `clean` to that of `id`, at most `most` of them. An
 * in-order device reports only the last of a batch (§2.7.9, §2.8.9), others each by itself.
 * Returns how many they were; 0 after a fault. */
static inline uint32_t virtq_sent(struct virtq_queue *v, uint32_t id, uint32_t most)
{
    uint32_t mask = v->chains - 1, n = 1, index;
    if (likely(!v->in_order)) {
        if (unlikely(!virtq_take(v, id, &index)))
            return 0;
        stack_give(v->q.stack, index);
        v->clean++;
        return 1;
    }
    n += (id - v->clean) & mask;
    if (unlikely(n > most || id > mask)) {
        queue_fault(&v->q, FAULT_RING);
        return 0;
    }
    for (uint32_t i = n; i-- > 0;) {
        if (unlikely(!virtq_take(v, (id - i) & mask, &index)))
            return 0;
        stack_give(v->q.stack, index);
    }
    v->clean += n;
    return n;
}

/* Is a look at what was sent due, before n packets more? */
static inline int virtq_due(const struct virtq_queue *v, uint32_t n)
{
    uint32_t flying = v->next - v->clean;
    return flying >= least(VIRTQ_LAZY, v->chains / 2) || flying + n > v->chains;
}

/* The packets that can be sent in one run, at most n: there is room, and the ring's end is not
 * passed. */
static inline uint32_t virtq_run(const struct virtq_queue *v, uint32_t n)
{
    uint32_t at = v->next & (v->chains - 1), flying = v->next - v->clean;
    return least(n, least(v->chains - at, v->chains - flying));
}

/* Can the device send a frame of so many bytes? If not, it is counted and its buffer kept. */
static inline int virtq_sendable(struct virtq_queue *v, struct packet p)
{
    if (likely((uint32_t)p.length - VIRTQ_FRAME_MIN <= v->limit - VIRTQ_FRAME_MIN))
        return 1;
    virtq_refuse(v, p.index);
    return 0;
}

#endif
