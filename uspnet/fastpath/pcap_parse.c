// SPDX-License-Identifier: Apache-2.0
/* What a capture file holds: classic pcap in four magics, and pcapng in both byte orders.
 *
 * Every length is copied into a local and checked in 64 bits against what the file still holds. */
#include "pcap_parts.h"

enum { OPTION_FLAGS = 2, OPTION_TSRESOL = 9, OPTION_FCSLEN = 13, OPTION_TSOFFSET = 14 };

/* Takes the FCS off. A length on the wire below the captured one tells nothing. */
static void strip_fcs(struct found *f, uint32_t fcs)
{
    if (f->wire < f->length)
        return;
    f->wire -= least(fcs, f->wire);
    f->length = least(f->length, f->wire);
}

/* What becomes of a packet of that link type. */
static inline enum step take(struct pcap_source *s, uint32_t link_type, uint32_t fcs,
                             struct found *f)
{
    f->front = 0;
    if (unlikely(fcs))
        strip_fcs(f, fcs);
    if (likely(link_type == LINK_ETHERNET))
        return STEP_PACKET;
    if (s->make_ethernet && pcap_make_ethernet(s, link_type, f))
        return STEP_PACKET;
    if (!s->foreign)
        s->link_type = link_type;
    return STEP_FOREIGN;
}

/* The end, unless a stream brings more. */
static enum step at_end(struct pcap_source *s) { return s->live ? pcap_short(s, 1) : STEP_END; }

static void old_lengths(const struct pcap_source *s, uint32_t *length, uint32_t *wire)
{
    uint32_t greater = *length > *wire ? *length : *wire;
    *length = least(*length, *wire);
    *wire = s->lengths == PCAP_EITHER ? greater : *length;
}

static enum step classic_step(struct pcap_source *s, struct found *f)
{
    const uint8_t *at = s->base + s->at;
    uint64_t left = s->size - s->at;
    uint32_t length, part;
    if (left == 0)
        return at_end(s);
    if (left < RECORD_HEADER)
        return pcap_short(s, RECORD_HEADER);
    length = field32(s, at + 8);
    f->wire = field32(s, at + 12);
    if (unlikely(s->lengths))
        old_lengths(s, &length, &f->wire);
    if (length > PCAP_LONGEST)
        return pcap_bad(s, PCAP_LENGTH);
    if (length > left - RECORD_HEADER)
        return pcap_short(s, RECORD_HEADER + length);
    part = field32(s, at + 4);
    f->ns = field32(s, at) * 1000000000ull + part * (s->format == PCAP_NS ? 1ull : 1000ull);
    f->data = at + RECORD_HEADER;
    f->length = length;
    f->origin.kept = 0;
    s->at += RECORD_HEADER + (uint64_t)length;
    return take(s, s->interfaces[0].link_type, s->interfaces[0].fcs, f);
}

/* Section Header Block: it says how to read itself. */
static enum step byte_order(struct pcap_source *s, const uint8_t *at, uint64_t left)
{
    uint32_t magic;
    if (left < 28)
        return pcap_short(s, 28);
    magic = *(const volatile loose32 *)(at + 8);
    if (magic != ORDER_MAGIC && magic != __builtin_bswap32(ORDER_MAGIC))
        return pcap_bad(s, PCAP_LENGTH);
    s->swapped = magic != ORDER_MAGIC;
    return field16(s, at + 12) == 1 ? STEP_OTHER : pcap_bad(s, PCAP_VERSION);
}

static void interface_option(const struct pcap_source *s, struct pcap_interface *new,
                             const uint8_t *at, uint16_t code, uint16_t size)
{
    uint8_t first = size ? *(const volatile uint8_t *)at : 0;
    if (code == OPTION_TSRESOL && size == 1)
        pcap_resolution(new, first);
    if (code == OPTION_FCSLEN && size == 1)
        new->fcs = first < 16 ? first : first / 8; /* the standard says bits, and shows bytes */
    if (code == OPTION_TSOFFSET && size == 8)
        new->offset = (int64_t)field64(s, at);
}

/* Interface Description Block: link type (2), reserved (2), snap length (4), options. */
static enum step interface(struct pcap_source *s, const uint8_t *body, uint32_t length)
{
    struct pcap_interface *new = &s->interfaces[s->n_interfaces];
    uint32_t at = 8;
    if (length < 8)
        return pcap_bad(s, PCAP_LENGTH);
    if (s->n_interfaces == PCAP_INTERFACES)
        return pcap_bad(s, PCAP_TOO_MANY);
    *new = (struct pcap_interface){.link_type = field16(s, body), .snaplen = field32(s, body + 4)};
    pcap_resolution(new, 6);
    while (at + 4 <= length) {
        uint16_t code = field16(s, body + at), size = field16(s, body + at + 2);
        at += 4;
        if (code == 0)
            break;
        if (pad4(size) > length - at)
            return pcap_bad(s, PCAP_LENGTH);
        interface_option(s, new, body + at, code, size);
        at += pad4(size);
    }
    new->plain = new->times == 1 && new->divisor == 1 && !new->shift && !new->offset;
    s->n_interfaces++;
    return STEP_OTHER;
}

/* The FCS bytes that a packet's flags tell of, which overrule its interface's. */
static uint32_t fcs_of(const struct pcap_source *s, const struct found *f, uint32_t fcs)
{
    const uint8_t *options = f->origin.options;
    uint32_t at = 0, flags;
    while (at + 4 <= f->origin.option_bytes) {
        uint16_t code = field16(s, options + at), size = field16(s, options + at + 2);
        at += 4;
        if (code == 0 || pad4(size) > f->origin.option_bytes - at)
            break;
        if (code == OPTION_FLAGS && size == 4) {
            flags = field32(s, options + at) >> 5 & 15;
            return flags ? flags : fcs;
        }
        at += pad4(size);
    }
    return fcs;
}

/* What stands before the packet's bytes in each of the three blocks. Returns STEP_PACKET. */
static inline enum step described(struct pcap_source *s, uint32_t type, const uint8_t *body,
                                  struct found *f)
{
    const struct pcap_interface *i;
    uint32_t id = 0;
    if (type != BLOCK_SPB)
        id = type == BLOCK_EPB ? field32(s, body) : field16(s, body);
    if (id >= s->n_interfaces)
        return pcap_bad(s, PCAP_ORDER);
    i = &s->interfaces[id];
    f->origin.interface = id;
    f->origin.losses = UINT32_MAX;
    if (type == BLOCK_SPB) {
        f->wire = field32(s, body);
        f->length = i->snaplen ? least(f->wire, i->snaplen) : f->wire;
        f->origin.time = 0;
        f->ns = STAMP_UNKNOWN;
        return STEP_PACKET;
    }
    if (type == BLOCK_PACKET && field16(s, body + 2) != UINT16_MAX)
        f->origin.losses = field16(s, body + 2);
    f->origin.time = (uint64_t)field32(s, body + 4) << 32 | field32(s, body + 8);
    f->ns = pcap_time(i, f->origin.time);
    f->length = field32(s, body + 12);
    f->wire = field32(s, body + 16);
    return STEP_PACKET;
}

/* The three blocks that hold a packet. `length`: of the body. */
static enum step packet(struct pcap_source *s, uint32_t type, const uint8_t *body, uint32_t length,
                        struct found *f)
{
    const struct pcap_interface *i;
    uint32_t header = type == BLOCK_SPB ? 4 : 20, padded, fcs;
    if (length < header)
        return pcap_bad(s, PCAP_LENGTH);
    if (described(s, type, body, f) == STEP_FAULT)
        return STEP_FAULT;
    if (f->length > PCAP_LONGEST || f->length > length - header)
        return pcap_bad(s, PCAP_LENGTH);
    i = &s->interfaces[f->origin.interface];
    fcs = i->fcs;
    padded = header + pad4(f->length);
    f->data = body + header;
    f->origin.kept = s->sink != NULL;
    f->origin.swapped = s->swapped;
    f->origin.options = body + padded;
    f->origin.option_bytes = padded < length ? length - padded : 0;
    if (unlikely(f->origin.option_bytes > 4))
        fcs = fcs_of(s, f, fcs);
    return take(s, i->link_type, fcs, f);
}

/* A block without a packet: it may describe others, and go on to the file that is written. */
static enum step other(struct pcap_source *s, uint32_t type, const uint8_t *body, uint32_t length)
{
    if (s->sink && !(s->pass && s->single) && !pcap_carry(s->sink, s, type, body, length))
        return STEP_HOLD;
    if (type == BLOCK_IDB)
        return interface(s, body, length);
    if (type == BLOCK_SHB) {
        s->n_interfaces = 0;
        s->sections++;
    }
    return STEP_OTHER;
}

static enum step block_step(struct pcap_source *s, struct found *f)
{
    const uint8_t *at = s->base + s->at;
    uint64_t left = s->size - s->at, stride;
    uint32_t type, length;
    enum step step;
    if (left == 0)
        return at_end(s);
    if (left < BLOCK_LEAST)
        return pcap_short(s, BLOCK_LEAST);
    type = field32(s, at);
    if (s->sections == 0 && type != BLOCK_SHB)
        return pcap_bad(s, PCAP_ORDER);
    if (type == BLOCK_SHB && (step = byte_order(s, at, left)) != STEP_OTHER)
        return step;
    length = field32(s, at + 4);
    if (length < (type == BLOCK_SHB ? 28 : BLOCK_LEAST))
        return pcap_bad(s, PCAP_LENGTH);
    stride = ((uint64_t)length + 3) & ~3ull; /* some programs don't count the padding */
    if (stride > left)
        return pcap_short(s, stride);
    if (field32(s, at + stride - 4) != length)
        return pcap_bad(s, PCAP_LENGTH);
    if (likely(type == BLOCK_EPB || type == BLOCK_PACKET || type == BLOCK_SPB))
        step = packet(s, type, at + 8, length - BLOCK_LEAST, f);
    else
        step = other(s, type, at + 8, length - BLOCK_LEAST);
    if (step <= STEP_OTHER)
        s->at += stride;
    return step;
}

enum step pcap_step(struct pcap_source *s, struct found *f)
{
    if (likely(s->format == PCAP_NG))
        return block_step(s, f);
    return likely(s->format) ? classic_step(s, f) : pcap_open(s);
}

void pcap_rewind(struct pcap_source *s)
{
    if (s->pass++ == 0)
        s->single = s->sections == 1;
    s->at = s->begin;
    s->number = 0;
    s->sections = 0;
}
