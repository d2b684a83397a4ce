// SPDX-License-Identifier: Apache-2.0
/* rewrite: replaces IP addresses (also those of ARP) and ports by tables, sets VLAN tags and other
 * fields of headers, whatever the packet is, and updates the checksums that cover them (RFC 1624).
 * Behind VLAN tags, the first IP header is rewritten, and no tunnel's inner one. */
#include "rewrite.h"
#include "rings/offload.h"

enum { MAC = 6, TAGS = 8, EXTENSIONS = 8 };
enum { TYPE_IPV4 = 0x0800, TYPE_ARP = 0x0806, TYPE_IPV6 = 0x86DD };
enum { IPV4_HEADER = 20, IPV6_HEADER = 40, ARP_PACKET = 28, UDP_HEADER = 8, FRAGMENT_HEADER = 8 };
enum { TCP = 6, UDP = 17, DCCP = 33, ICMPV6 = 58, UDP_LITE = 136 };
enum { NOP = 1, LSRR = 131, SSRR = 137 }; /* IPv4's options, RFC 791 §3.1 */

/* Bytes that are left of a packet. */
struct rest {
    uint8_t *at;
    uint32_t n;
};

static int is_within(const struct rewrite_net *net, const uint32_t *address, uint32_t words)
{
    uint32_t other = net->words ^ words;
    for (uint32_t i = 0; i < words; i++)
        other |= (address[i] & net->mask[i]) ^ net->from[i];
    return !other;
}

/* Replaces an address. Returns what checksums change by. */
static uint64_t map_address(const struct rewrite_field *g, uint8_t *at, uint32_t words)
{
    uint32_t address[4] = {0}, now;
    uint64_t sum = 0;
    memcpy(address, at, words * sizeof now);
    for (uint32_t k = 0; k < g->n_nets; k++) {
        const struct rewrite_net *net = &g->nets[k];
        if (!is_within(net, address, words))
            continue;
        for (uint32_t i = 0; i < words; i++) {
            now = net->to[i] | (address[i] & net->keep[i]);
            memcpy(at + i * sizeof now, &now, sizeof now);
            sum += halves(~address[i]) + halves(now);
        }
        break;
    }
    return sum;
}

static uint64_t map_port(const struct rewrite_field *g, uint8_t *at)
{
    uint16_t port;
    memcpy(&port, at, sizeof port);
    for (uint32_t k = 0; k < g->n_ports; k++)
        if (g->ports[k].from == port) {
            memcpy(at, &g->ports[k].to, sizeof port);
            return (uint64_t)(uint16_t)~port + g->ports[k].to;
        }
    return 0;
}

/* Sets fields of a header. What checksums change by is added to `sums`, by enum rewrite_cover. */
static void set_fields(const struct rewrite_field *g, uint32_t layer, struct rest r, uint64_t *sums)
{
    for (uint32_t k = 0; k < g->n_sets; k++) {
        struct rewrite_set *set = &g->sets[k];
        if (set->layer != layer || set->at + set->words * 2 > r.n)
            continue;
        for (uint32_t i = 0; i < set->words; i++) {
            uint8_t *at = r.at + set->at + i * 2;
            uint16_t old, now;
            memcpy(&old, at, sizeof old);
            now = set->to[i] | (old & set->keep[i]);
            memcpy(at, &now, sizeof now);
            sums[set->cover] += (uint64_t)(uint16_t)~old + now;
        }
        set->packets++;
    }
}

/* Where the checksum that covers the addresses is; 0: there is none. */
static uint32_t check_at(uint32_t protocol)
{
    switch (protocol) {
    case TCP:
        return 16;
    case UDP:
    case UDP_LITE:
    case DCCP:
        return 6;
    case ICMPV6:
        return 2;
    default:
        return 0;
    }
}

/* Gives a datagram without a checksum the right one, if that is to be made wrong: whatever was put
 * there could be right. Of a fragment, or what a file has only a part of, nobody knows it. */
static void give_checksum(const struct rewrite_field *g, struct rest addresses, struct rest r)
{
    uint32_t check = 0, n = r.n < UDP_HEADER ? 0 : be16(r.at + 4), wanted = 0;
    for (uint32_t k = 0; k < g->n_wrongs; k++)
        wanted |= g->wrongs[k].layer == REWRITE_UDP && g->wrongs[k].how == REWRITE_SPOIL;
    if (!wanted || n < UDP_HEADER || n > r.n || be16(r.at + 6))
        return;
    check = checksum_sum(addresses.at, addresses.n);
    check = ~checksum_fold((uint64_t)check + UDP + n + checksum_sum(r.at, n)) & UINT16_MAX;
    check = check ? check : UINT16_MAX;
    r.at[6] = (uint8_t)(check >> 8);
    r.at[7] = (uint8_t)check;
}

/* The ports of TCP and UDP, and the checksum, behind a header with these addresses, which are
 * changed by `sum`. */
static void transport(const struct rewrite_field *g, uint32_t protocol, struct rest addresses,
                      struct rest r, uint64_t sum)
{
    uint32_t at = check_at(protocol);
    int is_udp = protocol == UDP || protocol == UDP_LITE;
    if ((protocol == TCP || protocol == UDP) && r.n >= 4)
        sum += map_port(g, r.at) + map_port(g, r.at + 2);
    if (protocol == TCP || protocol == UDP)
        set_fields(g, protocol == TCP ? REWRITE_TCP : REWRITE_UDP, r, &sum);
    if (at && r.n >= at + 2 && (protocol != UDP || be16(r.at + at))) /* 0: there is no checksum */
        check_correct(r.at + at, sum, is_udp ? UINT16_MAX : 0);
    if (protocol == UDP && g->n_wrongs)
        give_checksum(g, addresses, r);
    if (protocol == TCP || protocol == UDP)
        rewrite_spoil(g, protocol == TCP ? REWRITE_TCP : REWRITE_UDP, r.at, r.n);
}

/* Is there a source route among IPv4's options that is not completed? */
static int is_routed(struct rest options)
{
    while (options.n >= 3 && *options.at) {
        uint32_t kind = options.at[0], length = kind == NOP ? 1 : options.at[1];
        if ((kind == LSRR || kind == SSRR) && options.at[2] <= length)
            return 1;
        if (!length || length > options.n)
            break;
        options = (struct rest){options.at + length, options.n - length};
    }
    return 0;
}

static void ipv4(const struct rewrite_field *g, struct rest r)
{
    uint32_t header = r.n ? (r.at[0] & 15u) * 4 : 0, total, later, protocol;
    uint64_t sums[3] = {0};
    if (r.n < IPV4_HEADER || r.at[0] >> 4 != 4 || header < IPV4_HEADER || header > r.n)
        return;
    sums[REWRITE_SRC] = map_address(g, r.at + 12, 1);
    sums[REWRITE_DST] = map_address(g, r.at + 16, 1);
    set_fields(g, REWRITE_IP, r, sums);
    check_correct(r.at + 10, sums[REWRITE_NO_ADDRESS] + sums[REWRITE_SRC] + sums[REWRITE_DST], 0);
    if (is_routed((struct rest){r.at + IPV4_HEADER, header - IPV4_HEADER}))
        sums[REWRITE_DST] = 0;
    total = be16(r.at + 2);
    later = be16(r.at + 6) & 0x1FFF; /* fragment */
    protocol = r.at[9];
    rewrite_spoil(g, REWRITE_IP, r.at, header);
    if (later || protocol == ICMPV6)
        return;
    r.n = total >= header ? least(r.n, total) : r.n;
    transport(g, protocol, (struct rest){r.at + 12, 8}, (struct rest){r.at + header, r.n - header},
              sums[REWRITE_SRC] + sums[REWRITE_DST]);
}

/* Moves behind an extension header. Returns the next one's type; 0: there is none to go on with. */
static int extension(struct rest *r, uint32_t type)
{
    uint32_t length, next;
    if (r->n < FRAGMENT_HEADER)
        return 0;
    next = r->at[0];
    if (type == 44 && be16(r->at + 2) & 0xFFF8) /* a later fragment */
        return 0;
    length = type == 44 ? FRAGMENT_HEADER : type == 51 ? (r->at[1] + 2u) * 4 : (r->at[1] + 1u) * 8;
    if (length > r->n)
        return 0;
    r->at += length;
    r->n -= length;
    return (int)next;
}

/* On the way of a routing header or source route, the destination is that of the next hop, and the
 * transport's checksum covers the last one (RFC 8200 §8.1), which stays as it is. */
static void ipv6(const struct rewrite_field *g, struct rest r)
{
    uint32_t type = r.n < IPV6_HEADER ? 0 : r.at[6], i = 0;
    struct rest addresses = {r.at + 8, 32};
    uint64_t sums[3] = {0};
    if (r.n < IPV6_HEADER || r.at[0] >> 4 != 6)
        return;
    sums[REWRITE_SRC] = map_address(g, r.at + 8, 4);
    sums[REWRITE_DST] = map_address(g, r.at + 24, 4);
    set_fields(g, REWRITE_IP6, r, sums);
    rewrite_spoil(g, REWRITE_IP6, r.at, IPV6_HEADER);
    r = (struct rest){r.at + IPV6_HEADER, r.n - IPV6_HEADER};
    /* hop-by-hop options, routing, fragment, authentication, destination options */
    while (type == 0 || type == 43 || type == 44 || type == 51 || type == 60) {
        int next;
        if (type == 43 && r.n >= 4 && r.at[3]) /* segments left */
            sums[REWRITE_DST] = 0;
        next = extension(&r, type);
        if (!next || ++i > EXTENSIONS)
            return;
        type = (uint32_t)next;
    }
    transport(g, type, addresses, r, sums[REWRITE_SRC] + sums[REWRITE_DST]);
}

static void arp(const struct rewrite_field *g, struct rest r)
{
    if (r.n < ARP_PACKET || be16(r.at + 2) != TYPE_IPV4 || r.at[4] != MAC || r.at[5] != 4)
        return;
    map_address(g, r.at + 14, 1);
    map_address(g, r.at + 24, 1);
}

static void rewrite(const struct rewrite_field *g, struct rest r)
{
    uint32_t at = TYPE_AT, type;
    uint64_t uncovered[3] = {0};
    set_fields(g, REWRITE_MAC, r, uncovered);
    if (is_tagged(r.at, r.n))
        set_fields(g, REWRITE_VLAN, (struct rest){r.at + TYPE_AT + 2, TAG_BYTES - 2}, uncovered);
    if (!g->deep)
        return;
    for (uint32_t i = 0; i < TAGS && r.n >= at + 2 + TAG_BYTES; i++, at += TAG_BYTES) {
        if (!is_tag(be16(r.at + at)))
            break;
    }
    if (r.n < at + 2)
        return;
    type = be16(r.at + at);
    r = (struct rest){r.at + at + 2, r.n - at - 2};
    if (type == TYPE_IPV4)
        ipv4(g, r);
    else if (type == TYPE_IPV6)
        ipv6(g, r);
    else if (type == TYPE_ARP)
        arp(g, r);
}

static void retag(struct rewrite_field *g, const struct pool *pool, struct packet *p)
{
    int tagged = is_tagged(packet_data(pool, *p), p->length);
    int fits = p->length >= TYPE_AT + 2;
    if (g->tag == REWRITE_TAG_REMOVE) {
        if (tagged)
            remove_tag(pool, p);
        g->tagged += (uint64_t)tagged;
    } else if (fits && (tagged || insert_tag(pool, p))) {
        uint8_t *at = packet_data(pool, *p) + TYPE_AT + 2;
        at[0] = (uint8_t)((at[0] & 0xF0) | g->vlan >> 8); /* priority and DEI stay */
        at[1] = (uint8_t)g->vlan;
        g->tagged++;
    } else {
        p->length = 0;
    }
}

/* Makes every `every`-th packet wrong, by the count of those that were seen. */
static NOINLINE void break_some(struct rewrite_field *g, const struct pool *pool, struct packet *p,
                                uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        if (!p[i].length || ++g->seen % g->every)
            continue;
        rewrite(g, (struct rest){packet_data(pool, p[i]), p[i].length});
        if (g->runt && p[i].length > g->runt) {
            p[i].length = (uint16_t)g->runt;
            g->runts++;
        }
    }
}

void field_rewrite(struct field *f, const struct pool *pool, struct packet *p, uint32_t n)
{
    struct rewrite_field *g = (struct rewrite_field *)f;
    if (g->every) {
        break_some(g, pool, p, n);
        return;
    }
    g->seen += n;
    for (uint32_t i = 0; g->tag != REWRITE_TAG_KEEP && i < n; i++)
        retag(g, pool, &p[i]);
    for (uint32_t i = 0; i < n; i++)
        rewrite(g, (struct rest){packet_data(pool, p[i]), p[i].length});
}
