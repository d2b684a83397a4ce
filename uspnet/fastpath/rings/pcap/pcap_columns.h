/* SPDX-License-Identifier: Apache-2.0
 *
 * The packets of a capture file as columns, each of the layout that Apache Arrow has for it. Fences
 * as in fastpath.h. */
#ifndef USPNET_PCAP_COLUMNS_H
#define USPNET_PCAP_COLUMNS_H
#include "rings/pcap/pcap.h"

// [python]
enum { COLUMNS_ROOM = 65536 };

/* Bitmaps say where there is something: of the time, the tag, the IP header, the ports and TCP's
 * flags; zeros when `n` becomes 0 again. IPv4 addresses are mapped into IPv6 (RFC 4291). */
struct pcap_columns {
    uint32_t n;
    uint8_t timed[8192], typed[8192], tagged[8192], is_ip[8192], has_ports[8192], has_flags[8192];
    uint64_t ns[65536], number[65536];
    uint64_t offset[65536]; /* of the record in the file, unpacked */
    uint32_t interface[65536], length[65536], captured[65536];
    uint16_t ether_type[65536], vlan[65536], source_port[65536], destination_port[65536];
    uint8_t version[65536], protocol[65536], tcp_flags[65536];
    uint8_t source[1048576], destination[1048576];
};
// [c]

struct found;
/* Adds a packet, for which there is room. `at`: the offset of its record. */
void pcap_columns_add(struct pcap_columns *c, const struct pcap_source *s, uint64_t at,
                      uint32_t link_type, uint32_t interface, const struct found *f);

#endif
