// SPDX-License-Identifier: Apache-2.0
/* pcap: where the headers of a packet end. */
#include "flow.h"
#include "pcap_parts.h"

enum { ARP = 0x0806, ICMP = 1, ICMPV6 = 58 };

/* The bytes of a transport header, as far as it is told. */
static uint32_t transport_bytes(uint8_t protocol, struct rest r)
{
    switch (protocol) {
    case FLOW_TCP:
        return r.n > 12 ? (r.at[12] >> 4) * 4u : 20;
    case FLOW_DCCP:
        return r.n > 4 ? r.at[4] * 4u : 12;
    case FLOW_SCTP:
        return 12;
    case FLOW_UDP:
    case FLOW_UDP_LITE:
    case ICMP:
    case ICMPV6:
        return 8;
    default:
        return 0;
    }
}

uint32_t pcap_headers(const uint8_t *frame, uint32_t length)
{
    struct flow_key key = {0};
    uint32_t bytes;
    flow_of_frame(&key, frame, length);
    if (key.ether_type == ARP)
        return length;
    bytes = (uint32_t)(key.behind - frame);
    if (key.version && !key.later)
        bytes += transport_bytes(key.protocol, (struct rest){key.behind, length - bytes});
    return least(bytes, length);
}
