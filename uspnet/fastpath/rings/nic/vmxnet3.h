/* SPDX-License-Identifier: Apache-2.0
 *
 * vmxnet3: the memory that a VMXNET3 device shares with its driver, little endian. There is no
 * public datasheet; the layouts are those of the drivers of Linux, FreeBSD, OpenBSD and DPDK. Names
 * after § are structures of their common header, vmxnet3_defs.h. */
#ifndef USPNET_VMXNET3_H
#define USPNET_VMXNET3_H
#include "nic.h"

// [python]
/* §Vmxnet3_TxDesc and §Vmxnet3_RxDesc, written by the driver. */
struct vmxnet3_descriptor {
    uint64_t address;
    uint64_t word; /* length, generation; receive: type; transmit: end of packet, VLAN tag */
};

/* §Vmxnet3_TxCompDesc and §Vmxnet3_RxCompDesc, written by the device. */
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

/* §Vmxnet3_DriverShared, followed by the areas of the only queue pair. */
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

/* A ring of descriptors. The device owns those in [next, fill). */
struct vmxnet3_ring {
    struct vmxnet3_descriptor *slots;
    uint32_t *buffers; /* private: the pool buffer in each slot */
    uint32_t size;     /* slots, a power of two; one of them always stays empty */
    uint32_t next;     /* position of the oldest slot that the device owns; free-running */
    uint32_t fill;     /* position of the slot to fill next */
    uint32_t notified; /* receive: `fill` at the last doorbell */
    uint32_t limit;    /* bytes of a frame that fit one slot */
    struct doorbell bell;
};

struct vmxnet3_queue {
    struct queue q;
    struct vmxnet3_ring rings[2]; /* receive: first pieces, further pieces; transmit: only [0] */
    struct vmxnet3_completion *completions;
    uint32_t completions_size; /* a power of two, at least that of its rings together */
    uint32_t completed;        /* position of the completion to read next */
    uint64_t tx_flags;         /* transmit: bits of every descriptor */
    uint64_t dma_base;         /* DMA address of the pool's first byte */
    uint64_t rx_bad;           /* receive: completions with the error bit */
    uint8_t *wants_doorbell;   /* receive: updateRxProd in the shared area, set by the device */
    struct partial part;       /* receive: a frame in several slots */
    struct vector vector;      /* receive */
};
uint32_t vmxnet3_rx(struct queue *q, struct packet *packets, uint32_t n);
uint32_t vmxnet3_tx(struct queue *q, struct packet *packets, uint32_t n);
int vmxnet3_arm(struct queue *q, int on);
/* Initializes rings before the device starts, receive rings full of buffers. Nonzero: the stack has
 * too few. */
int vmxnet3_fill(struct vmxnet3_queue *v, int receive);
/* Returns every buffer to the stack, after the device has stopped. */
void vmxnet3_empty(struct vmxnet3_queue *v);
/* Frees the buffers of frames that were sent. Returns the slots still in flight. */
uint32_t vmxnet3_clean(struct vmxnet3_queue *v);
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

/* The generation bit: 1 in the first lap of a ring, 0 in the second, and so on. */
static inline uint32_t vmxnet3_generation(uint32_t position, uint32_t size)
{
    return !(position & size);
}

static inline const struct vmxnet3_completion *
vmxnet3_next_completion(const struct vmxnet3_queue *v)
{
    return &v->completions[v->completed & (v->completions_size - 1)];
}

/* Has the device written it? The generation bit is in its higher half. */
static inline int vmxnet3_is_written(const struct vmxnet3_queue *v, uint64_t high)
{
    return high >> 63 == vmxnet3_generation(v->completed, v->completions_size);
}

/* Takes the next completion, if the device has written it. Each half is read once. */
static inline int vmxnet3_completed(struct vmxnet3_queue *v, struct vmxnet3_completion *c)
{
    const struct vmxnet3_completion *at = vmxnet3_next_completion(v);
    c->high = load_acquire(&at->high); /* then the lower half and the frame */
    if (!vmxnet3_is_written(v, c->high))
        return 0;
    c->low = load_relaxed(&at->low);
    v->completed++;
    return 1;
}

/* The distance of a slot from the oldest one that the device owns; -1: it does not own it. */
static inline int32_t vmxnet3_distance(const struct vmxnet3_ring *ring, uint32_t slot)
{
    uint32_t ahead = (slot - ring->next) & (ring->size - 1);
    return slot < ring->size && ahead < ring->fill - ring->next ? (int32_t)ahead : -1;
}

/* Slots from a position to the end of the ring. */
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
    store_release(&ring->slots[slot].word, word); /* passes it to the device */
    ring->fill++;
}

#endif
