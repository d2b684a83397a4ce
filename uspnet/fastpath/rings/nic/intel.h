/* SPDX-License-Identifier: Apache-2.0
 *
 * What Intel's descriptor formats share (intel_legacy.c, intel_advanced.c): rings of 16 bytes a
 * descriptor, little endian, that we fill up to their tail register. The device marks what it is
 * done with in memory, so no register is ever read here. */
#ifndef USPNET_INTEL_H
#define USPNET_INTEL_H
#include "nic.h"

// [python]
struct intel_descriptor {
    uint64_t address;
    uint64_t word; /* length, status, command and so on: the format's files say where */
};
struct intel_queue {
    struct queue q;
    struct intel_descriptor *ring; /* shared with the device */
    uint32_t *buffers;             /* ours: the pool buffer in each slot */
    uint32_t *last;                /* transmit: at a burst's first slot, its last position */
    uint32_t size;                 /* slots, a power of two */
    uint32_t next;                 /* position of the next slot to use; runs freely */
    uint32_t clean;                /* transmit: position of the oldest slot not yet taken back */
    uint32_t tail;                 /* receive: position that the device was told last */
    uint32_t limit;                /* bytes: what one slot takes of a frame */
    uint32_t rx_error_mask;        /* receive: error bits of a frame that is not to be taken */
    uint32_t skipping;   /* advanced receive: the slots up to a frame's end belong to a bad one */
    struct partial part; /* legacy receive: a frame whose pieces are arriving */
    uint64_t tx_flags;   /* transmit: the bits that every descriptor carries */
    uint64_t dma_base;   /* where the device sees the pool's first byte */
    struct doorbell bell;
    struct vector vector; /* receive */
};
/* Before the device starts: fills a receive ring. Nonzero: the stack has too few buffers. */
int intel_fill(struct intel_queue *r);
/* After the device has stopped: gives every buffer back to the stack. */
void intel_empty(struct intel_queue *r, int receive);
uint32_t intel_clean(struct intel_queue *r); /* returns the slots still in flight */
// [c]

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "descriptors are little endian"
#endif

enum {
    SEND_MIN = 17, /* bytes of the shortest frame that the device can pad */
};
static const uint64_t TX_REPORT = 1ull << 27; /* command: write the status back */

static inline uint32_t intel_slot(const struct intel_queue *r, uint32_t position)
{
    return position & (r->size - 1);
}

/* Puts a buffer into a receive ring. */
static inline void intel_post(struct intel_queue *r, uint32_t slot, uint32_t index)
{
    r->buffers[slot] = index;
    r->ring[slot].address = dma_address(&r->q, r->dma_base, index, cache_offset(index));
    r->ring[slot].word = 0;
}

/* The device is told about refilled slots in batches. */
static inline void intel_announce(struct intel_queue *r)
{
    uint32_t tail = r->next + r->size - 1;
    if (tail - r->tail < least(RX_BEHIND, r->size / 2))
        return;
    r->tail = tail;
    doorbell_ring(&r->q, &r->bell, intel_slot(r, tail));
}

/* Closes a burst that was put into a transmit ring from position `first` on. */
static inline void intel_send(struct intel_queue *r, uint32_t first)
{
    r->last[intel_slot(r, first)] = r->next - 1;
    r->ring[intel_slot(r, r->next - 1)].word |= TX_REPORT;
    doorbell_ring(&r->q, &r->bell, intel_slot(r, r->next));
}

#endif
