// SPDX-License-Identifier: Apache-2.0
/* pcap, sink: the worker's side. Formats records into chunks that the writer process writes. */
#include "pcap_parts.h"

#include <unistd.h>

enum { EXTRA = 16 + 4 }; /* an epb_dropcount option, and opt_endofopt */

_Static_assert(sizeof(struct pcap_chunk) == PCAP_CHUNK, "a chunk is its header and its records");
_Static_assert(PCAP_ROOM + 64 == sizeof((struct pcap_chunk *)0)->records,
               "pcap_copy() may write beyond a record");

/* Compiled once for each way, so that one doesn't slow down the other. */
#define TEMPLATE static inline __attribute__((always_inline))

/* Stored word by word: copying an array from the stack in wider loads would stall store
 * forwarding. */
typedef uint32_t __attribute__((may_alias, aligned(1))) words;

static inline uint32_t record_bytes(uint32_t format, uint32_t caplen)
{
    return format == PCAP_NG ? EPB_HEADER + pad4(caplen) + EPB_TRAILER : RECORD_HEADER + caplen;
}

/* --- the worker's side --------------------------------------------------------------------- */

/* Writes an Enhanced Packet Block, padded with zeros. */
static inline void put_block(uint8_t *to, uint32_t interface, uint64_t ns, uint32_t caplen,
                             uint32_t length, const uint8_t *from, uint64_t room)
{
    const uint32_t zero = 0, total = EPB_HEADER + pad4(caplen) + EPB_TRAILER;
    words *header = (words *)to;
    header[0] = BLOCK_EPB;
    header[1] = total;
    header[2] = interface;
    header[3] = (uint32_t)(ns >> 32);
    header[4] = (uint32_t)ns;
    header[5] = caplen;
    header[6] = length;
    pcap_copy(to + EPB_HEADER, from, caplen, room);
    memcpy(to + EPB_HEADER + caplen, &zero, sizeof zero);
    memcpy(to + total - EPB_TRAILER, &total, sizeof total);
}

/* Writes a classic record. Returns 0 if its seconds don't fit 32 bits. */
static inline int put_record(uint8_t *to, uint64_t ns, uint32_t unit, uint32_t caplen,
                             uint32_t length, const uint8_t *from, uint64_t room)
{
    words *header = (words *)to;
    uint64_t seconds = ns / 1000000000;
    header[0] = likely(seconds <= UINT32_MAX) ? (uint32_t)seconds : UINT32_MAX;
    header[1] = (uint32_t)(ns % 1000000000) / unit;
    header[2] = caplen;
    header[3] = length;
    pcap_copy(to + RECORD_HEADER, from, caplen, room);
    return likely(seconds <= UINT32_MAX);
}

/* Writes an Enhanced Packet Block with the metadata of its source. Returns its length. */
static uint32_t put_kept(uint8_t *to, const struct origin *o, uint32_t option_bytes,
                         uint32_t caplen, const uint8_t *from, uint64_t room)
{
    uint32_t at = EPB_HEADER + pad4(caplen), n;
    put_block(to, o->interface, o->time, caplen, o->length, from, room);
    memcpy(to + at, o->options, option_bytes);
    n = pcap_options(BLOCK_EPB, to + at, option_bytes, (int)o->swapped);
    if (o->losses != UINT32_MAX) { /* epb_dropcount, then opt_endofopt */
        const uint32_t losses[4] = {8 << 16 | 4, o->losses, 0, 0};
        at += n ? n - 4 : 0;
        memcpy(to + at, losses, sizeof losses);
        n = sizeof losses;
    }
    at += n + EPB_TRAILER;
    ((words *)to)[1] = at;
    memcpy(to + at - EPB_TRAILER, &at, sizeof at);
    return at;
}

static void ring_bell(struct pcap_sink *s)
{
    const uint64_t one = 1;
    s->announced = s->ring.positions->published;
    __atomic_thread_fence(
        __ATOMIC_SEQ_CST); /* publish, then check `asleep`; pcap_sleep() in reverse */
    if (load_relaxed(&s->shared->asleep))
        (void)!write(s->bell_fd, &one, sizeof one);
}

/* Moves on to the next chunk, if the writer has finished with it. */
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

/* Where the next record goes. */
static inline uint8_t *end_of(const struct pcap_sink *s)
{
    return chunk_at(&s->ring, s->number)->records + s->fill;
}

/* Bytes that pcap_copy() may read and write beyond the packet's. */
static inline uint64_t copy_room(const struct pcap_sink *s, struct packet p)
{
    uint64_t here = s->q.pool->size - p.offset;
    uint64_t there = sizeof((struct pcap_chunk *)0)->records - s->fill - EPB_HEADER;
    return here < there ? here : there;
}

static inline void put(struct pcap_sink *s, struct packet p, uint32_t caplen, uint32_t length,
                       uint64_t ns)
{
    const uint8_t *from = packet_data(s->q.pool, p);
    uint32_t unit = s->ring.format == PCAP_NS ? 1 : 1000;
    if (s->ring.format == PCAP_NG)
        put_block(end_of(s), s->interface, ns, caplen, length, from, copy_room(s, p));
    else if (!put_record(end_of(s), ns, unit, caplen, length, from, copy_room(s, p)))
        s->misfits++;
}

uint8_t *pcap_reserve(struct pcap_sink *s, uint32_t bytes)
{
    if (unlikely((uint64_t)s->fill + bytes > PCAP_ROOM) && (bytes > PCAP_ROOM || !next_chunk(s)))
        return NULL;
    return end_of(s);
}

void pcap_commit(struct pcap_sink *s, uint32_t bytes)
{
    s->fill += bytes;
    store_release(&s->ring.positions->published, position(s->number, s->fill));
}

int pcap_note(struct pcap_sink *s, const uint8_t *blocks, uint32_t bytes)
{
    uint8_t *to = pcap_reserve(s, bytes);
    if (!to)
        return 0;
    memcpy(to, blocks, bytes);
    pcap_commit(s, bytes);
    return 1;
}

/* Publishes and counts the first `done` packets of a burst, and frees their buffers. */
static inline uint32_t sent(struct pcap_sink *s, struct packet *packets, uint32_t done, uint32_t n,
                            uint32_t first, uint64_t bytes)
{
    store_release(&s->ring.positions->published, position(s->number, s->fill));
    if (s->number != first || done < n)
        ring_bell(s);
    stack_give_packets(s->q.stack, packets, done);
    queue_count(&s->q, done, bytes);
    return done;
}

/* The bytes to keep of a packet. */
static inline uint32_t kept_of(struct pcap_sink *s, struct packet p, int sliced)
{
    uint32_t whole = least(p.length, s->snaplen);
    return sliced ? least(whole, pcap_headers(packet_data(s->q.pool, p), p.length)) : whole;
}

/* Counts what a slice has left out of a packet. */
static inline void count_slice(struct pcap_sink *s, struct packet p, uint32_t caplen)
{
    uint32_t without = least(p.length, s->snaplen);
    s->sliced += caplen < without;
    s->sliced_bytes += without - caplen;
}

/* Packets of a file: with their original lengths; from pcapng to pcapng with all metadata. */
TEMPLATE uint32_t tx_origins(struct pcap_sink *s, struct packet *packets, uint32_t n, int sliced)
{
    uint32_t done, first = s->number;
    uint64_t bytes = 0;
    for (done = 0; done < n; done++) {
        struct packet p = packets[done];
        const struct origin *o = &s->q.origins[done];
        uint32_t caplen = kept_of(s, p, sliced), need = record_bytes(s->ring.format, caplen);
        uint32_t options = o->kept ? o->option_bytes : 0;
        if (unlikely(options > PCAP_ROOM - need - EXTRA)) {
            options = 0;
            s->left_out++;
        }
        if (!pcap_reserve(s, need + options + EXTRA))
            break;
        if (o->kept)
            need =
                put_kept(end_of(s), o, options, caplen, packet_data(s->q.pool, p), copy_room(s, p));
        else
            put(s, p, caplen, o->length ? o->length : p.length, s->q.stamps[done]);
        s->fill += need;
        bytes += p.length;
        if (sliced)
            count_slice(s, p, caplen);
    }
    return sent(s, packets, done, n, first, bytes);
}

TEMPLATE uint32_t tx(struct queue *q, struct packet *packets, uint32_t n, int sliced)
{
    struct pcap_sink *s = (struct pcap_sink *)q;
    uint32_t done, first = s->number;
    uint64_t bytes = 0, now = 0;
    if (q->origins)
        return tx_origins(s, packets, n, sliced);
    for (done = 0; done < n; done++) {
        struct packet p = packets[done];
        uint32_t caplen = kept_of(s, p, sliced);
        uint32_t need = record_bytes(s->ring.format, caplen);
        uint64_t ns = q->stamps ? q->stamps[done] : STAMP_UNKNOWN;
        if (unlikely(s->fill + need > PCAP_ROOM) && !next_chunk(s))
            break;
        if (unlikely(ns == STAMP_UNKNOWN))
            ns = now = now ? now : clock_ns(CLOCK_REALTIME);
        put(s, p, caplen, p.length, ns);
        s->fill += need;
        bytes += p.length;
        if (sliced)
            count_slice(s, p, caplen);
    }
    return sent(s, packets, done, n, first, bytes);
}

uint32_t pcap_tx(struct queue *q, struct packet *packets, uint32_t n)
{
    return tx(q, packets, n, 0);
}

uint32_t pcap_tx_sliced(struct queue *q, struct packet *packets, uint32_t n)
{
    return tx(q, packets, n, 1);
}

/* Wakes the writer. Set only for pipes: for a file, the writer's timeout is soon enough. */
int pcap_flush(struct queue *q)
{
    struct pcap_sink *s = (struct pcap_sink *)q;
    if (s->announced != s->ring.positions->published)
        ring_bell(s);
    return 0;
}
