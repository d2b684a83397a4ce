// SPDX-License-Identifier: Apache-2.0
/* pcap: Section Header Block and Interface Description Block, which say how to parse the others. */
#include "pcap_parts.h"

enum { OPTION_TSRESOL = 9, OPTION_FCSLEN = 13, OPTION_TSOFFSET = 14 };

/* Section Header Block: has its own byte order. */
enum step pcap_section(struct pcap_source *s, const uint8_t *at, uint64_t left)
{
    uint32_t magic;
    uint16_t minor;
    if (left < 28)
        return pcap_short(s, 28);
    magic = *(const volatile loose32 *)(at + 8);
    if (magic != ORDER_MAGIC && magic != __builtin_bswap32(ORDER_MAGIC))
        return pcap_bad(s, PCAP_LENGTH);
    s->swapped = magic != ORDER_MAGIC;
    minor = field16((int)s->swapped, at + 14);
    if (field16((int)s->swapped, at + 12) != 1 || (minor != 0 && minor != 2))
        return pcap_bad(s, PCAP_VERSION); /* some programs write 1.2 for 1.0 */
    return STEP_OTHER;
}

static void interface_option(const struct pcap_source *s, struct pcap_interface *new,
                             const uint8_t *at, uint16_t code, uint16_t size)
{
    uint8_t first = size ? *(const volatile uint8_t *)at : 0;
    if (code == OPTION_TSRESOL && size == 1)
        pcap_resolution(new, first);
    if (code == OPTION_FCSLEN && size == 1)
        new->fcs = first < 16 ? first : first / 8; /* the draft says bits; its example has bytes */
    if (code == OPTION_TSOFFSET && size == 8)
        new->offset = (int64_t)field64((int)s->swapped, at);
}

/* Interface Description Block: link type (2), reserved (2), snap length (4), options. */
enum step pcap_interface(struct pcap_source *s, const uint8_t *body, uint32_t length)
{
    struct pcap_interface *new = &s->interfaces[s->n_interfaces];
    int swapped = (int)s->swapped;
    uint32_t at = 8;
    if (length < 8)
        return pcap_bad(s, PCAP_LENGTH);
    if (s->n_interfaces == PCAP_INTERFACES)
        return pcap_bad(s, PCAP_TOO_MANY);
    *new = (struct pcap_interface){.link_type = field16(swapped, body),
                                   .snaplen = field32(swapped, body + 4)};
    pcap_resolution(new, 6);
    while (at + 4 <= length) {
        uint16_t code = field16(swapped, body + at), size = field16(swapped, body + at + 2);
        at += 4;
        if (code == 0)
            break;
        if (pad4(size) > length - at)
            return pcap_bad(s, PCAP_LENGTH);
        interface_option(s, new, body + at, code, size);
        at += pad4(size);
    }
    new->plain = new->link_type == LINK_ETHERNET && !new->fcs && new->times && !new->shift &&
                 new->divisor == 1 && !new->offset;
    s->n_interfaces++;
    return STEP_OTHER;
}
