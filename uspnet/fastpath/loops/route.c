// SPDX-License-Identifier: Apache-2.0
/* route: an IP router. The longest prefix of a packet's destination says which port it leaves by,
 * and with which MAC addresses; its TTL or hop limit is one less then. Nothing is fragmented, and
 * no ICMP message is sent: what can't go on is dropped, by a reason of its own.
 * References: RFC 1812 (IPv4), RFC 8200 (IPv6), RFC 1624 (the checksum); for what is not forwarded,
 * Linux's ip_route_input_slow() and ip6_forward(). */
#include "../lpm.h"
#include "../rings/offload.h"
#include "ways.h"

// [python]
/* What becomes of packets that a prefix is found for. */
enum hop_act { HOP_NONE, HOP_SEND, HOP_NO_NEIGHBOR, HOP_ROUTER, HOP_LOCAL, HOP_DROP, HOP_ACTS };

/* Where packets go next. */
struct hop {
    uint8_t macs[12]; /* SEND: destination, source */
    uint32_t port;    /* SEND: the number of the port that they leave by */
    uint32_t act;     /* enum hop_act */
};

/* A destination whose neighbor's address is not known, as `lpm_find` takes it. */
struct missed {
    uint64_t high, low, is_ipv6;
};

struct route_loop {
    struct ways_loop w;
    struct lpm ipv4, ipv6; /* look-ups return the number of a hop; 0 is HOP_NONE */
    struct hop *hops;
    uint32_t n_hops;
    uint64_t macs[16]; /* by port: the router's address there, its first byte the lowest; 0: any */
    struct missed missed[16]; /* the last ones, for whoever asks the kernel for them */
    uint64_t misses;          /* ever */
};
void loop_route(struct worker *w);
// [c]

enum { ETHERNET = FRAME_SHORTEST, IPV4_LEAST = 20, IPV6_BYTES = 40, TYPE_AT = 12 };
enum { TYPE_IPV4 = 0x0800, TYPE_IPV6 = 0x86DD };
enum { TTL_AT = 8, CHECKSUM_AT = 10, HOP_LIMIT_AT = 7 };

static const uint8_t REASONS[HOP_ACTS] = {
    [HOP_NONE] = DROP_NO_ROUTE,           [HOP_SEND] = DROP_NONE,
    [HOP_NO_NEIGHBOR] = DROP_NO_NEIGHBOR, [HOP_ROUTER] = DROP_TO_ROUTER,
    [HOP_LOCAL] = DROP_LINK_LOCAL,        [HOP_DROP] = DROP_FILTERED,
};

/* A packet that is being looked at. */
struct routed {
    uint8_t *ip;
    const struct lpm *table;
    uint64_t high, low; /* its destination */
    uint32_t ttl_at;    /* where in `ip` its TTL or hop limit is */
    uint32_t reason;    /* DROP_NONE: it is to be looked up */
};

static uint32_t be32_at(const uint8_t *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return be32toh(v);
}

static uint64_t be64_at(const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return be64toh(v);
}

/* The sum of a header with its checksum is that of all ones (RFC 1071). */
static int is_right(const uint8_t *ip, uint32_t header)
{
    uint32_t words[IPV4_LEAST / 4], word;
    uint64_t sum;
    memcpy(words, ip, sizeof words);
    sum = (uint64_t)words[0] + words[1] + words[2] + words[3] + words[4];
    for (uint32_t i = IPV4_LEAST; unlikely(i < header); i += sizeof word) {
        memcpy(&word, ip + i, sizeof word);
        sum += word;
    }
    return sum % UINT16_MAX == 0; /* and it is not 0: the version isn't */
}

/* This network's, loopback, a group or all: nobody's own address. */
static int is_wrong_ipv4(uint32_t source)
{
    return !source || source >> 24 == 127 || source >> 28 == 14 || source == UINT32_MAX;
}

static enum drop_reason read_ipv4(const struct route_loop *r, struct routed *p, uint32_t bytes)
{
    uint32_t header, total;
    if (unlikely(bytes < IPV4_LEAST || p->ip[0] >> 4 != 4))
        return DROP_BAD_HEADER;
    header = (p->ip[0] & 15u) * 4;
    total = get16(p->ip + 2);
    if (unlikely(header < IPV4_LEAST || total < header || total > bytes))
        return DROP_BAD_HEADER;
    if (unlikely(!is_right(p->ip, header)))
        return DROP_BAD_HEADER;
    if (unlikely(is_wrong_ipv4(be32_at(p->ip + 12))))
        return DROP_BAD_SOURCE;
    p->ttl_at = TTL_AT;
    p->table = &r->ipv4;
    p->high = (uint64_t)be32_at(p->ip + 16) << 32;
    p->low = 0;
    return DROP_NONE;
}

/* None, loopback, one of the link alone, or a group. */
static int is_wrong_ipv6(uint64_t high, uint64_t low)
{
    return (!high && low <= 1) || high >> 54 == 0xFE80 >> 6 || high >> 56 == 0xFF;
}

static enum drop_reason read_ipv6(const struct route_loop *r, struct routed *p, uint32_t bytes)
{
    if (unlikely(bytes < IPV6_BYTES || p->ip[0] >> 4 != 6))
        return DROP_BAD_HEADER;
    if (unlikely(get16(p->ip + 4) > bytes - IPV6_BYTES))
        return DROP_BAD_HEADER;
    if (unlikely(is_wrong_ipv6(be64_at(p->ip + 8), be64_at(p->ip + 16))))
        return DROP_BAD_SOURCE;
    p->ttl_at = HOP_LIMIT_AT;
    p->table = &r->ipv6;
    p->high = be64_at(p->ip + 24);
    p->low = be64_at(p->ip + 32);
    return DROP_NONE;
}

/* Reads a packet's destination. `mac`: the router's own, 0: any. Returns why it can't be looked
 * up, or DROP_NONE. */
static INLINE enum drop_reason read_packet(const struct route_loop *r, uint64_t mac,
                                           const uint8_t *frame, uint32_t length, struct routed *p)
{
    uint32_t type;
    if (unlikely(length < ETHERNET))
        return DROP_NOT_ROUTED;
    type = get16(frame + TYPE_AT);
    if (unlikely(type != TYPE_IPV4 && type != TYPE_IPV6))
        return DROP_NOT_ROUTED;
    if (unlikely(frame[0] & 1 || (mac && mac_at(frame) != mac)))
        return DROP_OTHER_HOST;
    if (type == TYPE_IPV4)
        return read_ipv4(r, p, length - ETHERNET);
    return read_ipv6(r, p, length - ETHERNET);
}

/* Finds the next hop of a packet. Returns why it can't go there, or DROP_NONE. */
static INLINE enum drop_reason find_hop(const struct route_loop *r, const struct routed *p,
                                        const struct hop **hop)
{
    uint32_t number = lpm_find(p->table, p->high, p->low), act;
    enum drop_reason reason;
    *hop = &r->hops[likely(number < r->n_hops) ? number : 0];
    act = (*hop)->act;
    reason = (enum drop_reason)REASONS[likely(act < HOP_ACTS) ? act : 0];
    if ((reason == DROP_NONE || reason == DROP_NO_NEIGHBOR) && unlikely(p->ip[p->ttl_at] <= 1))
        return DROP_TTL_EXPIRED;
    return reason;
}

/* One less; what IPv4's checksum covers is 0x100 less then, and it is as much more. */
static void count_down(const struct routed *p)
{
    uint32_t sum;
    p->ip[p->ttl_at]--;
    if (p->ttl_at != TTL_AT)
        return;
    sum = get16(p->ip + CHECKSUM_AT) + 0x100;
    sum += sum >= UINT16_MAX; /* carries, and is never 0xFFFF: that would be minus zero */
    p->ip[CHECKSUM_AT] = (uint8_t)(sum >> 8);
    p->ip[CHECKSUM_AT + 1] = (uint8_t)sum;
}

/* Remembers a destination that could not be reached. */
static void miss(struct route_loop *r, const struct routed *p)
{
    struct missed *m = &r->missed[r->misses++ % (sizeof r->missed / sizeof r->missed[0])];
    m->high = p->high;
    m->low = p->low;
    m->is_ipv6 = p->table == &r->ipv6;
}

/* Sends a packet to its next hop, or drops it. */
static INLINE void pass(struct route_loop *r, struct lane *lane, const struct ways *ways,
                        uint32_t i, const struct routed *p)
{
    enum drop_reason reason = (enum drop_reason)p->reason;
    const struct hop *hop;
    struct exit *e = NULL;
    if (likely(reason == DROP_NONE))
        reason = find_hop(r, p, &hop);
    if (likely(reason == DROP_NONE)) {
        e = way_to(lane, ways, hop->port);
        reason = DROP_NO_ROUTE;
    }
    if (unlikely(!e)) {
        if (reason == DROP_NO_NEIGHBOR)
            miss(r, p);
        lane_discard(&r->w.f, lane, i, reason);
        return;
    }
    count_down(p);
    memcpy(p->ip - ETHERNET, hop->macs, sizeof hop->macs);
    lane_put(lane, e, i);
}

/* In three rounds, so that a look-up need not wait for memory. */
static void forward(struct forward_loop *f, struct lane *lane, uint32_t n)
{
    struct route_loop *r = (struct route_loop *)f;
    const struct ways *ways = lane_ways(&r->w, lane);
    uint64_t mac = r->macs[ways->port % WAYS_MAX];
    struct routed routed[BURST_MAX];
    mirror(&r->w, lane, ways, n);
    for (uint32_t i = 0; i < n; i++) {
        struct packet packet = lane->received.packets[i];
        uint8_t *frame = packet_data(lane->rx->pool, packet);
        struct routed *p = &routed[i];
        p->ip = frame + ETHERNET;
        p->reason = read_packet(r, mac, frame, packet.length, p);
        if (likely(p->reason == DROP_NONE))
            lpm_fetch_direct(p->table, p->high);
    }
    for (uint32_t i = 0; i < n; i++)
        if (likely(routed[i].reason == DROP_NONE))
            lpm_fetch_node(routed[i].table, routed[i].high);
    for (uint32_t i = 0; i < n; i++)
        pass(r, lane, ways, i, &routed[i]);
}

void loop_route(struct worker *w) { forward_run(w, NULL, forward); }
