// SPDX-License-Identifier: Apache-2.0
/* pcap: what the headers of packets say, as columns. */
#include "pcap_columns.h"

#include "pcap_flows.h"
#include "pcap_parts.h"

static void set(uint8_t *bitmap, uint32_t n, int on)
{
    bitmap[n / 8] |= (uint8_t)((on != 0) << n % 8);
}

static void put_address(uint8_t *to, const uint8_t *address, int is_ipv4)
{
    memset(to, 0, 16);
    if (is_ipv4) {
        to[10] = to[11] = 0xFF;
        memcpy(to + 12, address, 4);
    } else {
        memcpy(to, address, 16);
    }
}

void pcap_columns_add(struct pcap_columns *c, const struct pcap_source *s, uint64_t at,
                      uint32_t link_type, uint32_t interface, const struct found *f)
{
    struct flow_key k;
    uint32_t n = c->n++;
    int is_ipv4;
    pcap_take_key(&k, s, link_type, f);
    is_ipv4 = k.version == 4;
    set(c->timed, n, f->ns != STAMP_UNKNOWN);
    set(c->typed, n, k.ether_type);
    set(c->tagged, n, k.tagged);
    set(c->is_ip, n, k.version);
    set(c->has_ports, n, k.has_ports);
    set(c->has_flags, n, k.has_flags);
    c->ns[n] = f->ns;
    c->number[n] = s->number;
    c->offset[n] = s->passed + at;
    c->interface[n] = interface;
    c->length[n] = f->wire;
    c->captured[n] = f->length;
    c->ether_type[n] = k.ether_type;
    c->vlan[n] = k.vlan;
    c->source_port[n] = k.ports[0];
    c->destination_port[n] = k.ports[1];
    c->version[n] = k.version;
    c->protocol[n] = k.protocol;
    c->tcp_flags[n] = k.tcp_flags;
    put_address(c->source + 16 * n, k.addresses[0], is_ipv4);
    put_address(c->destination + 16 * n, k.addresses[1], is_ipv4);
}
