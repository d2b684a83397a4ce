// SPDX-License-Identifier: Apache-2.0
/* reflect: sends packets back by the port that they came from, with their addresses exchanged. A
 * sum of 16-bit words doesn't depend on their order, so that the checksums of IP, TCP and UDP stay
 * right (RFC 1071, §2). */
#include "forward.h"
#include "rings/offload.h"

#include <linux/if_ether.h>
#include <netinet/in.h>

// [python]
enum reflect_swap { SWAP_MAC, SWAP_IP, SWAP_PORT }; /* each with those before it */

struct reflect_loop {
    struct forward_loop f;
    uint32_t swap;   /* enum reflect_swap */
    uint32_t groups; /* whether frames from or to group addresses are reflected, too */
};
void loop_reflect(struct worker *w);
// [c]

enum {
    GROUP = 1, /* bit of a MAC address's first byte: multicast or broadcast */
    TYPE = 2,  /* bytes of the Ethernet type */
    PORT = 2,
    IPV4_FROM = 12,
    IPV4_HEADER = 20,
    IPV6_FROM = 8,
    IPV6_HEADER = 40,
};

/* Exchanges two neighbouring fields of so many bytes. */
static inline void exchange(uint8_t *at, uint32_t bytes)
{
    uint8_t kept[sizeof(struct in6_addr)];
    memcpy(kept, at, bytes);
    memcpy(at, at + bytes, bytes);
    memcpy(at + bytes, kept, bytes);
}

/* Fragments have addresses, but no ports here. SCTP's checksum is a CRC, which covers the ports in
 * their order. That of a packet with a routing header covers another destination than the one that
 * would be exchanged. */
static void swap_ip(uint8_t *frame, uint32_t length, enum reflect_swap swap)
{
    struct layers l;
    int whole = layers_find(frame, length, &l);
    uint32_t type = l.network ? get16(frame + l.network - TYPE) : 0;
    uint8_t *ip = frame + l.network;
    if (type == ETH_P_IP && l.network + IPV4_HEADER <= length && ip[0] >> 4 == 4)
        exchange(ip + IPV4_FROM, sizeof(struct in_addr));
    else if (type == ETH_P_IPV6 && l.network + IPV6_HEADER <= length && ip[0] >> 4 == 6 &&
             !l.routed)
        exchange(ip + IPV6_FROM, sizeof(struct in6_addr));
    else
        return;
    if (swap == SWAP_PORT && whole && l.transport + 2 * PORT <= l.end &&
        (l.protocol == IPPROTO_TCP || l.protocol == IPPROTO_UDP))
        exchange(frame + l.transport, PORT);
}

/* A frame to a group would come back from each of its members, and one from a group address would
 * be sent to all. */
static void reflect(struct forward_loop *f, struct lane *lane, uint32_t n)
{
    const struct reflect_loop *r = (const struct reflect_loop *)f;
    const struct pool *pool = lane->rx->pool;
    for (uint32_t i = 0; i < n; i++) {
        struct packet p = lane->received.packets[i];
        uint8_t *frame = packet_data(pool, p);
        if (unlikely(p.length < ETH_HLEN)) {
            lane_discard(f, lane, i, DROP_NO_ROUTE);
            continue;
        }
        if (unlikely((frame[0] | frame[ETH_ALEN]) & GROUP) && !r->groups) {
            lane_discard(f, lane, i, DROP_FILTERED);
            continue;
        }
        exchange(frame, ETH_ALEN);
        if (r->swap != SWAP_MAC)
            swap_ip(frame, p.length, (enum reflect_swap)r->swap);
        lane_put(lane, lane->exits, i);
    }
}

void loop_reflect(struct worker *w) { forward_run(w, NULL, reflect); }
