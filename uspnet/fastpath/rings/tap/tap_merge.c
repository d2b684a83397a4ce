// SPDX-License-Identifier: Apache-2.0
/* tap with offloads, send: successive segments of a TCP connection in a burst become one packet, as
 * by the kernel's GRO, which takes one system call and one passage through its stack. Their
 * checksums are verified before, since the kernel no longer does that. */
#include "tap.h"

#include <errno.h>
#include <linux/if_ether.h>
#include <linux/virtio_net.h>
#include <netinet/in.h>
#include <sys/uio.h>

// [python]
uint32_t tap_offload_tx(struct queue *q, struct packet *packets, uint32_t n);
// [c]

enum {
    IPV4_BYTES = 20,
    IPV6_BYTES = 40,
    TCP_LEAST = 20,
    HEADERS_MAX = ETH_HLEN + IPV6_BYTES + 60,
    CHECKSUM = 16, /* offsets in a TCP header */
    SEQUENCE = 4,
    FLAGS = 13,
    FIN = 1 << 0,
    PSH = 1 << 3,
    ACK = 1 << 4,
    JOINED_MAX = 65535, /* bytes of an IP packet */
};

/* A frame that can be part of a larger packet. The headers are a copy, since others may be able to
 * change the frame. */
struct part {
    uint8_t headers[HEADERS_MAX];
    const uint8_t *payload;
    uint32_t bytes;     /* of payload */
    uint32_t ip;        /* bytes of the IP header */
    uint32_t transport; /* offset of the TCP header */
    uint32_t end;       /* of the headers */
    uint32_t sequence;
};

static uint32_t get32(const uint8_t *at) { return get16(at) << 16 | get16(at + 2); }

static void put16(uint8_t *at, uint32_t value)
{
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

/* IPv4 or IPv6 without options, whose length is that of the frame. */
static int find_tcp(struct part *p, uint32_t length)
{
    const uint8_t *ip = p->headers + ETH_HLEN;
    uint32_t type;
    if (length < ETH_HLEN + IPV4_BYTES + TCP_LEAST)
        return 0;
    type = get16(p->headers + 12);
    if (type == ETH_P_IP) {
        p->ip = IPV4_BYTES;
        p->transport = ETH_HLEN + IPV4_BYTES;
        return ip[0] == 0x45 && ip[9] == IPPROTO_TCP && !(get16(ip + 6) & 0xBFFF) &&
               get16(ip + 2) == length - ETH_HLEN;
    }
    p->ip = IPV6_BYTES;
    p->transport = ETH_HLEN + IPV6_BYTES;
    return type == ETH_P_IPV6 && length >= p->transport + TCP_LEAST && ip[0] >> 4 == 6 &&
           ip[6] == IPPROTO_TCP && get16(ip + 4) == length - p->transport;
}

/* Is the frame a TCP segment with a payload, and no flags but ACK, PSH and FIN? */
static int read_part(const uint8_t *frame, uint32_t length, struct part *p)
{
    const uint8_t *tcp;
    memcpy(p->headers, frame, least(length, HEADERS_MAX));
    if (!find_tcp(p, length))
        return 0;
    tcp = p->headers + p->transport;
    p->end = p->transport + (tcp[12] >> 4) * 4u;
    if (p->end < p->transport + TCP_LEAST || p->end >= length)
        return 0;
    p->payload = frame + p->end;
    p->bytes = length - p->end;
    p->sequence = get32(tcp + SEQUENCE);
    return (tcp[FLAGS] & ~(PSH | FIN)) == ACK && !(tcp[12] & 0x0F);
}

/* The sum of the pseudo-header, for so many bytes of TCP. */
static uint32_t pseudo(const struct part *p, uint32_t bytes)
{
    uint32_t addresses = p->ip == IPV4_BYTES ? 12 : 8, size = p->ip == IPV4_BYTES ? 8 : 32;
    const uint8_t *ip = p->headers + ETH_HLEN;
    return checksum_fold(checksum_sum(ip + addresses, size) + IPPROTO_TCP + bytes);
}

static int verified(const struct part *p)
{
    uint32_t header = p->end - p->transport;
    uint64_t sum = pseudo(p, header + p->bytes);
    if (p->ip == IPV4_BYTES && checksum_sum(p->headers + ETH_HLEN, IPV4_BYTES) != 0xFFFF)
        return 0;
    sum += checksum_sum(p->headers + p->transport, header);
    return checksum_fold(sum + checksum_sum(p->payload, p->bytes)) == 0xFFFF;
}

static int same(const uint8_t *a, const uint8_t *b, uint32_t from, uint32_t to)
{
    return !memcmp(a + from, b + from, to - from);
}

/* Does `next` belong to the same connection, with the same headers but for what differs from
 * segment to segment: lengths, checksums, IPv4's identification, sequence number, PSH and FIN? */
static int alike(const struct part *a, const struct part *next)
{
    const uint8_t *x = a->headers, *y = next->headers;
    uint32_t ip = ETH_HLEN, tcp = a->transport;
    if (a->ip != next->ip || a->end != next->end || !same(x, y, 0, ETH_HLEN))
        return 0;
    if (a->ip == IPV4_BYTES ? !same(x, y, ip, ip + 2) || !same(x, y, ip + 6, ip + 10) ||
                                  !same(x, y, ip + 12, ip + 20)
                            : !same(x, y, ip, ip + 4) || !same(x, y, ip + 6, ip + 40))
        return 0;
    return same(x, y, tcp, tcp + SEQUENCE) && same(x, y, tcp + 8, tcp + FLAGS) &&
           same(x, y, tcp + 14, tcp + CHECKSUM) && same(x, y, tcp + 18, a->end);
}

/* Does IPv4's identification of the packet that comes so many behind the first one let a router
 * take the joined packet apart again as it was? Without DF, fragments go by it (RFC 6864). */
static int identified(const struct part *first, const struct part *p, uint32_t number)
{
    const uint8_t *ip = p->headers + ETH_HLEN;
    return first->ip != IPV4_BYTES || ip[6] & 0x40 ||
           get16(ip + 4) == (uint16_t)(get16(first->headers + ETH_HLEN + 4) + number);
}

/* A packet of several frames. */
struct joined {
    struct part first;
    struct iovec pieces[BURST_MAX + 2]; /* the virtio header, the headers, the payloads */
    uint32_t n;                         /* frames */
    uint32_t bytes;                     /* of payload */
};

/* Ends the packet at this one? */
static int is_last(const struct part *first, const struct part *p)
{
    return p->bytes < first->bytes || p->headers[p->transport + FLAGS] & (PSH | FIN);
}

static void append(struct joined *j, const struct part *p)
{
    j->pieces[2 + j->n++] = (struct iovec){(void *)p->payload, p->bytes};
    j->bytes += p->bytes;
    j->first.headers[j->first.transport + FLAGS] |= p->headers[p->transport + FLAGS];
}

/* Joins the first of the packets with those that continue it. Returns how many these are; 1: it
 * stays as it is. */
static uint32_t join(struct joined *j, const struct pool *pool, const struct packet *packets,
                     uint32_t n)
{
    struct part *first = &j->first, p;
    if (n < 2 || !read_part(packet_data(pool, packets[0]), packets[0].length, first) ||
        is_last(first, first))
        return 1;
    j->n = j->bytes = 0;
    for (uint32_t i = 1; i < n; i++) {
        uint32_t before = j->n ? j->bytes : first->bytes;
        if (!read_part(packet_data(pool, packets[i]), packets[i].length, &p) || !alike(first, &p) ||
            p.sequence != first->sequence + before || p.bytes > first->bytes ||
            first->end - ETH_HLEN + before + p.bytes > JOINED_MAX || !identified(first, &p, i) ||
            !verified(&p))
            break;
        if (i == 1 && !verified(first))
            break;
        if (i == 1)
            append(j, first);
        append(j, &p);
        if (is_last(first, &p))
            break;
    }
    return j->n ? j->n : 1;
}

/* Completes the headers of a joined packet, and says in the virtio header what it is. */
static void complete(struct joined *j, struct virtio_net_hdr *v)
{
    struct part *first = &j->first;
    uint8_t *ip = first->headers + ETH_HLEN, *tcp = first->headers + first->transport;
    uint32_t bytes = first->end - first->transport + j->bytes, four = first->ip == IPV4_BYTES;
    put16(ip + (four ? 2 : 4), four ? IPV4_BYTES + bytes : bytes);
    if (four) {
        put16(ip + 10, 0);
        put16(ip + 10, ~checksum_sum(ip, IPV4_BYTES));
    }
    put16(tcp + CHECKSUM, pseudo(first, bytes));
    *v = (struct virtio_net_hdr){
        .flags = VIRTIO_NET_HDR_F_NEEDS_CSUM,
        .gso_type = four ? VIRTIO_NET_HDR_GSO_TCPV4 : VIRTIO_NET_HDR_GSO_TCPV6,
        .hdr_len = (uint16_t)first->end,
        .gso_size = (uint16_t)first->bytes,
        .csum_start = (uint16_t)first->transport,
        .csum_offset = CHECKSUM,
    };
    j->pieces[1] = (struct iovec){first->headers, first->end};
}

/* Writes the first k packets: as one that was joined, or a single one as it is. Returns 0 or an
 * errno. */
static int put(const struct tap_queue *tap, struct joined *j, struct packet first, uint32_t k)
{
    struct virtio_net_hdr v = {0};
    uint64_t bytes = sizeof v + first.length;
    j->pieces[0] = (struct iovec){&v, sizeof v};
    if (k > 1) {
        complete(j, &v);
        bytes = sizeof v + j->first.end + j->bytes;
    } else {
        j->pieces[1] = (struct iovec){packet_data(tap->q.pool, first), first.length};
    }
    errno = EINVAL; /* where it has taken less */
    return writev(tap->fd, j->pieces, k > 1 ? (int)(2 + k) : 2) == (ssize_t)bytes ? 0 : errno;
}

uint32_t tap_offload_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    const struct tap_queue *tap = (struct tap_queue *)q;
    struct joined j;
    uint32_t done = 0;
    for (uint32_t i = 0; i < n; i++)
        __builtin_prefetch(packet_data(q->pool, packets[i]));
    while (done < n) {
        uint32_t k = join(&j, q->pool, packets + done, n - done);
        int error = put(tap, &j, packets[done], k);
        if (unlikely(error && error != EINVAL)) {
            tap_fault(q, error);
            break;
        }
        for (uint32_t i = done; i < done + k; i++)
            if (likely(!error))
                queue_count(q, 1, packets[i].length);
            else
                queue_drop_packets(q, tap_refusal(packets[i].length), &packets[i], 1);
        q->counters->doorbells++;
        done += k;
    }
    stack_give_packets(q->stack, packets, done);
    return done;
}
