/* SPDX-License-Identifier: Apache-2.0
 *
 * packet: a kernel interface through AF_PACKET.
 * Reference: Linux Documentation/networking/packet_mmap.rst; include/uapi/linux/if_packet.h. */
#ifndef USPNET_PACKET_H
#define USPNET_PACKET_H
#include "offload.h"

// [python]
struct packet_queue {
    struct queue q;
    uint8_t *ring;            /* rx: the blocks, shared with the kernel */
    uint32_t block_size;      /* rx: bytes */
    uint32_t blocks;          /* rx */
    uint32_t block;           /* rx: the next one to become ours, or the one that is */
    uint32_t left;            /* rx: packets of that block still to be taken */
    uint32_t at;              /* rx: offset in the block of the first of them */
    uint64_t look_at;         /* rx: CLOCK_MONOTONIC in ns, before which the block is left alone */
    uint32_t rest;            /* rx: ns between two looks at a block that the kernel fills */
    int32_t fd;               /* tx: the socket */
    uint32_t ifindex;         /* of an interface whose packets begin with IP; 0: with Ethernet */
    uint8_t macs[12];         /* rx: what is put in front of those, with the EtherType */
    struct segments segments; /* rx: what becomes of a joined packet, while it is being cut up */
    uint64_t stamp;           /* rx: when that one came */
    uint32_t tag;             /* rx: its VLAN tag, in network order; 0: none */
};
// [c]

enum { MACS = 12, TAG = 4 }; /* bytes before and of a VLAN tag */

#endif
