// SPDX-License-Identifier: Apache-2.0
/* pcap, ethernet=add: Ethernet headers for packets of other link types.
 *
 * The EtherType comes from the packet's own header; packets that have none are dropped. Numbers are
 * those of tcpdump.org/linktypes.html, and IANA's for PPP and EtherTypes. */
#include "pcap_parts.h"

enum {
    LINK_NULL = 0,
    LINK_PPP = 9,
    LINK_RAW_12 = 12, /* as DLT_RAW is on most systems, and on OpenBSD */
    LINK_RAW_14 = 14,
    LINK_PPP_HDLC = 50,
    LINK_PPPOE = 51,
    LINK_RAW = 101,
    LINK_CISCO_HDLC = 104,
    LINK_LOOP = 108,
    LINK_SLL = 113,
    LINK_PPP_PPPD = 166,
    LINK_PPP_WITH_DIR = 204,
    LINK_CISCO_HDLC_WITH_DIR = 205,
    LINK_IPV4 = 228,
    LINK_IPV6 = 229,
    LINK_SLL2 = 276,
};

enum { TYPE_IPV4 = 0x0800, TYPE_IPV6 = 0x86DD, TYPE_LEAST = 0x0600 };
enum { ARP_ETHER = 1, ARP_FRAD = 770, ARP_80211 = 801, ARP_RADIOTAP = 803, ARP_NETLINK = 824 };
enum { SLL_802_2 = 4, HDLC_UNICAST = 0x0F, HDLC_MULTICAST = 0x8F };

/* A copy of a packet's first bytes, read once. */
struct front {
    uint8_t bytes[24];
    uint32_t n;
};

static uint32_t be16(const struct front *h, uint32_t at)
{
    return (uint32_t)h->bytes[at] << 8 | h->bytes[at + 1];
}

int pcap_can_make(uint32_t link_type)
{
    switch (link_type) {
    case LINK_NULL:
    case LINK_PPP:
    case LINK_RAW_12:
    case LINK_RAW_14:
    case LINK_PPP_HDLC:
    case LINK_PPPOE:
    case LINK_RAW:
    case LINK_CISCO_HDLC:
    case LINK_LOOP:
    case LINK_SLL:
    case LINK_PPP_PPPD:
    case LINK_PPP_WITH_DIR:
    case LINK_CISCO_HDLC_WITH_DIR:
    case LINK_IPV4:
    case LINK_IPV6:
    case LINK_SLL2:
        return 1;
    default:
        return 0;
    }
}

/* The EtherType by the first byte of an IP header; 0: it is not one. */
static uint32_t ip_type(uint8_t first)
{
    return first >> 4 == 4 ? TYPE_IPV4 : first >> 4 == 6 ? TYPE_IPV6 : 0;
}

/* An address family, in the byte order of the machine that captured. */
static uint32_t loopback_type(const struct front *h)
{
    uint32_t big = be16(h, 0) << 16 | be16(h, 2);
    switch (big < 0x10000 ? big : __builtin_bswap32(big)) {
    case 2:
        return TYPE_IPV4;
    case 10: /* Linux, Windows, NetBSD and OpenBSD, FreeBSD, macOS */
    case 23:
    case 24:
    case 28:
    case 30:
        return TYPE_IPV6;
    default:
        return 0;
    }
}

/* PPP's protocol, one byte of it when it is odd, behind FF 03 or not. *strip: its header. */
static uint32_t ppp_type(const struct front *h, uint32_t *strip)
{
    uint32_t at = h->bytes[0] == 0xFF && h->bytes[1] == 0x03 ? 2 : 0, protocol;
    protocol = h->bytes[at] & 1 ? h->bytes[at] : be16(h, at);
    *strip = at + (h->bytes[at] & 1 ? 1 : 2);
    switch (protocol) {
    case 0x0021:
        return TYPE_IPV4;
    case 0x0057:
        return TYPE_IPV6;
    case 0x0281:
        return 0x8847; /* MPLS */
    case 0x0283:
        return 0x8848;
    default:
        return 0; /* PPP control protocols have no EtherType */
    }
}

/* Cisco's HDLC: an address, 0, an EtherType. */
static uint32_t cisco_type(const struct front *h, uint32_t *strip)
{
    *strip = 4;
    return be16(h, 2) >= TYPE_LEAST ? be16(h, 2) : 0;
}

/* Linux's cooked header; its protocol is an EtherType but on some kinds of link. */
static uint32_t cooked_type(const struct pcap_source *s, const struct front *h, int second,
                            struct found *f)
{
    uint32_t protocol = be16(h, second ? 0 : 14), kind = be16(h, second ? 8 : 2);
    uint32_t address = second ? 12 : 6, long_address = second ? h->bytes[11] : be16(h, 4);
    if (kind == ARP_NETLINK || kind == ARP_FRAD || (kind >= ARP_80211 && kind <= ARP_RADIOTAP))
        return 0;
    if (kind == ARP_ETHER && long_address == 6 && !s->source_given)
        memcpy(f->header + 6, h->bytes + address, 6);
    if (protocol == SLL_802_2)
        return f->wire - (second ? 20 : 16) < TYPE_LEAST ? f->wire - (second ? 20 : 16) : 0;
    return protocol >= TYPE_LEAST ? protocol : 0;
}

/* The EtherType, or 0; *strip: bytes of the link header to remove. */
static uint32_t type_of(const struct pcap_source *s, uint32_t link_type, const struct front *h,
                        struct found *f, uint32_t *strip)
{
    switch (link_type) {
    case LINK_RAW_12:
    case LINK_RAW_14:
    case LINK_RAW:
        return ip_type(h->bytes[0]);
    case LINK_IPV4:
        return TYPE_IPV4;
    case LINK_IPV6:
        return TYPE_IPV6;
    case LINK_NULL:
    case LINK_LOOP:
        *strip = 4;
        return loopback_type(h);
    case LINK_SLL:
        *strip = 16;
        return cooked_type(s, h, 0, f);
    case LINK_SLL2:
        *strip = 20;
        return cooked_type(s, h, 1, f);
    case LINK_PPP_HDLC:
        if (h->bytes[0] != 0xFF)
            return cisco_type(h, strip);
        return ppp_type(h, strip);
    case LINK_CISCO_HDLC:
        return cisco_type(h, strip);
    case LINK_PPP: /* on a serial line whose peer is Cisco's, too */
        if ((h->bytes[0] == HDLC_UNICAST || h->bytes[0] == HDLC_MULTICAST) && h->bytes[1] == 0)
            return cisco_type(h, strip);
        return ppp_type(h, strip);
    case LINK_PPP_PPPD:
        return ppp_type(h, strip);
    case LINK_PPPOE:
        return h->bytes[1] ? 0x8863 : 0x8864; /* its own header follows an Ethernet header */
    default:
        return 0;
    }
}

/* Removes the direction byte of the _WITH_DIR link types. Returns the link type without it. */
static uint32_t without_direction(uint32_t link_type, struct found *f)
{
    if (link_type != LINK_PPP_WITH_DIR && link_type != LINK_CISCO_HDLC_WITH_DIR)
        return link_type;
    if (f->length) {
        f->data++;
        f->length--;
        f->wire -= least(1, f->wire);
    }
    return link_type == LINK_PPP_WITH_DIR ? LINK_PPP : LINK_CISCO_HDLC;
}

int pcap_make_ethernet(const struct pcap_source *s, uint32_t link_type, struct found *f)
{
    struct front h;
    uint32_t strip = 0, type;
    link_type = without_direction(link_type, f);
    h = (struct front){.n = least(f->length, sizeof h.bytes)};
    memcpy(h.bytes, f->data, h.n);
    if (link_type == LINK_PPP_PPPD)
        h.bytes[0] = 0xFF; /* the direction byte is in its place */
    memcpy(f->header, s->macs, sizeof s->macs);
    type = type_of(s, link_type, &h, f, &strip);
    if (type == 0 || strip >= f->length)
        return 0;
    f->header[12] = (uint8_t)(type >> 8);
    f->header[13] = (uint8_t)type;
    f->front = sizeof f->header;
    f->data += strip;
    f->length -= strip;
    f->wire -= least(strip, f->wire);
    return 1;
}
