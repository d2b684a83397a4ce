/* SPDX-License-Identifier: Apache-2.0
 *
 * Offloads in software: completes checksums that the sender left to its NIC, and segments packets
 * of several frames (GSO, GRO). The virtio header in front of a packet says what is left to do.
 * References: VIRTIO 1.2, §5.1.6.2; Linux Documentation/networking/segmentation-offloads.rst. */
#ifndef USPNET_OFFLOAD_H
#define USPNET_OFFLOAD_H
#include "fastpath.h"

// [python]
/* A GSO packet that is being segmented. */
struct segments {
    const uint8_t *frame; /* the packet; must stay valid until `left` is 0 */
    uint32_t left;        /* bytes of payload still to be sent in segments */
    uint32_t at;          /* offset of the first of them */
    uint32_t size;        /* bytes of payload in each segment but the last */
    uint32_t headers;     /* bytes of headers */
    uint32_t network;     /* offset of the IP header */
    uint32_t transport;   /* offset of the TCP or UDP header */
    uint32_t number;      /* of the next segment, from 0 */
    uint32_t seed;        /* sum of the pseudo-header without its length */
    uint8_t version;      /* of IP */
    uint8_t protocol;     /* of IP: TCP or UDP */
    uint8_t ecn;          /* only the first segment keeps CWR (RFC 3168) */
    uint8_t plain;        /* UDP without a checksum */
};
// [c]

struct virtio_net_hdr;

/* A number of 16 bits in network order. */
static inline uint32_t get16(const uint8_t *at) { return (uint32_t)at[0] << 8 | at[1]; }

/* Offsets of the headers of an IP packet, from the frame's first byte. */
struct layers {
    uint32_t network, transport, end; /* `end`: of the IP packet; padding may follow */
    uint8_t version, protocol;
    uint8_t routed; /* IPv6 with a routing header, which has the final destination */
};

/* Finds the IP header, also behind VLAN tags, and the transport header. 0: it is not IP, a
 * fragment, or a header is truncated. */
int layers_find(const uint8_t *frame, uint32_t length, struct layers *l);

/* The Internet checksum's sum (RFC 1071) of some bytes, folded to 16 bits, in host order. */
uint32_t checksum_sum(const uint8_t *from, uint32_t bytes);
uint32_t checksum_fold(uint64_t sum);

/* Completes the checksum that the virtio header announces. 0: its offsets are invalid. */
int checksum_complete(uint8_t *frame, uint32_t length, const struct virtio_net_hdr *v);

/* Begins to segment a GSO packet into frames of at most `room` bytes. 0: it can't be, for
 * *reason. */
int segments_start(struct segments *s, const uint8_t *frame, uint32_t length, uint32_t room,
                   const struct virtio_net_hdr *v, enum drop_reason *reason);

/* Writes the next segment, at most `room` bytes, and returns its length. */
uint32_t segments_next(struct segments *s, uint8_t *to);

#endif
