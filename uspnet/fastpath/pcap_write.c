// SPDX-License-Identifier: Apache-2.0
/* A capture file as a sink: workers format records into chunks, a writer process takes them. */
#include "pcap.h"

#include <unistd.h>

enum {
    EPB_HEADER = 28,
    EPB_TRAILER = 4,
    BLOCK_EPB = 6,
    RECORD_HEADER = 16,
    SLACK = 64, /* whole cache lines are copied: behind a record, this much may be overwritten */
    ROOM = sizeof((struct pcap_chunk *)0)->records - SLACK,
};

_Static_assert(sizeof(struct pcap_chunk) == PCAP_CHUNK, "a chunk is its header and its records");

/* Stored one by one: an array on the stack, copied in wider pieces, would stall on each store. */
typedef uint32_t __attribute__((may_alias, aligned(1))) words;

static inline uint64_t position(uint32_t number, uint32_t bytes)
{
    return (uint64_t)number << 32 | bytes;
}

static inline struct pcap_chunk *chunk_at(const struct pcap_ring *r, uint32_t number)
{
    return &r->chunks[number % r->n_chunks];
}

static inline uint32_t record_bytes(uint32_t format, uint32_t caplen)
{
    return format == PCAP_NG ? EPB_HEADER + pad4(caplen) + EPB_TRAILER : RECORD_HEADER + caplen;
}

/* --- the worker's side --------------------------------------------------------------------- */

/* An Enhanced Packet Block of interface 0. The padding is zero. */
static inline void put_block(uint8_t *to, uint64_t ns, uint32_t caplen, uint32_t length,
                             const uint8_t *from, uint64_t room)
{
    const uint32_t zero = 0, total = EPB_HEADER + pad4(caplen) + EPB_TRAILER;
    words *header = (words *)to;
    header[0] = BLOCK_EPB;
    header[1] = total;
    header[2] = 0;
    header[3] = (uint32_t)(ns >> 32);
    header[4] = (uint32_t)ns;
    header[5] = caplen;
    header[6] = length;
    pcap_copy(to + EPB_HEADER, from, caplen, room);
    memcpy(to + EPB_HEADER + caplen, &zero, sizeof zero);
    memcpy(to + total - EPB_TRAILER, &total, sizeof total);
}

/* A classic record: seconds and the part of a second, each in 32 bits. */
static inline void put_record(uint8_t *to, uint64_t ns, uint32_t unit, uint32_t caplen,
                              uint32_t length, const uint8_t *from, uint64_t room)
{
    words *header = (words *)to;
    header[0] = (uint32_t)(ns / 1000000000);
    header[1] = (uint32_t)(ns % 1000000000) / unit;
    header[2] = caplen;
    header[3] = length;
    pcap_copy(to + RECORD_HEADER, from, caplen, room);
}

static void ring_bell(struct pcap_sink *s)
{
    const uint64_t one = 1;
    s->announced = s->ring.positions->published;
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* we publish, then look; the writer the other way */
    if (load_relaxed(&s->shared->asleep))
        (void)!write(s->bell_fd, &one, sizeof one);
}

/* Goes on to the next chunk, if the writer is done with it. */
static int next_chunk(struct pcap_sink *s)
{
    uint32_t behind = (uint32_t)(load_acquire(&s->ring.positions->written) >> 32);
    if (s->number + 1 - behind >= s->ring.n_chunks)
        return 0;
    chunk_at(&s->ring, s->number)->bytes = s->fill; /* published with the new position */
    s->number++;
    s->fill = 0;
    return 1;
}

static inline void put(struct pcap_sink *s, struct packet p, uint32_t caplen, uint64_t ns)
{
    uint8_t *to = chunk_at(&s->ring, s->number)->records + s->fill;
    const uint8_t *from = packet_data(s->q.pool, p);
    uint64_t here = s->q.pool->size - p.offset;
    uint64_t there = sizeof((struct pcap_chunk *)0)->records - s->fill - EPB_HEADER;
    uint64_t room = here < there ? here : there;
    if (s->ring.format == PCAP_NG)
        put_block(to, ns, caplen, p.length, from, room);
    else
        put_record(to, ns, s->ring.format == PCAP_NS ? 1 : 1000, caplen, p.length, from, room);
}

uint32_t pcap_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct pcap_sink *s = (struct pcap_sink *)q;
    uint32_t done, first = s->number;
    uint64_t bytes = 0, now = 0;
    for (done = 0; done < n; done++) {
        struct packet p = packets[done];
        uint32_t caplen = least(p.length, s->snaplen);
        uint32_t need = record_bytes(s->ring.format, caplen);
        uint64_t ns = q->stamps ? q->stamps[done] : 0;
        if (unlikely(s->fill + need > ROOM) && !next_chunk(s))
            break;
        if (unlikely(!ns))
            ns = now = now ? now : clock_ns(CLOCK_REALTIME);
        put(s, p, caplen, ns);
        s->fill += need;
        bytes += p.length;
    }
    store_release(&s->ring.positions->published, position(s->number, s->fill));
    if (s->number != first || done < n)
        ring_bell(s);
    stack_give_packets(q->stack, packets, done);
    queue_count(q, done, bytes);
    return done;
}

/* Set for live outputs only: a file gets what waits within the writer's own patience. */
void pcap_flush(struct queue *q)
{
    struct pcap_sink *s = (struct pcap_sink *)q;
    if (s->announced != s->ring.positions->published)
        ring_bell(s);
}

/* --- the writer's side --------------------------------------------------------------------- */

uint32_t pcap_peek(struct pcap_ring *r, uint8_t **from)
{
    uint64_t published = load_acquire(&r->positions->published), written = r->positions->written;
    uint32_t number = (uint32_t)(written >> 32), done = (uint32_t)written;
    struct pcap_chunk *chunk = chunk_at(r, number);
    uint32_t end = number == published >> 32 ? (uint32_t)published : chunk->bytes;
    if (done == end && number != published >> 32) {
        store_release(&r->positions->written, position(number + 1, 0));
        return pcap_peek(r, from);
    }
    *from = chunk->records + done;
    return end - done;
}

void pcap_release(struct pcap_ring *r, uint32_t bytes)
{
    store_release(&r->positions->written, r->positions->written + bytes);
}

static uint32_t header_bytes(const struct pcap_ring *r)
{
    return r->format == PCAP_NG ? EPB_HEADER : RECORD_HEADER;
}

/* The size of the record at `at`; *length: of its packet on the wire. Both headers end alike. */
static uint32_t record_at(const struct pcap_ring *r, const uint8_t *at, uint32_t *length)
{
    const uint8_t *lengths = at + header_bytes(r) - 8;
    uint32_t caplen;
    memcpy(&caplen, lengths, sizeof caplen);
    memcpy(length, lengths + 4, sizeof *length);
    return record_bytes(r->format, caplen);
}

uint32_t pcap_whole(const struct pcap_ring *r, const uint8_t *from, uint32_t bytes)
{
    uint32_t at = 0, length;
    while (at + header_bytes(r) <= bytes) {
        uint32_t size = record_at(r, from + at, &length);
        if (size > bytes - at)
            break;
        at += size;
    }
    return at;
}

uint32_t pcap_sleep(struct pcap_shared *shared, struct pcap_ring *rings, uint32_t n)
{
    uint8_t *from;
    store_relaxed(&shared->asleep, 1);
    __atomic_thread_fence(__ATOMIC_SEQ_CST); /* we say so, then look; see ring_bell() */
    for (uint32_t i = 0; i < n; i++) {
        if (pcap_peek(&rings[i], &from)) {
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
        for (uint32_t at = 0; at < bytes; packets++) {
            uint32_t length;
            at += record_at(r, from + at, &length);
            *octets += length;
        }
        pcap_release(r, bytes);
    }
    return packets;
}
