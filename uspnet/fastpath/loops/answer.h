/* SPDX-License-Identifier: Apache-2.0
 *
 * answer: ARP requests (RFC 826) and neighbor solicitations (RFC 4861) for addresses that packets
 * are sent from or to are answered, so that a router forwards to them. Fences as in fastpath.h. */
#ifndef USPNET_ANSWER_H
#define USPNET_ANSWER_H
#include "worker.h"

// [python]
/* Addresses that are answered for, and with what; or that are not. Words in memory order. */
struct answer_net {
    uint32_t words; /* 1: IPv4, 4: IPv6 */
    uint32_t from[4], mask[4];
    uint8_t mac[6];
    uint16_t silent; /* no answer */
};

struct answer {
    const struct answer_net *nets; /* the first one that fits counts */
    uint32_t n_nets;
    uint32_t held;     /* answers that wait for room in the ring */
    struct exit *exit; /* by which they leave; only this thread sends there */
    uint64_t arp, ndp; /* answered */
    uint64_t unsent;   /* requests without an answer: there was no room for it */
    uint64_t sent, bytes;
    uint64_t drops[40]; /* of answers that the ring took, by enum drop_reason; its counters have
                           them, too */
    struct packet packets[64];
};
void answer_see(struct answer *a, const struct pool *pool, struct packet p);
void answer_send(struct answer *a);
void answer_drop(struct answer *a);
// [c]

#endif
