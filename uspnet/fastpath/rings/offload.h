/* SPDX-License-Identifier: Apache-2.0
 *
 * What a stack left to its NIC, or the kernel undid: checksums still to be filled in, and several
 * frames of one stream joined into one. The virtio header in front of such a frame says which.
 * Reference: VIRTIO 1.2, §5.1.6.2; Linux Documentation/networking/segmentation-offloads.rst. */
#ifndef USPNET_OFFLOAD_H
#define USPNET_OFFLOAD_H
#include "fastpath.h"

// [python]
/* Joined frames that are being cut up. */
struct segments {
    const uint8_t *frame; /* the joined one; whoever starts keeps it until `left` is 0 */
    uint32_t left;        /* bytes of payload that are not in a segment yet */
    uint32_t at;          /* offset of the first of them */
    uint32_t size;        /* bytes of payload in each segment but the last */
    uint32_t headers;     /* bytes in front of the payload */
    uint32_t network;     /* offset of the IP header */
    uint32_t transport;   /* offset of the TCP or UDP header */
    uint32_t number;      /* of the next segment, from 0 */
    uint32_t seed;        /* sum of the pseudo-header without its length */
    uint8_t version;      /* of IP */
    uint8_t protocol;     /* of IP: TCP or UDP */
    uint8_t ecn;          /* CWR (RFC 3168) belongs to the first segment alone */
    uint8_t plain;        /* UDP without a checksum */
};
// [c]

struct virtio_net_hdr;

/* A number of 16 bits in network order. */
static inline uint32_t get16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }

/* Where the headers of an IP packet are. Offsets from the frame's first byte. */
struct layers {
    uint32_t network, transport, end; /* `end`: behind the packet; padding may follow */
    uint8_t version, protocol;
    uint8_t routed; /* IPv6 with a routing header: the destination is not in the IPv6 header */
};

/* Finds IP, also behind VLAN tags, and what it carries. 0: there is none, it is a fragment, or a
 * header does not fit. */
int layers_find(const uint8_t *frame, uint32_t length, struct layers *l);

/* The Internet checksum's sum (RFC 1071) of some bytes, folded to 16 bits, in host order. */
uint32_t checksum_sum(const uint8_t *from, uint32_t bytes);
uint32_t checksum_fold(uint64_t sum);

/* Fills in the checksum that the header says is missing. 0: it says nonsense. */
int checksum_complete(uint8_t *frame, uint32_t length, const struct virtio_net_hdr *v);

/* Begins to cut up a joined frame into frames of at most `room` bytes. 0: *reason says why not. */
int segments_start(struct segments *s, const uint8_t *frame, uint32_t length, uint32_t room,
                   const struct virtio_net_hdr *v, enum drop_reason *reason);

/* Writes the next frame, of the `room` bytes at most, and returns its length. */
uint32_t segments_next(struct segments *s, uint8_t *to);

#endif
