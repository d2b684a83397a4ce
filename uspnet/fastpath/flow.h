/* SPDX-License-Identifier: Apache-2.0
 *
 * The flow of a packet: addresses, protocol and ports. Whatever a packet claims is checked against
 * its bytes; a header that isn't all there makes the flow end above it. Fences as in fastpath.h. */
#ifndef USPNET_FLOW_H
#define USPNET_FLOW_H
#include "fastpath.h"

// [python]
/* The two ends of a flow: the same for both directions. Side 0 has the smaller address and port.
 * Zeros where there is nothing. Without `version`, the addresses are MAC addresses. */
struct flow_ends {
    uint8_t addresses[2][16];
    uint16_t ports[2];
    uint16_t ether_type;
    uint8_t protocol;
    uint8_t version; /* of IP; 0: the packet is none, or its header isn't all there */
};
// [c]

#include <endian.h>

enum { FLOW_IPV4 = 0x0800, FLOW_IPV6 = 0x86DD, ETHER_TYPE_LEAST = 0x0600 };
enum { NEXT_HOPS = 0, NEXT_ROUTING = 43, NEXT_FRAGMENT = 44, NEXT_AH = 51, NEXT_DESTINATION = 60 };
enum { FLOW_TCP = 6, FLOW_UDP = 17, FLOW_DCCP = 33, FLOW_SCTP = 132, FLOW_UDP_LITE = 136 };
enum { TAGS_MAX = 8, HEADERS_MAX = 16 };

/* Zeros where there is nothing. Where a packet isn't IP, the addresses are MAC addresses. */
struct flow_key {
    uint8_t addresses[2][16]; /* source, destination */
    uint16_t ports[2];
    uint16_t ether_type; /* 0: 802.3, a length */
    uint16_t vlan;       /* the outermost tag's */
    uint8_t version;     /* of IP; 0: the packet is none, or its header isn't all there */
    uint8_t protocol;
    uint8_t fragment; /* it is a part of a datagram; later parts have no ports */
    uint8_t tagged, has_ports, has_flags;
    uint8_t tcp_flags;
    uint8_t later;         /* a part of a datagram behind its first */
    const uint8_t *behind; /* of all headers up to IP's, and those of its extensions */
};

/* What is left of a packet. */
struct rest {
    const uint8_t *at;
    uint32_t n;
};

static inline uint16_t flow_be16(const uint8_t *at)
{
    uint16_t v;
    memcpy(&v, at, 2);
    return be16toh(v);
}

static inline void rest_skip(struct rest *r, uint32_t n)
{
    n = least(n, r->n);
    r->at += n;
    r->n -= n;
}

static inline int flow_is_tag(uint16_t type)
{
    return type == 0x8100 || type == 0x88A8 || type == 0x9100;
}

static inline int flow_has_ports(uint8_t protocol)
{
    return protocol == FLOW_TCP || protocol == FLOW_UDP || protocol == FLOW_SCTP ||
           protocol == FLOW_DCCP || protocol == FLOW_UDP_LITE;
}

static inline void flow_take_ports(struct flow_key *k, const struct rest *r)
{
    if (!flow_has_ports(k->protocol) || r->n < 4)
        return;
    k->ports[0] = flow_be16(r->at);
    k->ports[1] = flow_be16(r->at + 2);
    k->has_ports = 1;
    k->has_flags = k->protocol == FLOW_TCP && r->n >= 14;
    if (k->has_flags)
        k->tcp_flags = r->at[13];
}

static inline void flow_take_ipv4(struct flow_key *k, struct rest r)
{
    uint32_t header = r.n >= 20 ? (r.at[0] & 15u) * 4 : 0;
    if (header < 20 || r.at[0] >> 4 != 4)
        return;
    memset(k->addresses, 0, sizeof k->addresses);
    memcpy(k->addresses[0], r.at + 12, 4);
    memcpy(k->addresses[1], r.at + 16, 4);
    k->protocol = r.at[9];
    k->version = 4;
    k->fragment = (flow_be16(r.at + 6) & 0x3FFF) != 0;
    k->later = (flow_be16(r.at + 6) & 0x1FFF) != 0;
    rest_skip(&r, header);
    k->behind = r.at;
    if (k->later) /* it has no ports */
        return;
    flow_take_ports(k, &r);
}

static inline void flow_take_ipv6(struct flow_key *k, struct rest r)
{
    uint8_t next;
    uint32_t n = 0;
    if (r.n < 40 || r.at[0] >> 4 != 6)
        return;
    memcpy(k->addresses, r.at + 8, 32);
    k->version = 6;
    next = r.at[6];
    rest_skip(&r, 40);
    while (n++ < HEADERS_MAX && r.n >= 8) {
        uint32_t length = (r.at[1] + 1u) * 8;
        k->fragment |= next == NEXT_FRAGMENT;
        if (next == NEXT_FRAGMENT && flow_be16(r.at + 2) & 0xFFF8) {
            k->protocol = r.at[0];
            k->behind = r.at + 8;
            k->later = 1;
            return;
        }
        if (next == NEXT_FRAGMENT)
            length = 8;
        else if (next == NEXT_AH)
            length = (r.at[1] + 2u) * 4;
        else if (next != NEXT_HOPS && next != NEXT_ROUTING && next != NEXT_DESTINATION)
            break;
        next = r.at[0];
        rest_skip(&r, length);
    }
    k->protocol = next;
    k->behind = r.at;
    flow_take_ports(k, &r);
}

/* Reads the tags that follow an EtherType. Returns the one behind them. */
static inline uint16_t flow_take_tags(struct flow_key *k, uint16_t type, struct rest *r)
{
    uint32_t tags = 0;
    while (flow_is_tag(type) && r->n >= 4 && tags++ < TAGS_MAX) {
        if (!k->tagged)
            k->vlan = flow_be16(r->at) & 0xFFF;
        k->tagged = 1;
        type = flow_be16(r->at + 2);
        rest_skip(r, 4);
    }
    return type;
}

/* Reads what follows an EtherType. `k` has no more than addresses before. */
static inline void flow_take(struct flow_key *k, uint16_t type, struct rest r)
{
    type = flow_take_tags(k, type, &r);
    k->ether_type = type < ETHER_TYPE_LEAST ? 0 : type;
    k->behind = r.at;
    if (type == FLOW_IPV4)
        flow_take_ipv4(k, r);
    else if (type == FLOW_IPV6)
        flow_take_ipv6(k, r);
}

/* Reads an Ethernet frame. `k` is all zeros before. */
static inline void flow_of_frame(struct flow_key *k, const uint8_t *frame, uint32_t length)
{
    struct rest r = {frame, length};
    uint16_t type = 0;
    if (length >= FRAME_SHORTEST) {
        memcpy(k->addresses[1], frame, 6);
        memcpy(k->addresses[0], frame + 6, 6);
        type = flow_be16(frame + 12);
        rest_skip(&r, FRAME_SHORTEST);
    }
    flow_take(k, type, r);
}

/* Sets the ends of a flow. Returns which side sent the packet. */
static inline uint32_t flow_ends_of(struct flow_ends *e, const struct flow_key *k)
{
    int order = memcmp(k->addresses[0], k->addresses[1], 16);
    uint32_t from = order > 0 || (order == 0 && k->ports[0] > k->ports[1]);
    memcpy(e->addresses[from], k->addresses[0], 16);
    memcpy(e->addresses[!from], k->addresses[1], 16);
    e->ports[from] = k->ports[0];
    e->ports[!from] = k->ports[1];
    e->ether_type = k->ether_type;
    e->protocol = k->protocol;
    e->version = k->version;
    return from;
}

/* Sets the ends of a frame's flow: all parts of a datagram are of one. `k` is all zeros before.
 * Returns which side sent the packet. */
static inline uint32_t flow_ends_of_frame(struct flow_ends *e, struct flow_key *k,
                                          const uint8_t *frame, uint32_t length)
{
    flow_of_frame(k, frame, length);
    if (k->fragment)
        k->ports[0] = k->ports[1] = 0;
    return flow_ends_of(e, k);
}

/* The senders of packets don't know the seed. */
static inline uint32_t flow_ends_hash(const struct flow_ends *e, uint64_t seed)
{
    uint64_t words[5], hash = seed;
    _Static_assert(sizeof *e == sizeof words, "there is no padding");
    memcpy(words, e, sizeof words);
    for (uint32_t i = 0; i < 5; i++) {
        unsigned __int128 product =
            (unsigned __int128)(words[i] ^ hash) * (0x9E3779B97F4A7C15ull ^ seed << 1);
        hash = (uint64_t)product ^ (uint64_t)(product >> 64) ^ (hash << 23 | hash >> 41);
    }
    return (uint32_t)(hash >> 32);
}

#endif
