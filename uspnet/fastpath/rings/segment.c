// SPDX-License-Identifier: Apache-2.0
/* Segmentation of GSO packets (offload.h), as in the kernel's tcp_gso_segment(). */
#include "offload.h"

#include <arpa/inet.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>

enum {
    TCP_LEAST = 20,
    UDP_BYTES = 8,
    CHECKSUM_IN_TCP = 16,
    CHECKSUM_IN_UDP = 6,
    FLAGS = 13, /* offset in a TCP header */
    FIN = 1 << 0,
    PSH = 1 << 3,
    CWR = 1 << 7,
    IPV6_BYTES = 40,
    GSO_UDP_L4 = 5, /* VIRTIO_NET_HDR_GSO_UDP_L4, which Linux' headers have since 6.2 */
};

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static uint32_t checksum_at(const struct segments *s)
{
    return s->transport + (s->protocol == IPPROTO_TCP ? CHECKSUM_IN_TCP : CHECKSUM_IN_UDP);
}

/* Does the virtio header match the packet: TCP or UDP directly in IP, not in a tunnel? */
static int matches(const struct virtio_net_hdr *v, const struct layers *l)
{
    uint32_t tcp = l->protocol == IPPROTO_TCP;
    switch (v->gso_type & ~VIRTIO_NET_HDR_GSO_ECN) {
    case VIRTIO_NET_HDR_GSO_TCPV4:
        if (!tcp || l->version != 4)
            return 0;
        break;
    case VIRTIO_NET_HDR_GSO_TCPV6:
        if (!tcp || l->version != 6)
            return 0;
        break;
    case GSO_UDP_L4:
        if (l->protocol != IPPROTO_UDP)
            return 0;
        break;
    default:
        return 0;
    }
    if (!(v->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM))
        return !l->routed;
    return v->csum_start == l->transport &&
           v->csum_offset == (tcp ? CHECKSUM_IN_TCP : CHECKSUM_IN_UDP);
}

/* The sum of the pseudo-header without its length. With a routing header the final destination
 * isn't known here; then the sum is taken from the checksum field, where the kernel has put it. */
static uint32_t pseudo(const struct segments *s, const struct layers *l)
{
    uint32_t addresses = l->version == 4 ? 12 : 8, bytes = l->version == 4 ? 8 : 32;
    uint32_t length = l->end - l->transport;
    if (l->routed)
        return checksum_fold(get16(s->frame + checksum_at(s)) + (0xFFFF - checksum_fold(length)));
    return checksum_fold(checksum_sum(s->frame + l->network + addresses, bytes) + l->protocol);
}

int segments_start(struct segments *s, const uint8_t *frame, uint32_t length, uint32_t room,
                   const struct virtio_net_hdr *v, enum drop_reason *reason)
{
    struct layers l;
    uint32_t header, shortest;
    *reason = DROP_JOINED;
    if (!layers_find(frame, length, &l) || !matches(v, &l))
        return 0;
    shortest = l.protocol == IPPROTO_TCP ? TCP_LEAST : UDP_BYTES;
    if (l.transport + shortest > l.end)
        return 0;
    header = l.protocol == IPPROTO_TCP ? (frame[l.transport + 12] >> 4) * 4u : UDP_BYTES;
    if (header < shortest || l.transport + header >= l.end || !v->gso_size)
        return 0;
    if (l.transport + header + v->gso_size > room) {
        *reason = DROP_TOO_LONG;
        return 0;
    }
    *s = (struct segments){
        .frame = frame,
        .left = l.end - l.transport - header,
        .at = l.transport + header,
        .size = v->gso_size,
        .headers = l.transport + header,
        .network = l.network,
        .transport = l.transport,
        .version = l.version,
        .protocol = l.protocol,
        .ecn = v->gso_type & VIRTIO_NET_HDR_GSO_ECN ? 1 : 0,
    };
    s->plain = l.protocol == IPPROTO_UDP && !(v->flags & VIRTIO_NET_HDR_F_NEEDS_CSUM) &&
               !get16(frame + checksum_at(s));
    s->seed = pseudo(s, &l);
    return 1;
}

/* Updates IP's length; for IPv4 also identification and checksum. */
static void put_ip(const struct segments *s, uint8_t *ip, uint32_t end)
{
    uint32_t bytes = end - s->network;
    if (s->version == 6) {
        put16(ip + 4, bytes - IPV6_BYTES);
        return;
    }
    put16(ip + 2, bytes);
    put16(ip + 4, get16(ip + 4) + s->number);
    put16(ip + 10, 0);
    put16(ip + 10, ~checksum_sum(ip, s->transport - s->network));
}

/* Updates sequence number and flags; only the last segment keeps FIN and PSH. */
static void put_tcp(const struct segments *s, uint8_t *tcp, int last)
{
    uint32_t sequence;
    memcpy(&sequence, tcp + 4, sizeof sequence);
    sequence = htonl(ntohl(sequence) + s->number * s->size);
    memcpy(tcp + 4, &sequence, sizeof sequence);
    if (!last)
        tcp[FLAGS] &= (uint8_t)~(FIN | PSH);
    if (s->number && s->ecn)
        tcp[FLAGS] &= (uint8_t)~CWR;
}

static void put_checksum(const struct segments *s, uint8_t *to, uint32_t end)
{
    uint8_t *field = to + checksum_at(s);
    uint32_t bytes = end - s->transport, sum;
    put16(field, 0);
    if (s->plain)
        return;
    sum = checksum_fold(s->seed + bytes + checksum_sum(to + s->transport, bytes));
    put16(field,
          sum == 0xFFFF && s->protocol == IPPROTO_UDP ? sum : ~sum); /* UDP: 0 means no checksum */
}

uint32_t segments_next(struct segments *s, uint8_t *to)
{
    uint32_t bytes = least(s->left, s->size), end = s->headers + bytes;
    memcpy(to, s->frame, s->headers);
    memcpy(to + s->headers, s->frame + s->at, bytes);
    put_ip(s, to + s->network, end);
    if (s->protocol == IPPROTO_TCP)
        put_tcp(s, to + s->transport, bytes == s->left);
    else
        put16(to + s->transport + 4, end - s->transport);
    put_checksum(s, to, end);
    s->at += bytes;
    s->left -= bytes;
    s->number++;
    return end;
}
