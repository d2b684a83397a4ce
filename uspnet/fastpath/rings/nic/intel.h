/* SPDX-License-Identifier: Apache-2.0
 *
 * What the rings of Intel NICs share (intel_legacy.c, intel_advanced.c): descriptors of 16 bytes,
 * little endian, published by writing the tail register. The device writes back a Descriptor Done
 * bit into memory, so the data path reads no register.
 * References: "PCI/PCI-X Family of Gigabit Ethernet Controllers Software Developer's Manual"
 * (317453), §3.2 and §3.3; "82576EB Gigabit Ethernet Controller Datasheet" (321027), §7.1, §7.2. */
#ifndef USPNET_INTEL_H
#define USPNET_INTEL_H
#include "nic.h"

// [python]
struct intel_descriptor {
    uint64_t address;
    uint64_t word; /* length, status, command: laid out as the format's file says */
};
struct intel_queue {
    struct queue q;
    struct intel_descriptor *ring; /* shared with the device */
    uint32_t *buffers;             /* private: the pool buffer in each slot */
    uint32_t *last;                /* transmit: at the first slot of a burst, its last position */
    uint32_t size;                 /* slots, a power of two */
    uint32_t next;                 /* position of the next slot to use; free-running */
    uint32_t clean;                /* transmit: position of the oldest slot still in flight */
    uint32_t tail;                 /* receive: position last written to the tail register */
    uint32_t limit;                /* bytes of a frame that fit one slot */
    uint32_t rx_error_mask;        /* receive: error bits for which a frame is dropped */
    uint32_t skipping;   /* advanced receive: the following slots belong to a dropped frame */
    struct partial part; /* legacy receive: a frame in several slots */
    uint64_t tx_flags;   /* transmit: command bits of every descriptor */
    uint64_t dma_base;   /* DMA address of the pool's first byte */
    struct doorbell bell;
    struct vector vector; /* receive */
};
/* Fills a receive ring, before the device starts. Nonzero: the stack has too few buffers. */
int intel_fill(struct intel_queue *r);
/* Returns every buffer to the stack, after the device has stopped. */
void intel_empty(struct intel_queue *r, int receive);
/* Frees the buffers of frames that were sent. Returns the slots still in flight. */
uint32_t intel_clean(struct intel_queue *r);
// [c]

#if __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "descriptors are little endian"
#endif

enum {
    SEND_MIN = 17, /* bytes: the device doesn't pad shorter frames */
};
static const uint64_t TX_REPORT = 1ull << 27; /* RS in either format: write back the status */

static inline uint32_t intel_slot(const struct intel_queue *r, uint32_t position)
{
    return position & (r->size - 1);
}

/* Puts a buffer into a slot of a receive ring. */
static inline void intel_post(struct intel_queue *r, uint32_t slot, uint32_t index)
{
    r->buffers[slot] = index;
    r->ring[slot].address = dma_address(&r->q, r->dma_base, index, cache_offset(index));
    r->ring[slot].word = 0;
}

/* Writes the tail register when enough slots were refilled. */
static inline void intel_announce(struct intel_queue *r)
{
    uint32_t tail = r->next + r->size - 1;
    if (tail - r->tail < least(RX_BEHIND, r->size / 2))
        return;
    r->tail = tail;
    doorbell_ring(&r->q, &r->bell, intel_slot(r, tail));
}

/* Publishes the frames from `next` to position `end`. Only the last one requests a status. */
static inline void intel_send(struct intel_queue *r, uint32_t end)
{
    r->last[intel_slot(r, r->next)] = end - 1;
    r->ring[intel_slot(r, end - 1)].word |= TX_REPORT;
    keep_order(); /* intel_clean() relies on `last` of all before `next` */
    r->next = end;
    doorbell_ring(&r->q, &r->bell, intel_slot(r, end));
}

#endif
