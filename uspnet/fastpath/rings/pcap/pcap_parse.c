// SPDX-License-Identifier: Apache-2.0
/* pcap: parses classic records (four magic numbers) and pcapng blocks (both byte orders).
 *
 * Every length is read once into a local, and checked in 64 bits against the rest of the file. */
#include "pcap_parts.h"

enum { OPTION_FLAGS = 2 };

/* Removes the FCS, unless the length on the wire is invalid (below the captured one). */
static void strip_fcs(struct found *f, uint32_t fcs)
{
    if (f->wire < f->length)
        return;
    f->wire -= least(fcs, f->wire);
    f->length = least(f->length, f->wire);
}

/* Decides about a packet by its link type, and removes its FCS. */
static __attribute__((noinline)) enum step take(struct pcap_source *s, uint32_t link_type,
                                                uint32_t fcs, struct found *f)
{
    if (fcs)
        strip_fcs(f, fcs);
    if (link_type == LINK_ETHERNET)
        return STEP_PACKET;
    if (s->make_ethernet && pcap_make_ethernet(s, link_type, f))
        return STEP_PACKET;
    if (!s->foreign)
        s->link_type = link_type;
    return STEP_FOREIGN;
}

/* The end of the file, unless it is a stream that hasn't ended. */
static enum step at_end(struct pcap_source *s) { return s->live ? pcap_short(s, 1) : STEP_END; }

static void old_lengths(const struct pcap_source *s, uint32_t *length, uint32_t *wire)
{
    uint32_t greater = *length > *wire ? *length : *wire;
    *length = least(*length, *wire);
    *wire = s->lengths == PCAP_EITHER ? greater : *length;
}

/* A record with a captured length of 0, which is also how the header of an appended file reads. */
static __attribute__((noinline)) enum step empty_record(struct pcap_source *s, struct found *f,
                                                        const uint8_t *at, uint32_t wire)
{
    const struct pcap_interface *i = &s->interfaces[0];
    int swapped = (int)s->swapped;
    if (pcap_header(at))
        return pcap_bad(s, PCAP_ANOTHER);
    *f = (struct found){
        .data = at + RECORD_HEADER,
        .wire = wire,
        .ns = field32(swapped, at) * 1000000000ull + field32(swapped, at + 4) * i->times,
    };
    s->at += RECORD_HEADER;
    return take(s, i->link_type, i->fcs, f);
}

static inline __attribute__((always_inline)) enum step
classic_step(struct pcap_source *s, struct found *f, const int swapped)
{
    const struct pcap_interface *i = &s->interfaces[0];
    const uint8_t *at = s->base + s->at;
    uint64_t left = s->size - s->at;
    uint32_t length, wire;
    if (unlikely(left < RECORD_HEADER))
        return left ? pcap_short(s, RECORD_HEADER) : at_end(s);
    length = field32(swapped, at + 8);
    wire = field32(swapped, at + 12);
    if (unlikely(s->lengths))
        old_lengths(s, &length, &wire);
    if (unlikely(length - 1 >= PCAP_LONGEST))
        return length ? pcap_bad(s, PCAP_LENGTH) : empty_record(s, f, at, wire);
    if (unlikely(length > left - RECORD_HEADER))
        return pcap_short(s, RECORD_HEADER + length);
    f->ns = field32(swapped, at) * 1000000000ull + field32(swapped, at + 4) * i->times;
    f->data = at + RECORD_HEADER;
    f->length = length;
    f->wire = wire;
    f->front = 0;
    s->at += RECORD_HEADER + (uint64_t)length;
    return likely(i->plain) ? STEP_PACKET : take(s, i->link_type, i->fcs, f);
}

/* The FCS length: by the packet's epb_flags, else by its interface. */
static uint32_t fcs_of(const struct pcap_source *s, const uint8_t *options, uint32_t bytes,
                       uint32_t fcs)
{
    int swapped = (int)s->swapped;
    uint32_t at = 0, flags;
    while (at + 4 <= bytes) {
        uint16_t code = field16(swapped, options + at), size = field16(swapped, options + at + 2);
        at += 4;
        if (code == 0 || pad4(size) > bytes - at)
            break;
        if (code == OPTION_FLAGS && size == 4) {
            flags = field32(swapped, options + at) >> 5 & 15;
            return flags ? flags : fcs;
        }
        at += pad4(size);
    }
    return fcs;
}

/* Keeps the metadata to be copied from pcapng to pcapng. */
static void keep(const struct pcap_source *s, uint32_t id, uint64_t ticks, uint32_t losses,
                 const uint8_t *options, uint32_t bytes, struct found *f)
{
    f->origin = (struct origin){
        .kept = 1,
        .time = ticks,
        .options = options,
        .option_bytes = bytes,
        .interface = id,
        .swapped = s->swapped,
        .losses = losses == UINT16_MAX ? UINT32_MAX : losses,
    };
}

/* Completes a packet that has options, an FCS, another link type or a pcapng sink. */
static enum step finish(struct pcap_source *s, struct found *f, uint32_t id, uint64_t ticks,
                        uint32_t losses, const uint8_t *options, uint32_t bytes)
{
    const struct pcap_interface *i = &s->interfaces[id];
    uint32_t fcs = bytes > 4 ? fcs_of(s, options, bytes, i->fcs) : i->fcs;
    if (s->sink)
        keep(s, id, ticks, losses, options, bytes, f);
    return take(s, i->link_type, fcs, f);
}

/* The same for an Enhanced Packet Block, whose ticks are in f->ns. */
static __attribute__((noinline)) enum step enhanced(struct pcap_source *s, struct found *f,
                                                    uint32_t id, const uint8_t *options,
                                                    uint32_t bytes)
{
    uint64_t ticks = f->ns;
    f->ns = pcap_time(&s->interfaces[id], ticks);
    return finish(s, f, id, ticks, UINT16_MAX, options, bytes);
}

/* Simple Packet Block, which has only the length on the wire, and the obsolete Packet Block,
 * which has interface (2) and drops count (2). `length`: of the body. */
static enum step packet(struct pcap_source *s, uint32_t type, const uint8_t *body, uint32_t length,
                        struct found *f)
{
    const uint32_t header = type == BLOCK_SPB ? 4 : 20;
    const int swapped = (int)s->swapped;
    const struct pcap_interface *i;
    uint32_t id = 0, losses = UINT16_MAX, options;
    uint64_t ticks = 0;
    if (length < header)
        return pcap_bad(s, PCAP_LENGTH);
    if (type == BLOCK_PACKET)
        id = field16(swapped, body);
    if (id >= s->n_interfaces)
        return pcap_bad(s, PCAP_ORDER);
    i = &s->interfaces[id];
    if (type == BLOCK_SPB) {
        f->wire = field32(swapped, body);
        f->length = i->snaplen ? least(f->wire, i->snaplen) : f->wire;
        f->ns = STAMP_UNKNOWN;
    } else {
        losses = field16(swapped, body + 2);
        ticks = (uint64_t)field32(swapped, body + 4) << 32 | field32(swapped, body + 8);
        f->ns = pcap_time(i, ticks);
        f->length = field32(swapped, body + 12);
        f->wire = field32(swapped, body + 16);
    }
    if (f->length > PCAP_LONGEST || f->length > length - header)
        return pcap_bad(s, PCAP_LENGTH);
    f->data = body + header;
    f->front = 0;
    options = header + pad4(f->length);
    options = options < length ? length - options : 0;
    return finish(s, f, id, ticks, losses, body + length - options, options);
}

/* A block without a packet: copies it to the sink, and parses descriptions. */
static enum step other(struct pcap_source *s, uint32_t type, const uint8_t *body, uint32_t length)
{
    if (s->sink && !s->carried && !(s->pass && s->single) &&
        !pcap_carry(s->sink, s, type, body, length))
        return STEP_HOLD;
    s->carried = 0;
    if (type == BLOCK_IDB)
        return pcap_interface(s, body, length);
    if (type == BLOCK_SHB) {
        s->n_interfaces = 0;
        s->sections++;
    }
    return STEP_OTHER;
}

static enum step any_other_block(struct pcap_source *s, struct found *f)
{
    const uint8_t *at = s->base + s->at;
    uint64_t left = s->size - s->at, stride;
    uint32_t type = field32((int)s->swapped, at), length;
    enum step step = STEP_OTHER;
    if (type == BLOCK_SHB)
        step = pcap_section(s, at, left);
    else if (s->sections == 0)
        step = pcap_bad(s, PCAP_ORDER);
    if (step != STEP_OTHER)
        return step;
    length = field32((int)s->swapped, at + 4);
    if (length < (type == BLOCK_SHB ? 28 : BLOCK_LEAST))
        return pcap_bad(s, PCAP_LENGTH);
    stride = padded(length);
    if (stride > left)
        return pcap_short(s, stride);
    if (field32((int)s->swapped, at + stride - 4) != length)
        return pcap_bad(s, PCAP_LENGTH);
    length -= BLOCK_LEAST;
    if (type == BLOCK_PACKET || type == BLOCK_SPB)
        step = packet(s, type, at + 8, length, f);
    else if (type != BLOCK_EPB) /* else the file was changed meanwhile */
        step = other(s, type, at + 8, length);
    if (step <= STEP_OTHER)
        s->at += stride;
    return step;
}

/* A block other than an Enhanced Packet Block. */
static __attribute__((noinline)) enum step rare_block(struct pcap_source *s, struct found *f)
{
    enum step step;
    pcap_note_begin(s);
    step = any_other_block(s, f);
    keep_order();
    s->begun.at = 0;
    return step;
}

/* The fast path: an Enhanced Packet Block of plain Ethernet without options. Everything else is
 * a tail call, so that no registers need saving. `swapped` is a constant. */
static inline __attribute__((always_inline)) enum step
block_step(struct pcap_source *s, struct found *f, const int swapped)
{
    const uint8_t *at = s->base + s->at;
    const struct pcap_interface *i;
    uint64_t left = s->size - s->at, stride, ticks;
    uint32_t length, id, options;
    if (unlikely(left < BLOCK_LEAST))
        return left ? pcap_short(s, BLOCK_LEAST) : at_end(s);
    if (unlikely(field32(swapped, at) != BLOCK_EPB))
        return rare_block(s, f);
    length = field32(swapped, at + 4);
    if (unlikely(length < EPB_HEADER + EPB_TRAILER))
        return pcap_bad(s, PCAP_LENGTH);
    stride = padded(length);
    if (unlikely(stride > left))
        return pcap_short(s, stride);
    if (unlikely(field32(swapped, at + stride - EPB_TRAILER) != length))
        return pcap_bad(s, PCAP_LENGTH);
    id = field32(swapped, at + 8);
    if (unlikely(id >= s->n_interfaces))
        return pcap_bad(s, PCAP_ORDER);
    ticks = (uint64_t)field32(swapped, at + 12) << 32 | field32(swapped, at + 16);
    f->length = field32(swapped, at + 20);
    f->wire = field32(swapped, at + 24);
    f->data = at + EPB_HEADER;
    f->front = 0;
    if (unlikely(f->length > PCAP_LONGEST || f->length > length - EPB_HEADER - EPB_TRAILER))
        return pcap_bad(s, PCAP_LENGTH);
    options = EPB_HEADER + EPB_TRAILER + pad4(f->length);
    options = options < length ? length - options : 0;
    s->at += stride;
    i = &s->interfaces[id];
    if (likely(i->plain && options <= 4 && !s->sink &&
               !__builtin_mul_overflow(ticks, i->times, &f->ns)))
        return STEP_PACKET;
    f->ns = ticks;
    return enhanced(s, f, id, at + length - EPB_TRAILER - options, options);
}

/* Separate functions, so that neither saves registers that only the other needs. */
static __attribute__((noinline)) enum step any_block(struct pcap_source *s, struct found *f)
{
    return s->swapped ? block_step(s, f, 1) : block_step(s, f, 0);
}

static __attribute__((noinline)) enum step any_record(struct pcap_source *s, struct found *f)
{
    return s->swapped ? classic_step(s, f, 1) : classic_step(s, f, 0);
}

enum step pcap_step(struct pcap_source *s, struct found *f)
{
    if (s->format == PCAP_NG)
        return any_block(s, f);
    if (unlikely(s->format == PCAP_UNKNOWN))
        return pcap_open(s);
    return any_record(s, f);
}
