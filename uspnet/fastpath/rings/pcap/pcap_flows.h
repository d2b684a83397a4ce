/* SPDX-License-Identifier: Apache-2.0
 *
 * The flows of a capture file: packets with the same addresses, protocol and ports, in both
 * directions. Fences as in fastpath.h. */
#ifndef USPNET_PCAP_FLOWS_H
#define USPNET_PCAP_FLOWS_H
#include "rings/pcap/pcap.h"
#include "flow.h"

// [python]
struct pcap_flow {
    struct flow_ends ends;
    uint8_t begun_by; /* the side that sent the first packet */
    uint64_t packets[2], bytes[2];
    uint64_t first_ns, last_ns;
};

/* A hash table with open addressing. */
struct pcap_flows {
    struct pcap_flow *at;
    uint32_t slots, most_slots; /* powers of two */
    uint32_t used;
    uint64_t seed;
    uint64_t beyond; /* packets of flows for which there is no memory */
};

/* Puts all flows into a larger table. */
void pcap_flows_move(struct pcap_flows *t, struct pcap_flow *at, uint32_t slots);
/* Finds the up to n flows with the most bytes, or packets, in order. Returns how many there are. */
uint32_t pcap_flows_top(const struct pcap_flows *t, uint32_t *slots, uint32_t n, int by_packets);
// [c]

struct found;

/* Reads what a packet's headers say; nothing of a link type that has no Ethernet header, and can't
 * be given one. */
void pcap_take_key(struct flow_key *k, const struct pcap_source *s, uint32_t link_type,
                   const struct found *f);

/* Returns 0: the table needs more room. */
static inline int pcap_flows_ready(const struct pcap_flows *t)
{
    return t->used < t->slots / 2 || t->slots >= t->most_slots;
}

/* Counts a packet to its flow. */
void pcap_flows_add(struct pcap_flows *t, const struct pcap_source *s, uint32_t link_type,
                    const struct found *f);

#endif
