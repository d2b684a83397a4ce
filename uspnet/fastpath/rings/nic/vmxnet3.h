/* SPDX-License-Identifier: Apache-2.0
 *
 * The memory that a VMXNET3 device and its driver share, little endian. There is no public
 * datasheet: the layouts are those that every open driver for it (Linux, FreeBSD, OpenBSD, DPDK)
 * agrees on. Names after § are the structures of their common header, vmxnet3_defs.h. */
#ifndef USPNET_VMXNET3_H
#define USPNET_VMXNET3_H
#include "nic.h"

// [python]
/* §Vmxnet3_TxDesc and §Vmxnet3_RxDesc. Ours to write. */
struct vmxnet3_descriptor {
    uint64_t address;
    uint64_t word; /* length, generation; receive: type; transmit: end of packet, VLAN tag */
};

/* §Vmxnet3_TxCompDesc and §Vmxnet3_RxCompDesc. The device's to write. */
struct vmxnet3_completion {
    uint64_t low;  /* slot; receive: ring, start and end of packet, hash */
    uint64_t high; /* generation; receive: length, error, VLAN tag, checksum */
};

/* §Vmxnet3_TxQueueDesc. */
struct vmxnet3_tx_area {
    uint32_t deferred, threshold; /* §Vmxnet3_TxQueueCtrl */
    uint64_t reserved1;
    uint64_t ring, data, completions, driver_data, reserved2; /* §Vmxnet3_TxQueueConf */
    uint32_t size, data_size, completions_size, driver_data_size;
    uint8_t interrupt, unused1;
    uint16_t data_bytes;
    uint32_t unused2;
    uint8_t stopped, unused3[3]; /* §Vmxnet3_QueueStatus */
    uint32_t error;
    uint64_t tso_packets, tso_bytes, unicast_packets, unicast_bytes; /* §UPT1_TxStats */
    uint64_t multicast_packets, multicast_bytes, broadcast_packets, broadcast_bytes;
    uint64_t errors, discarded;
    uint8_t unused4[88];
};

/* §Vmxnet3_RxQueueDesc. */
struct vmxnet3_rx_area {
    uint8_t wants_doorbell, unused1[7]; /* §Vmxnet3_RxQueueCtrl */
    uint64_t reserved1;
    uint64_t rings[2], completions, driver_data, data; /* §Vmxnet3_RxQueueConf */
    uint32_t sizes[2], completions_size, driver_data_size;
    uint8_t interrupt, unused2;
    uint16_t data_bytes;
    uint32_t unused3;
    uint8_t stopped, unused4[3]; /* §Vmxnet3_QueueStatus */
    uint32_t error;
    uint64_t lro_packets, lro_bytes, unicast_packets, unicast_bytes; /* §UPT1_RxStats */
    uint64_t multicast_packets, multicast_bytes, broadcast_packets, broadcast_bytes;
    uint64_t out_of_buffer, errors;
    uint8_t unused5[88];
};

/* §Vmxnet3_DriverShared, and behind it the areas of its one queue pair. */
struct vmxnet3_area {
    uint32_t magic, size;
    uint32_t version, guest, revisions, upt_versions; /* §Vmxnet3_DriverInfo */
    uint64_t features, driver_data, queues;           /* §Vmxnet3_MiscConf */
    uint32_t driver_data_size, queues_size, mtu;
    uint16_t pieces; /* the most descriptors that a received frame may take */
    uint8_t tx_queues, rx_queues;
    uint32_t reserved1[4];
    uint8_t auto_mask, interrupts, event_interrupt, moderation[25]; /* §Vmxnet3_IntrConf */
    uint32_t interrupt_control, reserved2[2];
    uint32_t rx_mode; /* §Vmxnet3_RxFilterConf */
    uint16_t multicast_size, unused1;
    uint64_t multicast;
    uint32_t vlans[128];                  /* a bit for each VLAN that is received */
    uint64_t rss[2], power[2], plugin[2]; /* §Vmxnet3_VariableLenConfDesc */
    uint32_t events, reserved3[5];        /* §VMXNET3_ECR_RQERR and the like, set by the device */
    uint8_t unused2[304];
    struct vmxnet3_tx_area tx; /* aligned to 128 bytes, §VMXNET3_QUEUE_DESC_ALIGN */
    struct vmxnet3_rx_area rx;
};

/* A ring of descriptors. Those from `next` up to `fill` are the device's. */
struct vmxnet3_ring {
    struct vmxnet3_descriptor *slots;
    uint32_t *buffers; /* ours: the pool buffer in each slot */
    uint32_t size;     /* slots, a power of two; one of them always stays empty */
    uint32_t next;     /* position of the oldest slot that the device has; runs freely */
    uint32_t fill;     /* position of the slot to fill next */
    uint32_t notified; /* receive: position that the device was told last */
    uint32_t limit;    /* bytes: what one slot takes of a frame */
    struct doorbell bell;
};

struct vmxnet3_queue {
    struct queue q;
    struct vmxnet3_ring rings[2]; /* receive: beginnings of frames, the rest; transmit: the first */
    struct vmxnet3_completion *completions;
    uint32_t completions_size; /* a power of two, at least that of its rings together */
    uint32_t completed;        /* position of the completion to read next */
    uint64_t tx_flags;         /* transmit: the bits that every descriptor carries */
    uint64_t dma_base;         /* where the device sees the pool's first byte */
    uint64_t rx_bad;           /* receive: frames that the device itself marked as bad */
    uint8_t *wants_doorbell;   /* receive: the device's wish, in the shared area */
    struct partial part;       /* receive: a frame whose pieces are arriving */
    struct vector vector;      /* receive */
};
uint32_t vmxnet3_rx(struct queue *q, struct packet *packets, uint32_t n);
uint32_t vmxnet3_tx(struct queue *q, struct packet *packets, uint32_t n);
int vmxnet3_arm(struct queue *q, int on);
/* Before the device starts: empty rings, or receive rings full of buffers. Nonzero: the stack has
 * too few. */
int vmxnet3_fill(struct vmxnet3_queue *v, int receive);
/* After the device has stopped: gives every buffer back to the stack. */
void vmxnet3_empty(struct vmxnet3_queue *v);
uint32_t vmxnet3_clean(struct vmxnet3_queue *v); /* returns the slots still in flight */
// [c]

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "descriptors are little endian"
#endif

_Static_assert(offsetof(struct vmxnet3_area, tx) == 1024, "as the device sees it");
_Static_assert(offsetof(struct vmxnet3_area, unused2) == 720, "§Vmxnet3_DriverShared");
_Static_assert(sizeof(struct vmxnet3_tx_area) == 256, "§Vmxnet3_TxQueueDesc");
_Static_assert(sizeof(struct vmxnet3_rx_area) == 256, "§Vmxnet3_RxQueueDesc");

static const uint64_t RX_BODY = 1ull << 14, RX_GENERATION = 1ull << 31; /* §Vmxnet3_RxDesc */

static inline uint32_t vmxnet3_slot(const struct vmxnet3_ring *ring, uint32_t position)
{
    return position & (ring->size - 1);
}

/* 1 in the first lap of a ring, 0 in the second, and so on. */
static inline uint32_t vmxnet3_generation(uint32_t position, uint32_t size)
{
    return !(position & size);
}

static inline const struct vmxnet3_completion *
vmxnet3_next_completion(const struct vmxnet3_queue *v)
{
    return &v->completions[v->completed & (v->completions_size - 1)];
}

/* Has the device written it, by the generation in its higher half? */
static inline int vmxnet3_is_written(const struct vmxnet3_queue *v, uint64_t high)
{
    return high >> 63 == vmxnet3_generation(v->completed, v->completions_size);
}

/* The next completion, if the device has written it: read once, its generation first. */
static inline int vmxnet3_completed(struct vmxnet3_queue *v, struct vmxnet3_completion *c)
{
    const struct vmxnet3_completion *at = vmxnet3_next_completion(v);
    c->high = load_acquire(&at->high); /* before the rest of it, and the frame itself, are read */
    if (!vmxnet3_is_written(v, c->high))
        return 0;
    c->low = load_relaxed(&at->low);
    v->completed++;
    return 1;
}

/* How far the slot lies behind the oldest one that the device has; -1: it has no such slot. */
static inline int32_t vmxnet3_distance(const struct vmxnet3_ring *ring, uint32_t slot)
{
    uint32_t ahead = (slot - ring->next) & (ring->size - 1);
    return slot < ring->size && ahead < ring->fill - ring->next ? (int32_t)ahead : -1;
}

/* How many slots of a ring lie between a position and the ring's end. */
static inline uint32_t vmxnet3_run(uint32_t position, uint32_t size)
{
    return size - (position & (size - 1));
}

/* Puts a buffer into a receive ring. */
static inline void vmxnet3_post(struct vmxnet3_queue *v, struct vmxnet3_ring *ring, uint32_t index)
{
    uint32_t slot = vmxnet3_slot(ring, ring->fill);
    uint64_t word = ring->limit;
    if (ring != v->rings)
        word |= RX_BODY;
    if (vmxnet3_generation(ring->fill, ring->size))
        word |= RX_GENERATION;
    ring->buffers[slot] = index;
    ring->slots[slot].address = dma_address(&v->q, v->dma_base, index, cache_offset(index));
    store_release(&ring->slots[slot].word, word); /* after the address: now it is the device's */
    ring->fill++;
}

#endif
