// SPDX-License-Identifier: Apache-2.0
/* pcap: copies the packets of a file of which only the frames are wanted, without time stamps and
 * timing: the same as pcap_step() and a copy, with fewer instructions. */
#include "pcap_parts.h"

enum { AHEAD = 1024 }; /* bytes of a file that are loaded into the cache before they are needed */

/* A file in our byte order, of Ethernet frames: of pcapng, each block says of which interface. */
int pcap_is_plain(const struct pcap_source *s)
{
    if (s->swapped || s->timing || s->q.stamps)
        return 0;
    if (s->format == PCAP_NG)
        return !s->sink;
    return (s->format == PCAP_US || s->format == PCAP_NS) && !s->lengths && s->interfaces[0].plain;
}

/* The bytes of a record of which `left` are in the file; 0: it isn't a whole one, of all that was
 * on the wire. */
static INLINE uint64_t record_bytes(const uint8_t *at, uint64_t left, uint32_t *length)
{
    uint32_t wire;
    if (unlikely(left < RECORD_HEADER))
        return 0;
    *length = field32(0, at + 8);
    wire = field32(0, at + 12);
    if (unlikely(wire != *length || *length > left - RECORD_HEADER))
        return 0;
    return RECORD_HEADER + (uint64_t)*length;
}

/* The same of an Enhanced Packet Block of an Ethernet interface, without options. */
static INLINE uint64_t block_bytes(const struct pcap_source *s, const uint8_t *at, uint64_t left,
                                   uint32_t *length)
{
    uint32_t bytes, id, wire;
    uint64_t stride;
    if (unlikely(left < EPB_HEADER + EPB_TRAILER || field32(0, at) != BLOCK_EPB))
        return 0;
    bytes = field32(0, at + 4);
    id = field32(0, at + 8);
    *length = field32(0, at + 20);
    wire = field32(0, at + 24);
    stride = padded(bytes);
    if (unlikely(stride > left || id >= s->n_interfaces || wire != *length))
        return 0;
    /* The frame fits, and behind it is at most opt_endofopt, which has 4 bytes. */
    if (unlikely(bytes - (uint64_t)*length - EPB_HEADER - EPB_TRAILER >= 8))
        return 0;
    if (unlikely(field32(0, at + stride - EPB_TRAILER) != bytes || !s->interfaces[id].plain))
        return 0;
    return stride;
}

/* The buffers of the next burst, most likely: a peer may have read them, and until they are here
 * again takes about as long as a burst. */
static const uint32_t *next_buffers(const struct stack *s, uint32_t n)
{
    return s->free + (s->top > n ? s->top - n : 0);
}

static INLINE uint32_t take(struct pcap_source *s, const uint32_t *index, struct packet *packets,
                            uint32_t n, uint32_t room, uint64_t *bytes, const int blocks)
{
    const uint32_t header = blocks ? EPB_HEADER : RECORD_HEADER;
    const struct pool pool = *s->q.pool;
    const uint8_t *const base = s->base;
    const uint32_t *const next = next_buffers(s->q.stack, n);
    uint64_t at = s->at, size = s->size, total = 0;
    uint32_t got, length = 0;
    for (got = 0; got < n; got++) {
        const uint8_t *record = base + at;
        uint64_t left = size - at, space, stride;
        struct packet p;
        stride =
            blocks ? block_bytes(s, record, left, &length) : record_bytes(record, left, &length);
        if (unlikely(!stride || length - 1 >= room))
            break;
        p = (struct packet){index[got], cache_offset(index[got]), (uint16_t)length};
        at += stride;
        __builtin_prefetch(base + at + AHEAD);
        prefetch_to_write(
            packet_data(&pool, (struct packet){next[got], cache_offset(next[got]), 0}));
        s->at = at;
        s->holding = got + 1;
        keep_order();
        left -= header;
        space = pool.size - p.offset;
        pcap_copy(packet_data(&pool, p), record + header, length, left < space ? left : space);
        total += length;
        packets[got] = p;
    }
    s->number += got;
    *bytes = total;
    return got;
}

uint32_t pcap_take_plain(struct pcap_source *s, const uint32_t *index, struct packet *packets,
                         uint32_t n, uint32_t room, uint64_t *bytes)
{
    return s->format == PCAP_NG ? take(s, index, packets, n, room, bytes, 1)
                                : take(s, index, packets, n, room, bytes, 0);
}
