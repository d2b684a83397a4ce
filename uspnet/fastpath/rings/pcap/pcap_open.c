// SPDX-License-Identifier: Apache-2.0
/* pcap: the header of a classic file: magic (4), version (2 + 2), time zone (4), accuracy (4), snap
 * length (4), link type (4), whose upper bits give the length of the FCS. */
#include "pcap_parts.h"

enum {
    FILE_HEADER = 24,
    MAGIC_US = 0xA1B2C3D4,
    MAGIC_NS = 0xA1B23C4D,
    FCS_KNOWN = 1 << 26, /* the upper four bits are the FCS length in 16-bit words */
};

/* Is the version known? 543.0 was written by DG/UX. */
static int version(struct pcap_source *s, uint16_t major, uint16_t minor)
{
    if (major != 2 && !(major == 543 && minor == 0))
        return 0;
    s->lengths = PCAP_AS_NOW;
    if (major != 2 || minor < 3)
        s->lengths = PCAP_OLDER;
    else if (minor == 3)
        s->lengths = PCAP_EITHER;
    return 1;
}

int pcap_header(const uint8_t *at)
{
    uint32_t magic = field32(0, at);
    int swapped = magic == __builtin_bswap32(MAGIC_US) || magic == __builtin_bswap32(MAGIC_NS);
    return (swapped || magic == MAGIC_US || magic == MAGIC_NS) && field16(swapped, at + 4) == 2 &&
           field16(swapped, at + 6) == 4;
}

static enum step classic(struct pcap_source *s, uint32_t magic)
{
    uint32_t link;
    if (s->size < FILE_HEADER)
        return pcap_short(s, FILE_HEADER);
    if (!version(s, field16((int)s->swapped, s->base + 4), field16((int)s->swapped, s->base + 6)))
        return pcap_bad(s, PCAP_VERSION);
    if (s->sink && !pcap_begin(s->sink))
        return STEP_HOLD;
    link = field32((int)s->swapped, s->base + 20);
    s->interfaces[0] = (struct pcap_interface){
        .link_type = link & 0xFFFF,
        .fcs = link & FCS_KNOWN ? 2 * (link >> 28) : 0,
        .times = magic == MAGIC_NS ? 1 : 1000,
    };
    s->interfaces[0].plain = s->interfaces[0].link_type == LINK_ETHERNET && !s->interfaces[0].fcs;
    s->begin = s->at = FILE_HEADER;
    keep_order(); /* until the format is known, the header is parsed again */
    s->format = magic == MAGIC_NS ? PCAP_NS : PCAP_US;
    return STEP_OTHER;
}

enum step pcap_open(struct pcap_source *s)
{
    uint32_t magic;
    if (s->size < 4)
        return pcap_short(s, 4);
    magic = *(const volatile loose32 *)s->base;
    if (magic == BLOCK_SHB) {
        s->format = PCAP_NG;
        return STEP_OTHER;
    }
    s->swapped = magic == __builtin_bswap32(MAGIC_US) || magic == __builtin_bswap32(MAGIC_NS);
    if (s->swapped)
        magic = __builtin_bswap32(magic);
    if (magic != MAGIC_US && magic != MAGIC_NS)
        return pcap_bad(s, PCAP_ORDER);
    return classic(s, magic);
}
