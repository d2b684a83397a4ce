// SPDX-License-Identifier: Apache-2.0
/* pcap: counts packets by flow. Whatever a packet claims is checked against its captured bytes; a
 * header that isn't all there makes the flow end above it. */
#include "pcap_parts.h"

#include "pcap_flows.h"

#include <endian.h>

enum { TYPE_IPV4 = 0x0800, TYPE_IPV6 = 0x86DD, TYPE_LEAST = 0x0600 };
enum { HOPS = 0, ROUTING = 43, FRAGMENT = 44, AH = 51, DESTINATION = 60 };
enum { TCP = 6, UDP = 17, DCCP = 33, SCTP = 132, UDP_LITE = 136 };
enum { TAGS_MAX = 8, HEADERS_MAX = 16 };

/* What is left of a packet. */
struct rest {
    const uint8_t *at;
    uint32_t n;
};

static uint16_t be16(const uint8_t *at)
{
    uint16_t v;
    memcpy(&v, at, 2);
    return be16toh(v);
}

static void skip(struct rest *r, uint32_t n)
{
    n = least(n, r->n);
    r->at += n;
    r->n -= n;
}

static int is_tag(uint16_t type) { return type == 0x8100 || type == 0x88A8 || type == 0x9100; }

static int has_ports(uint8_t protocol)
{
    return protocol == TCP || protocol == UDP || protocol == SCTP || protocol == DCCP ||
           protocol == UDP_LITE;
}

static void take_ports(struct pcap_key *key, const struct rest *r)
{
    struct pcap_flow *k = &key->flow;
    if (!has_ports(k->protocol) || r->n < 4)
        return;
    k->ports[0] = be16(r->at);
    k->ports[1] = be16(r->at + 2);
    key->has_ports = 1;
    key->has_flags = k->protocol == TCP && r->n >= 14;
    if (key->has_flags)
        key->tcp_flags = r->at[13];
}

static void take_ipv4(struct pcap_key *key, struct rest r)
{
    struct pcap_flow *k = &key->flow;
    uint32_t header = r.n >= 20 ? (r.at[0] & 15u) * 4 : 0;
    if (header < 20 || r.at[0] >> 4 != 4)
        return;
    memset(k->addresses, 0, sizeof k->addresses);
    memcpy(k->addresses[0], r.at + 12, 4);
    memcpy(k->addresses[1], r.at + 16, 4);
    k->protocol = r.at[9];
    k->version = 4;
    if (be16(r.at + 6) & 0x1FFF) /* a fragment without the ports */
        return;
    skip(&r, header);
    take_ports(key, &r);
}

static void take_ipv6(struct pcap_key *key, struct rest r)
{
    struct pcap_flow *k = &key->flow;
    uint8_t next;
    uint32_t n = 0;
    if (r.n < 40 || r.at[0] >> 4 != 6)
        return;
    memcpy(k->addresses, r.at + 8, 32);
    k->version = 6;
    next = r.at[6];
    skip(&r, 40);
    while (n++ < HEADERS_MAX && r.n >= 8) {
        uint32_t length = (r.at[1] + 1u) * 8;
        if (next == FRAGMENT && be16(r.at + 2) & 0xFFF8) {
            k->protocol = r.at[0];
            return;
        }
        if (next == FRAGMENT)
            length = 8;
        else if (next == AH)
            length = (r.at[1] + 2u) * 4;
        else if (next != HOPS && next != ROUTING && next != DESTINATION)
            break;
        next = r.at[0];
        skip(&r, length);
    }
    k->protocol = next;
    take_ports(key, &r);
}

void pcap_take_key(struct pcap_key *key, const struct pcap_source *s, uint32_t link_type,
                   const struct found *found)
{
    struct pcap_flow *k = &key->flow;
    struct found f = *found;
    struct rest r = {f.data, f.length};
    uint32_t tags = 0;
    uint16_t type = 0;
    *key = (struct pcap_key){0};
    if (link_type != LINK_ETHERNET) {
        if (!pcap_make_ethernet(s, link_type, &f))
            return;
        type = be16(f.header + 12);
        r = (struct rest){f.data, f.length};
    } else if (r.n >= FRAME_SHORTEST) {
        memcpy(k->addresses[1], r.at, 6);
        memcpy(k->addresses[0], r.at + 6, 6);
        type = be16(r.at + 12);
        skip(&r, FRAME_SHORTEST);
    }
    while (is_tag(type) && r.n >= 4 && tags++ < TAGS_MAX) {
        if (!key->tagged)
            key->vlan = be16(r.at) & 0xFFF;
        key->tagged = 1;
        type = be16(r.at + 2);
        skip(&r, 4);
    }
    k->ether_type = type < TYPE_LEAST ? 0 : type; /* 802.3: a length */
    if (type == TYPE_IPV4)
        take_ipv4(key, r);
    else if (type == TYPE_IPV6)
        take_ipv6(key, r);
}

/* Puts the smaller side first. Returns which side sent the packet. */
static uint32_t arrange(struct pcap_flow *k)
{
    uint8_t address[16];
    uint16_t port = k->ports[0];
    int order = memcmp(k->addresses[0], k->addresses[1], 16);
    if (order < 0 || (order == 0 && k->ports[0] <= k->ports[1]))
        return 0;
    memcpy(address, k->addresses[0], 16);
    memcpy(k->addresses[0], k->addresses[1], 16);
    memcpy(k->addresses[1], address, 16);
    k->ports[0] = k->ports[1];
    k->ports[1] = port;
    return 1;
}

enum { KEY_BYTES = offsetof(struct pcap_flow, begun_by) };

/* The senders of packets don't know the seed. */
static uint32_t slot_of(const struct pcap_flows *t, const struct pcap_flow *k)
{
    uint64_t words[5] = {0}, hash = t->seed;
    _Static_assert(KEY_BYTES <= sizeof words, "the key");
    memcpy(words, k, KEY_BYTES);
    for (uint32_t i = 0; i < 5; i++) {
        unsigned __int128 product =
            (unsigned __int128)(words[i] ^ hash) * (0x9E3779B97F4A7C15ull ^ t->seed << 1);
        hash = (uint64_t)product ^ (uint64_t)(product >> 64) ^ (hash << 23 | hash >> 41);
    }
    return (uint32_t)(hash >> 32) & (t->slots - 1);
}

static int is_free(const struct pcap_flow *f) { return !(f->packets[0] | f->packets[1]); }

/* Finds the flow with this key, or the free slot where it belongs. NULL: there is no room. */
static struct pcap_flow *find(struct pcap_flows *t, const struct pcap_flow *k)
{
    uint32_t at = slot_of(t, k);
    while (!is_free(&t->at[at])) {
        if (!memcmp(&t->at[at], k, KEY_BYTES))
            return &t->at[at];
        at = (at + 1) & (t->slots - 1);
    }
    return t->used < t->slots / 2 ? &t->at[at] : NULL;
}

void pcap_flows_add(struct pcap_flows *t, const struct pcap_source *s, uint32_t link_type,
                    const struct found *f)
{
    struct pcap_key whole;
    struct pcap_flow key, *flow;
    uint32_t side;
    pcap_take_key(&whole, s, link_type, f);
    key = whole.flow;
    side = arrange(&key);
    flow = find(t, &key);
    if (!flow) {
        t->beyond++;
        return;
    }
    if (is_free(flow)) {
        key.begun_by = (uint8_t)side;
        key.first_ns = key.last_ns = f->ns;
        *flow = key;
        t->used++;
    }
    flow->packets[side]++;
    flow->bytes[side] += f->wire;
    if (f->ns == STAMP_UNKNOWN)
        return;
    flow->first_ns = f->ns < flow->first_ns ? f->ns : flow->first_ns;
    if (flow->last_ns == STAMP_UNKNOWN || f->ns > flow->last_ns)
        flow->last_ns = f->ns;
}

void pcap_flows_move(struct pcap_flows *t, struct pcap_flow *at, uint32_t slots)
{
    struct pcap_flow *before = t->at;
    uint32_t n = t->slots;
    t->at = at;
    t->slots = slots;
    for (uint32_t i = 0; i < n; i++)
        if (!is_free(&before[i]))
            *find(t, &before[i]) = before[i];
}

static uint64_t weight(const struct pcap_flow *f, int by_packets)
{
    return by_packets ? f->packets[0] + f->packets[1] : f->bytes[0] + f->bytes[1];
}

/* Does flow a come before b? Equal ones are in the order of their keys. */
static int before(const struct pcap_flow *a, const struct pcap_flow *b, int by_packets)
{
    uint64_t x = weight(a, by_packets), y = weight(b, by_packets);
    if (x == y)
        x = weight(a, !by_packets), y = weight(b, !by_packets);
    return x != y ? x > y : memcmp(a, b, KEY_BYTES) < 0;
}

uint32_t pcap_flows_top(const struct pcap_flows *t, uint32_t *slots, uint32_t n, int by_packets)
{
    uint32_t found = 0;
    for (uint32_t i = 0; n && i < t->slots; i++) {
        uint32_t at = found;
        if (is_free(&t->at[i]))
            continue;
        if (found == n && !before(&t->at[i], &t->at[slots[n - 1]], by_packets))
            continue;
        if (found == n)
            at = n - 1;
        else
            found++;
        for (; at && before(&t->at[i], &t->at[slots[at - 1]], by_packets); at--)
            slots[at] = slots[at - 1];
        slots[at] = i;
    }
    return found;
}
