// SPDX-License-Identifier: Apache-2.0
/* One capture file through the reader, in each way that a job reads one: as a port to a NIC, with
 * Ethernet headers made, into another pcapng file, and looked into. The buffers are exactly as
 * large as they are said to be, so that AddressSanitizer sees each access beyond. */
#include "rings/pcap/pcap_look.h"

#include <stdlib.h>

enum { BUFFERS = 64, BUFFER = 2048, CHUNKS = 2 };

#define REQUIRE(what)                                                                              \
    if (!(what))                                                                                   \
    abort()

/* Packet memory and the sink's chunks, made once: all inputs use the same. */
static uint8_t *buffers;
static struct pcap_chunk *chunks;

/* What a job would have made for one source. */
struct bench {
    struct pool pool;
    uint32_t free[BUFFERS];
    struct stack stack;
    struct counters received, sent;
    uint64_t stamps[BURST_MAX];
    struct origin origins[BURST_MAX];
    struct pcap_source *source;
    struct pcap_sink *sink;
};

static struct bench *make(const uint8_t *data, size_t n, int adds_ethernet)
{
    struct bench *b = calloc(1, sizeof *b);
    struct pcap_source *s = b->source = calloc(1, sizeof *s);
    b->pool = (struct pool){buffers, BUFFER, BUFFERS};
    b->stack = (struct stack){BUFFERS, BUFFERS, b->free};
    for (uint32_t i = 0; i < BUFFERS; i++)
        b->free[i] = i;
    s->q.pool = &b->pool;
    s->q.stack = &b->stack;
    s->q.counters = &b->received;
    s->q.stamps = b->stamps;
    s->q.origins = b->origins;
    s->base = data;
    s->size = n;
    s->make_ethernet = (uint32_t)adds_ethernet;
    s->timer_fd = -1;
    return b;
}

static void make_sink(struct bench *b)
{
    struct pcap_sink *k = b->sink = calloc(1, sizeof *k);
    static const uint8_t header[] = {10,   13,   13,   10,   28, 0, 0,    0,    77,   60,
                                     43,   26,   1,    0,    0,  0, 0xFF, 0xFF, 0xFF, 0xFF,
                                     0xFF, 0xFF, 0xFF, 0xFF, 28, 0, 0,    0};
    static const uint8_t name[] = {4, 0, 4, 0, 't', 'e', 's', 't'};
    k->shared = calloc(1, sizeof *k->shared);
    k->snaplen = PCAP_LONGEST;
    k->bell_fd = -1;
    k->ring = (struct pcap_ring){k->shared->positions, chunks, CHUNKS, PCAP_NG};
    k->header = header;
    k->header_bytes = sizeof header;
    k->application = name;
    k->application_bytes = sizeof name;
    k->q.pool = &b->pool;
    k->q.stack = &b->stack;
    k->q.counters = &b->sent;
    k->q.stamps = b->stamps;
    k->q.origins = b->origins;
    b->source->sink = k;
}

static void end(struct bench *b)
{
    if (b->sink) {
        free(b->sink->shared);
        free(b->sink);
    }
    free(b->source);
    free(b);
}

/* Whole records come out of the sink, whatever went in. */
static void write_out(struct bench *b)
{
    uint8_t *from;
    uint32_t bytes;
    while ((bytes = pcap_peek(&b->sink->ring, &from))) {
        REQUIRE(pcap_whole(&b->sink->ring, from, bytes) == bytes);
        pcap_release(&b->sink->ring, bytes);
    }
}

static void give_back(struct bench *b, struct packet *packets, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        REQUIRE(packets[i].index < BUFFERS);
        REQUIRE(packets[i].offset + packets[i].length <= BUFFER);
    }
    if (b->sink) {
        uint32_t done = pcap_tx(&b->sink->q, packets, n);
        write_out(b);
        stack_give_packets(&b->stack, packets + done, n - done);
    } else {
        stack_give_packets(&b->stack, packets, n);
    }
}

static void read_all(struct bench *b, size_t n)
{
    struct packet packets[BURST_MAX];
    for (size_t bursts = 10 + n; !b->source->q.ended; bursts--) {
        REQUIRE(bursts); /* it ends */
        give_back(b, packets, pcap_rx(&b->source->q, packets, 32));
        if (b->sink)
            write_out(b);
    }
    REQUIRE(b->stack.top == BUFFERS);
}

enum { SLOTS = 8, ARRIVALS = 4, SEEN = 3 };

/* Every packet that is seen is counted, and its bytes can be read. */
static void look_into(struct pcap_source *s, size_t n)
{
    static struct pcap_flow flows[SLOTS], others[SLOTS];
    static struct pcap_arrival ring[ARRIVALS];
    static struct pcap_columns columns;
    struct pcap_seen seen[SEEN];
    struct pcap_tally tally = {0};
    struct pcap_flows table = {.at = flows, .slots = SLOTS, .most_slots = SLOTS};
    struct pcap_slice slice = {.first = 1,
                               .last = 5,
                               .flows = {.at = others, .slots = SLOTS, .most_slots = SLOTS}};
    struct pcap_bursts bursts = {.ring = ring, .slots = ARRIVALS, .most_slots = ARRIVALS};
    struct pcap_look l = {.source = s,
                          .left = UINT64_MAX,
                          .tally = &tally,
                          .flows = &table,
                          .bursts = &bursts,
                          .slices = &slice,
                          .n_slices = 1,
                          .columns = &columns,
                          .blocks = 1};
    uint64_t packets = 0;
    volatile uint8_t sum = 0;
    columns.n = 0;
    memset(flows, 0, sizeof flows);
    memset(others, 0, sizeof others);
    bursts.link_bps = 1;
    for (uint32_t i = 0; i < BURST_WINDOWS; i++)
        bursts.windows[i].ns = 10ull << 4 * i;
    for (size_t calls = 10 + n; l.halt != LOOK_END && l.halt != LOOK_FAULT; calls--) {
        uint32_t got = pcap_look(&l, seen, SEEN, 5);
        REQUIRE(calls); /* it ends */
        packets += got;
        for (uint32_t i = 0; i < got; i++)
            for (uint32_t at = 0; at < seen[i].length; at++)
                sum += seen[i].data[at];
        for (uint32_t at = 0; l.halt == LOOK_BLOCK && at < l.block.bytes; at++)
            sum += l.block.at[at];
    }
    REQUIRE(packets == tally.packets && packets == columns.n);
    for (uint32_t i = 0; i < SLOTS; i++)
        packets -= flows[i].packets[0] + flows[i].packets[1];
    REQUIRE(packets == table.beyond);
}

/* The file's bytes, in memory of just that size. */
static uint8_t *copy_of(const uint8_t *data, size_t n)
{
    uint8_t *copy = malloc(n ? n : 1);
    memcpy(copy, data, n);
    return copy;
}

/* As jobs/ does: looks through it, and reads what can be read. */
void pcap_one(const uint8_t *data, size_t n)
{
    uint8_t *copy = copy_of(data, n);
    if (!buffers) {
        buffers = calloc(BUFFERS, BUFFER);
        chunks = calloc(CHUNKS, sizeof *chunks);
    }
    for (int way = 0; n && way < 5; way++) {
        struct bench *b = make(copy, n, way & 1);
        struct pcap_source *s = b->source;
        while (pcap_survey(s, 1000))
            ;
        if (s->why == PCAP_WELL) {
            if (way & 2)
                make_sink(b);
            s->at = s->begin;
            s->number = s->foreign = 0;
            s->sections = s->n_interfaces = 0;
            if (way == 4)
                look_into(s, n);
            else
                read_all(b, n);
        }
        end(b);
    }
    free(copy);
}
