// SPDX-License-Identifier: Apache-2.0
/* What a capture file holds: classic pcap in four magics, and pcapng in both byte orders.
 *
 * Every length is copied into a local and checked in 64 bits against what the file still holds. */
#include "pcap.h"

enum {
    FILE_HEADER = 24,
    RECORD_HEADER = 16,
    BLOCK_LEAST = 12, /* type, length, length again */
    BLOCK_IDB = 1,
    BLOCK_PACKET = 2, /* obsolete, and still found */
    BLOCK_SPB = 3,
    BLOCK_EPB = 6,
    BLOCK_SHB = 0x0A0D0D0A, /* reads the same in both byte orders */
    ORDER_MAGIC = 0x1A2B3C4D,
    OPTION_TSRESOL = 9,
    OPTION_TSOFFSET = 14,
    LINK_ETHERNET = 1,
};

static uint16_t get16(const struct pcap_source *s, const uint8_t *at)
{
    uint16_t v;
    memcpy(&v, at, sizeof v);
    return s->swapped ? __builtin_bswap16(v) : v;
}

static uint32_t get32(const struct pcap_source *s, const uint8_t *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return s->swapped ? __builtin_bswap32(v) : v;
}

static uint64_t get64(const struct pcap_source *s, const uint8_t *at)
{
    uint64_t v;
    memcpy(&v, at, sizeof v);
    return s->swapped ? __builtin_bswap64(v) : v;
}

static enum step bad(struct pcap_source *s, enum pcap_why why)
{
    s->why = why;
    return STEP_FAULT;
}

/* 0 means unknown, so the first instant of 1970 is its second nanosecond here. */
static uint64_t known(uint64_t ns) { return ns ? ns : 1; }

static enum step classic_step(struct pcap_source *s, struct found *f)
{
    const uint8_t *at = s->base + s->at;
    uint64_t left = s->size - s->at;
    uint32_t length, part;
    if (left == 0)
        return STEP_END;
    if (left < RECORD_HEADER)
        return bad(s, PCAP_CUT);
    length = get32(s, at + 8);
    if (length > PCAP_LONGEST)
        return bad(s, PCAP_LENGTH);
    if (length > left - RECORD_HEADER)
        return bad(s, PCAP_CUT);
    part = get32(s, at + 4);
    f->ns = known(get32(s, at) * 1000000000ull + part * (s->format == PCAP_NS ? 1ull : 1000ull));
    f->data = at + RECORD_HEADER;
    f->length = length;
    s->at += RECORD_HEADER + (uint64_t)length;
    return STEP_PACKET;
}

/* Section Header Block: it says how to read itself, and forgets the interfaces before it. */
static enum step section(struct pcap_source *s, const uint8_t *at, uint64_t left)
{
    uint32_t magic;
    if (left < 28)
        return bad(s, PCAP_CUT);
    memcpy(&magic, at + 8, sizeof magic);
    if (magic != ORDER_MAGIC && magic != __builtin_bswap32(ORDER_MAGIC))
        return bad(s, PCAP_LENGTH);
    s->swapped = magic != ORDER_MAGIC;
    if (get16(s, at + 12) != 1)
        return bad(s, PCAP_VERSION);
    s->n_interfaces = 0;
    return STEP_OTHER;
}

/* if_tsresol: a power of ten, or of two with the top bit set. */
static uint64_t resolution(uint8_t value)
{
    uint32_t power = value & 127;
    uint64_t units = 1;
    if (value & 128)
        return power < 64 ? 1ull << power : 0;
    if (power > 19)
        return 0;
    while (power--)
        units *= 10;
    return units;
}

/* Interface Description Block: link type (2), reserved (2), snap length (4), options. */
static enum step interface(struct pcap_source *s, const uint8_t *body, uint32_t length)
{
    struct pcap_interface *new = &s->interfaces[s->n_interfaces];
    uint32_t at = 8;
    if (length < 8)
        return bad(s, PCAP_LENGTH);
    if (s->n_interfaces == PCAP_INTERFACES)
        return bad(s, PCAP_TOO_MANY);
    *new = (struct pcap_interface){1000000, 0, get16(s, body), get32(s, body + 4)};
    while (at + 4 <= length) {
        uint16_t code = get16(s, body + at), size = get16(s, body + at + 2);
        at += 4;
        if (code == 0)
            break;
        if (pad4(size) > length - at)
            return bad(s, PCAP_LENGTH);
        if (code == OPTION_TSRESOL && size == 1)
            new->units = resolution(body[at]);
        if (code == OPTION_TSOFFSET && size == 8)
            new->offset = (int64_t)get64(s, body + at);
        at += pad4(size);
    }
    s->n_interfaces++;
    return STEP_OTHER;
}

/* Times before 1970 or after 2554 don't fit 64 bits of nanoseconds: unknown. */
static uint64_t nanoseconds(const struct pcap_interface *i, uint64_t t)
{
    uint64_t seconds, part;
    if (likely(i->units == 1000000000 && i->offset == 0))
        return known(t);
    if (i->units == 0)
        return 0;
    seconds = t / i->units + (uint64_t)i->offset;
    part = t % i->units;
    if (seconds >= UINT64_MAX / 1000000000 - 1)
        return 0;
    part = i->units == 1000000 ? part * 1000
                               : (uint64_t)((unsigned __int128)part * 1000000000 / i->units);
    return known(seconds * 1000000000 + part);
}

/* The three blocks that hold a packet. `length`: of the body. */
static enum step packet(struct pcap_source *s, uint32_t type, const uint8_t *body, uint32_t length,
                        struct found *f)
{
    uint32_t header = type == BLOCK_SPB ? 4 : 20, id = 0;
    const struct pcap_interface *i;
    if (length < header)
        return bad(s, PCAP_LENGTH);
    if (type != BLOCK_SPB)
        id = type == BLOCK_EPB ? get32(s, body) : get16(s, body);
    if (id >= s->n_interfaces)
        return bad(s, PCAP_ORDER);
    i = &s->interfaces[id];
    if (type == BLOCK_SPB) {
        f->ns = 0;
        f->length = get32(s, body);
        if (i->snaplen)
            f->length = least(f->length, i->snaplen);
    } else {
        f->ns = nanoseconds(i, (uint64_t)get32(s, body + 4) << 32 | get32(s, body + 8));
        f->length = get32(s, body + 12);
    }
    if (f->length > PCAP_LONGEST || f->length > length - header)
        return bad(s, PCAP_LENGTH);
    if (i->link_type != LINK_ETHERNET) {
        s->link_type = i->link_type;
        return bad(s, PCAP_LINK);
    }
    f->data = body + header;
    return STEP_PACKET;
}

static enum step block_step(struct pcap_source *s, struct found *f)
{
    const uint8_t *at = s->base + s->at;
    uint64_t left = s->size - s->at;
    uint32_t type, length;
    enum step step = STEP_OTHER;
    if (left == 0)
        return STEP_END;
    if (left < BLOCK_LEAST)
        return bad(s, PCAP_CUT);
    type = get32(s, at);
    if (s->at == 0 && type != BLOCK_SHB)
        return bad(s, PCAP_ORDER);
    if (type == BLOCK_SHB && section(s, at, left) == STEP_FAULT)
        return STEP_FAULT;
    length = get32(s, at + 4);
    if (length < (type == BLOCK_SHB ? 28 : BLOCK_LEAST) || length % 4)
        return bad(s, PCAP_LENGTH);
    if (length > left)
        return bad(s, PCAP_CUT);
    if (get32(s, at + length - 4) != length)
        return bad(s, PCAP_LENGTH);
    if (type == BLOCK_IDB)
        step = interface(s, at + 8, length - BLOCK_LEAST);
    else if (type == BLOCK_EPB || type == BLOCK_PACKET || type == BLOCK_SPB)
        step = packet(s, type, at + 8, length - BLOCK_LEAST, f);
    if (step != STEP_FAULT)
        s->at += length;
    return step;
}

enum step pcap_step(struct pcap_source *s, struct found *f)
{
    return s->format == PCAP_NG ? block_step(s, f) : classic_step(s, f);
}

void pcap_rewind(struct pcap_source *s)
{
    s->at = s->begin;
    s->number = 0;
}

uint32_t pcap_open(struct pcap_source *s)
{
    uint32_t magic, link;
    if (s->size < 4)
        return PCAP_CUT;
    memcpy(&magic, s->base, sizeof magic);
    if (magic == BLOCK_SHB) {
        s->format = PCAP_NG;
        return PCAP_WELL;
    }
    s->swapped = magic == 0xD4C3B2A1 || magic == 0x4D3CB2A1;
    magic = get32(s, s->base);
    if (magic != 0xA1B2C3D4 && magic != 0xA1B23C4D)
        return PCAP_ORDER;
    if (s->size < FILE_HEADER)
        return PCAP_CUT;
    if (get16(s, s->base + 4) != 2)
        return PCAP_VERSION;
    link = get32(s, s->base + 20) & 0xFFFF; /* the upper half tells of an FCS */
    s->format = magic == 0xA1B23C4D ? PCAP_NS : PCAP_US;
    s->link_type = link;
    s->begin = s->at = FILE_HEADER;
    return link == LINK_ETHERNET ? PCAP_WELL : PCAP_LINK;
}

uint32_t pcap_survey(struct pcap_source *s, uint32_t n)
{
    struct found f;
    while (n--) {
        enum step step = pcap_step(s, &f);
        if (step == STEP_PACKET) {
            s->number++;
            s->longest = f.length > s->longest ? f.length : s->longest;
        } else if (step != STEP_OTHER) {
            if (step == STEP_FAULT && s->number == 0)
                return 0;
            s->why = PCAP_WELL; /* what comes first is delivered first; the fault is met again */
            pcap_rewind(s);
            return 0;
        }
    }
    return 1;
}
