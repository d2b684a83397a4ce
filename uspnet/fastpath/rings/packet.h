/* SPDX-License-Identifier: Apache-2.0
 *
 * packet: a kernel interface through AF_PACKET: TPACKET_V3 to receive, sendmmsg() to send.

 * Reference: Linux Documentation/networking/packet_mmap.rst; include/uapi/linux/if_packet.h. */
#ifndef USPNET_PACKET_H
#define USPNET_PACKET_H
#include "offload.h"

#include <linux/if_packet.h>

// [python]
struct packet_queue {
    struct queue q;
    uint8_t *ring;       /* rx: the blocks, shared with the kernel */
    uint32_t block_size; /* rx: bytes */
    uint32_t blocks;     /* rx */
    uint32_t block;      /* rx: the current one, or the next that the kernel will pass on */
    uint32_t left;       /* rx: packets of that block still to be taken */
    uint32_t at;         /* rx: offset in the block of the first of them */
    uint32_t counted;    /* rx: `left` when packets were last counted */
    uint32_t giving;     /* rx: 1 more than the block that is being given back; 0: none */
    uint64_t poll_at;    /* rx: CLOCK_MONOTONIC in ns of the next check of the block's status */
    uint32_t poll_ns;    /* rx: ns between two checks */
    int32_t fd;          /* tx: the socket */
    uint32_t ifindex;    /* of an interface without link-layer headers; 0: Ethernet */
    uint8_t macs[12];    /* rx: addresses of the Ethernet header added there */
    struct segments segments; /* rx: a GSO packet that is being segmented */
    uint64_t stamp;           /* rx: its time */
    uint32_t tag;             /* rx: its VLAN tag, in network order; 0: none */
    uint64_t stuck_at;        /* tx: CLOCK_MONOTONIC in ns when a frame first found no room; 0: it
                               * found some */
};
// [c]

enum { MACS = 12, TAG = 4 }; /* bytes in front of a VLAN tag, and of the tag */

static inline struct tpacket_block_desc *block_of(const struct packet_queue *pq)
{
    return (void *)(pq->ring + (uint64_t)pq->block * pq->block_size);
}

static inline void block_give_back(struct packet_queue *pq)
{
    pq->giving = pq->block + 1;
    keep_order(); /* packet_revive() completes what comes next */
    /* Release: our reads of the block happen before the kernel's next writes to it. */
    store_release(&block_of(pq)->hdr.bh1.block_status, TP_STATUS_KERNEL);
    pq->left = pq->counted = 0;
    pq->block = pq->block + 1 == pq->blocks ? 0 : pq->block + 1;
    keep_order();
    pq->giving = 0;
}

#endif
