// SPDX-License-Identifier: Apache-2.0
/* pcap, sink: the writer's side. Takes records out of the chunks. */
#include "pcap.h"

/* A worker process that somebody controls may write any positions and lengths: then there is
 * nothing to take. In order, a worker is less than a lap ahead; what a position further on
 * promises would be all chunks again and again, and the file would grow without end. */
uint32_t pcap_peek_at(const struct pcap_ring *r, uint64_t *at, uint8_t **from)
{
    uint64_t published = load_acquire(&r->positions->published);
    uint32_t last = (uint32_t)(published >> 32), number = (uint32_t)(*at >> 32),
             done = (uint32_t)*at;
    for (uint32_t i = 0; i < r->n_chunks && last - number < r->n_chunks; i++) {
        struct pcap_chunk *chunk = chunk_at(r, number);
        uint32_t end = number == last ? (uint32_t)published : load_relaxed(&chunk->bytes);
        *from = chunk->records + done;
        if (done < end && end <= sizeof chunk->records)
            return end - done;
        if (done != end || number == last)
            break;
        done = 0;
        *at = position(++number, 0);
    }
    return 0;
}

uint64_t pcap_taken(const struct pcap_ring *r)
{
    return r->staged ? r->taken : r->positions->written;
}

static void move_to(struct pcap_ring *r, uint64_t position)
{
    if (r->staged)
        r->taken = position;
    else
        store_release(&r->positions->written, position);
}

uint32_t pcap_peek(struct pcap_ring *r, uint8_t **from)
{
    uint64_t at = pcap_taken(r);
    uint32_t bytes = pcap_peek_at(r, &at, from);
    if (at != pcap_taken(r))
        move_to(r, at);
    return bytes;
}

void pcap_release(struct pcap_ring *r, uint32_t bytes) { move_to(r, pcap_taken(r) + bytes); }

void pcap_take(struct pcap_ring *r, uint32_t bytes)
{
    r->taken = pcap_taken(r) + bytes;
    r->staged = 1;
}

void pcap_settle(struct pcap_ring *r, uint64_t position)
{
    r->staged &= position != r->taken;
    store_release(&r->positions->written, position);
}

void pcap_stage(uint8_t *to, const uint8_t *from, uint32_t bytes) { memcpy(to, from, bytes); }

enum { BLOCK_HEADER = 8 };

/* The bytes of a record that include its size. */
static uint32_t header_bytes(const struct pcap_ring *r)
{
    return r->format == PCAP_NG ? BLOCK_HEADER : RECORD_HEADER;
}

static uint32_t word_at(const uint8_t *at)
{
    uint32_t v;
    memcpy(&v, at, sizeof v);
    return v;
}

static uint32_t record_at(const struct pcap_ring *r, const uint8_t *at)
{
    return r->format == PCAP_NG ? word_at(at + 4) : RECORD_HEADER + word_at(at + 8);
}

uint32_t pcap_whole(const struct pcap_ring *r, const uint8_t *from, uint32_t bytes)
{
    uint32_t at = 0;
    while (at + header_bytes(r) <= bytes) {
        uint32_t size = record_at(r, from + at);
        if (size > bytes - at || size < header_bytes(r))
            break;
        at += size;
    }
    return at;
}

/* Is this record, of which `bytes` are known, a packet? */
static int is_packet(const struct pcap_ring *r, const uint8_t *at, uint32_t bytes)
{
    return r->format != PCAP_NG || (bytes >= EPB_HEADER && word_at(at) == BLOCK_EPB);
}

uint32_t pcap_cut(const struct pcap_ring *r, const uint8_t *from, uint32_t bytes, uint64_t room,
                  uint64_t *packets)
{
    uint64_t most = *packets;
    uint32_t at = 0;
    *packets = 0;
    while (at < room && *packets < most && bytes - at >= header_bytes(r)) {
        uint32_t size = record_at(r, from + at);
        if (size > bytes - at || size < header_bytes(r))
            break;
        *packets += is_packet(r, from + at, bytes - at);
        at += size;
    }
    return at;
}

/* Is there something to write now? */
static int calls(struct pcap_ring *r)
{
    uint8_t *from;
    if (!pcap_peek(r, &from))
        return 0;
    return !r->patient || pcap_taken(r) >> 32 != load_acquire(&r->positions->published) >> 32;
}

uint32_t pcap_sleep(struct pcap_shared *shared, struct pcap_ring *rings, uint32_t n)
{
    store_relaxed(&shared->asleep, 1);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* set `asleep`, then check; see ring_bell() */
    for (uint32_t i = 0; i < n; i++) {
        if (calls(&rings[i])) {
            store_relaxed(&shared->asleep, 0);
            return 0;
        }
    }
    return 1;
}

uint64_t pcap_forget(struct pcap_ring *r, uint64_t *octets)
{
    uint64_t packets = 0;
    uint32_t bytes;
    uint8_t *from;
    while ((bytes = pcap_peek(r, &from))) {
        uint32_t whole = pcap_whole(r, from, bytes);
        for (uint32_t at = 0; at < whole; at += record_at(r, from + at)) {
            int counts = is_packet(r, from + at, whole - at);
            packets += counts;
            if (counts) /* both kinds of header end with the length on the wire */
                *octets +=
                    word_at(from + at + (r->format == PCAP_NG ? EPB_HEADER : RECORD_HEADER) - 4);
        }
        pcap_release(r, bytes);
    }
    return packets;
}

struct pcap_record pcap_record_at(const struct pcap_ring *r, const uint8_t *at, uint32_t bytes)
{
    const uint32_t is_ng = r->format == PCAP_NG, header = is_ng ? EPB_HEADER : RECORD_HEADER;
    const uint32_t frame = is_ng ? EPB_HEADER + EPB_TRAILER : RECORD_HEADER;
    struct pcap_record found = {.data = at + header};
    uint32_t size = bytes < header_bytes(r) ? 0 : record_at(r, at);
    if (size > bytes || size < header_bytes(r))
        return found;
    found.size = size;
    if (size < frame || !is_packet(r, at, bytes))
        return found;
    found.is_packet = 1;
    found.caplen = least(word_at(at + header - 8), size - frame);
    found.length = word_at(at + header - 4);
    if (is_ng)
        found.ns = (uint64_t)word_at(at + 12) << 32 | word_at(at + 16);
    else
        found.ns =
            word_at(at) * 1000000000ull + word_at(at + 4) * (r->format == PCAP_NS ? 1ull : 1000ull);
    return found;
}
