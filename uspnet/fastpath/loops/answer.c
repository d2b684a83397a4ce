// SPDX-License-Identifier: Apache-2.0
/* answer: what is asked is examined in a copy, since a peer can write to the pool at any time; the
 * answer is written into a buffer of the ring that it leaves by. */
#include "answer.h"
#include "rings/offload.h"

#include <netinet/icmp6.h>

enum { MAC = 6, TYPE = 12, TAG = 4, TAGS_MAX = 3, SHORTEST = 60 };
enum { TYPE_IPV4 = 0x0800, TYPE_ARP = 0x0806, TYPE_IPV6 = 0x86DD };
enum { ARP_ETHERNET = 1, ARP_REQUEST = 1, ARP_REPLY = 2, ARP_BYTES = 28 };
enum { ICMPV6 = 58, IPV6_BYTES = 40, NS_BYTES = 24, NA_BYTES = 32, HOP_LIMIT = 255 };
enum { LINK_OPTION = 8 }; /* bytes of an option with a MAC address */
enum { ASKED_MAX = 256, ANSWER_MAX = TYPE + TAG * TAGS_MAX + 2 + IPV6_BYTES + NA_BYTES };

/* A frame that may be a request, and the beginning of its answer. */
struct asked {
    uint8_t frame[ASKED_MAX];
    uint32_t length;
    uint32_t body; /* offset of what is behind the Ethernet header and its VLAN tags */
    uint8_t answer[ANSWER_MAX];
};

static const uint8_t ALL_NODES[] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1};
static const uint8_t SOLICITED[] = {0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff};
static const uint8_t NOBODY[16];

static void put16(uint8_t *to, uint32_t value)
{
    to[0] = (uint8_t)(value >> 8);
    to[1] = (uint8_t)value;
}

static int is_multicast(const uint8_t *mac) { return mac[0] & 1; }

static int fits(const struct answer_net *net, const uint32_t *address, uint32_t words)
{
    uint32_t other = net->words ^ words;
    for (uint32_t i = 0; i < words; i++)
        other |= (address[i] & net->mask[i]) ^ net->from[i];
    return !other;
}

/* The MAC address of an IP address, where a frame to `dst` asks for it; NULL: no answer. */
static const uint8_t *find(const struct answer *a, const uint8_t *target, uint32_t words,
                           const uint8_t *dst)
{
    uint32_t address[4];
    memcpy(address, target, words * sizeof *address);
    for (uint32_t i = 0; i < a->n_nets; i++) {
        const struct answer_net *net = &a->nets[i];
        if (!fits(net, address, words))
            continue;
        return net->silent || (!is_multicast(dst) && memcmp(dst, net->mac, MAC)) ? NULL : net->mac;
    }
    return NULL;
}

/* Writes the Ethernet header of an answer, with the VLAN tags of the request. */
static void address(struct asked *q, const uint8_t *to, const uint8_t *mac)
{
    memcpy(q->answer, to, MAC);
    memcpy(q->answer + MAC, mac, MAC);
    memcpy(q->answer + TYPE, q->frame + TYPE, q->body - TYPE);
}

/* Returns the length of the answer to an ARP request; 0: none. A request for the address of its
 * sender is an announcement (RFC 5227, §3). */
static uint32_t answer_arp(const struct answer *a, struct asked *q)
{
    static const uint8_t ethernet[] = {0, ARP_ETHERNET, TYPE_IPV4 >> 8, 0, MAC, 4, 0, ARP_REQUEST};
    const uint8_t *arp = q->frame + q->body, *sender = arp + 8, *target = arp + 24, *mac;
    uint8_t *reply = q->answer + q->body;
    if (q->length < q->body + ARP_BYTES || memcmp(arp, ethernet, sizeof ethernet))
        return 0;
    if (is_multicast(sender) || !memcmp(sender, NOBODY, MAC) || !memcmp(sender + MAC, target, 4))
        return 0;
    mac = find(a, target, 1, q->frame);
    if (!mac)
        return 0;
    address(q, sender, mac);
    memcpy(reply, ethernet, sizeof ethernet);
    reply[7] = ARP_REPLY;
    memcpy(reply + 8, mac, MAC);
    memcpy(reply + 14, target, 4);
    memcpy(reply + 18, sender, MAC + 4);
    return q->body + ARP_BYTES;
}

/* The sum under the checksum of an ICMPv6 message, whose IPv6 header is given. */
static uint32_t icmpv6_sum(const uint8_t *ip, const uint8_t *icmp, uint32_t bytes)
{
    uint64_t sum = (uint64_t)checksum_sum(ip + 8, 32) + bytes + ICMPV6;
    return checksum_fold(sum + checksum_sum(icmp, bytes));
}

/* Is it a valid neighbor solicitation (RFC 4861, §7.1.1)? *link is its sender's MAC address. */
static int is_solicitation(const struct asked *q, const struct layers *l, const uint8_t **link)
{
    const uint8_t *ip = q->frame + l->network, *icmp = q->frame + l->transport, *dst = ip + 24;
    const uint8_t *end = q->frame + l->end;
    uint32_t bytes = l->end - l->transport;
    int nobody = !memcmp(ip + 8, NOBODY, sizeof NOBODY);
    if (ip[7] != HOP_LIMIT || !get16(ip + 4) || bytes < NS_BYTES ||
        icmp[0] != ND_NEIGHBOR_SOLICIT || icmp[1] || icmp[8] == 0xff || ip[8] == 0xff)
        return 0;
    if (icmpv6_sum(ip, icmp, bytes) != 0xFFFF)
        return 0;
    if (nobody && memcmp(dst, SOLICITED, sizeof SOLICITED))
        return 0;
    for (const uint8_t *option = icmp + NS_BYTES; option < end; option += option[1] * 8) {
        if (end - option < 8 || !option[1] || end - option < option[1] * 8)
            return 0;
        if (option[0] != ND_OPT_SOURCE_LINKADDR)
            continue;
        if (nobody)
            return 0;
        *link = option + 2;
    }
    return !is_multicast(*link) && memcmp(*link, NOBODY, MAC) != 0;
}

/* Returns the length of the answer to a neighbor solicitation; 0: none (RFC 4861, §7.2.4). Nobody's
 * request, which detects duplicate addresses, is answered to all nodes. */
static uint32_t answer_nd(const struct answer *a, struct asked *q)
{
    static const uint8_t everybody[] = {0x33, 0x33, 0, 0, 0, 1};
    uint8_t *ip = q->answer + q->body, *icmp = ip + IPV6_BYTES;
    const uint8_t *link = q->frame + MAC, *mac, *target, *asker;
    struct layers l;
    if (!layers_find(q->frame, q->length, &l) || l.protocol != ICMPV6 || l.routed ||
        !is_solicitation(q, &l, &link))
        return 0;
    asker = q->frame + l.network + 8;
    target = q->frame + l.transport + 8;
    mac = find(a, target, 4, q->frame);
    if (!mac)
        return 0;
    memset(ip, 0, IPV6_BYTES + NA_BYTES);
    ip[0] = 0x60;
    put16(ip + 4, NA_BYTES);
    ip[6] = ICMPV6;
    ip[7] = HOP_LIMIT;
    memcpy(ip + 8, target, 16);
    icmp[0] = ND_NEIGHBOR_ADVERT;
    icmp[4] = 0x20; /* override */
    if (memcmp(asker, NOBODY, sizeof NOBODY)) {
        icmp[4] |= 0x40; /* solicited */
        memcpy(ip + 24, asker, 16);
        address(q, link, mac);
    } else {
        memcpy(ip + 24, ALL_NODES, sizeof ALL_NODES);
        address(q, everybody, mac);
    }
    memcpy(icmp + 8, target, 16);
    icmp[24] = ND_OPT_TARGET_LINKADDR;
    icmp[25] = 1;
    memcpy(icmp + 26, mac, MAC);
    put16(icmp + 2, ~icmpv6_sum(ip, icmp, NA_BYTES));
    return q->body + IPV6_BYTES + NA_BYTES;
}

/* Copies the beginning of a frame. Returns its EtherType behind VLAN tags; 0: too many of them. */
static uint32_t examine(struct asked *q, const struct pool *pool, struct packet p)
{
    uint32_t type;
    q->length = least(p.length, ASKED_MAX);
    memcpy(q->frame, packet_data(pool, p), q->length);
    q->body = TYPE + 2;
    type = get16(q->frame + TYPE);
    for (uint32_t tags = 0; type == 0x8100 || type == 0x88A8 || type == 0x9100; tags++) {
        if (tags == TAGS_MAX || q->body + TAG > q->length)
            return 0;
        q->body += TAG;
        type = get16(q->frame + q->body - 2);
    }
    return type;
}

/* Has an answer wait for answer_send(). */
static void hold(struct answer *a, const struct asked *q, uint32_t length)
{
    struct queue *tx = a->exit->tx;
    struct packet p = {0, 0, (uint16_t)(length < SHORTEST ? SHORTEST : length)};
    if (a->held == BURST_MAX || !stack_take(tx->stack, &p.index, 1)) {
        a->unsent++;
        return;
    }
    p.offset = cache_offset(p.index);
    memset(packet_data(tx->pool, p), 0, p.length);
    memcpy(packet_data(tx->pool, p), q->answer, length);
    a->packets[a->held++] = p;
}

/* Answers a received packet, if it asks for an address. */
void answer_see(struct answer *a, const struct pool *pool, struct packet p)
{
    struct asked q;
    uint32_t length = 0;
    if (p.length < TYPE + 2)
        return;
    switch (examine(&q, pool, p)) {
    case TYPE_ARP:
        length = answer_arp(a, &q);
        a->arp += !!length;
        break;
    case TYPE_IPV6:
        length = answer_nd(a, &q);
        a->ndp += !!length;
        break;
    }
    if (length)
        hold(a, &q, length);
}

static uint64_t bytes_of(const struct packet *p, uint32_t n)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += p[i].length;
    return bytes;
}

/* Of the answers that the ring took, with so many bytes, what it dropped was not sent: no more than
 * those, since a ring may take back what it was given earlier. Given: its counters before. */
static void note_drops(struct answer *a, const struct counters *before, uint32_t taken,
                       uint64_t bytes)
{
    const struct counters *now = a->exit->tx->counters;
    int64_t sent = (int64_t)(now->bytes - before->bytes);
    uint32_t left = taken;
    for (uint32_t i = 0; i < DROP_REASONS && left; i++) {
        uint64_t dropped = now->drops[i] - before->drops[i];
        uint32_t n = dropped < left ? (uint32_t)dropped : left;
        if (likely(!n))
            continue;
        left -= n;
        a->sent -= n;
        keep_order(); /* if the process dies here, nothing is in two counters */
        a->drops[i] += n;
    }
    if (left < taken && sent < (int64_t)bytes)
        a->bytes -= bytes - (uint64_t)(sent < 0 ? 0 : sent);
}

/* Sends what waits, as far as the ring has room. It counts as sent before: if the process dies in
 * between, nothing is in two counters. */
void answer_send(struct answer *a)
{
    uint32_t n = a->held, taken;
    uint64_t bytes;
    struct counters before;
    if (!n)
        return;
    before = *a->exit->tx->counters;
    a->sent += n;
    a->bytes += bytes_of(a->packets, n);
    taken = queue_burst(a->exit->tx, a->packets, n);
    bytes = bytes_of(a->packets, taken);
    a->held -= taken;
    memmove(a->packets, a->packets + taken, a->held * sizeof *a->packets);
    a->sent -= a->held;
    a->bytes -= bytes_of(a->packets, a->held);
    note_drops(a, &before, taken, bytes);
}

/* Gives up what waits still. */
void answer_drop(struct answer *a)
{
    stack_give_packets(a->exit->tx->stack, a->packets, a->held);
    a->unsent += a->held;
    a->held = 0;
}
