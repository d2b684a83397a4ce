/* SPDX-License-Identifier: Apache-2.0
 *
 * Capture files as rings. References: draft-ietf-opsawg-pcap (the classic format) and
 * draft-ietf-opsawg-pcapng; block and option names are theirs.
 */
#ifndef USPNET_PCAP_H
#define USPNET_PCAP_H
#include "fastpath.h"

// [python]
enum {
    PCAP_INTERFACES = 1024,
    PCAP_LONGEST = 262144, /* bytes of a packet, as in libpcap */
    PCAP_WINDOW = 17 << 20 /* bytes of a stream in memory: a block of 16 MiB, and what follows */
};
enum pcap_format { PCAP_UNKNOWN, PCAP_NG, PCAP_US, PCAP_NS };

/* What is wrong with a file. */
enum pcap_why {
    PCAP_WELL,
    PCAP_CUT,      /* the file ends inside a record */
    PCAP_LENGTH,   /* a length that can't be */
    PCAP_ORDER,    /* a packet of an interface that was never described; no section header */
    PCAP_VERSION,  /* a version that we don't know */
    PCAP_TOO_MANY, /* more interfaces than the table holds */
    PCAP_ANOTHER   /* the header of another classic file */
};

/* A record's two lengths, in files older than 2.4: the smaller is the captured one. */
enum pcap_lengths {
    PCAP_AS_NOW,
    PCAP_EITHER, /* 2.3: the order is the writing program's */
    PCAP_OLDER   /* before: the other one isn't reliable */
};

/* Nanoseconds are ticks * times / divisor >> shift, plus the offset. */
struct pcap_interface {
    uint64_t times, divisor;
    int64_t offset; /* seconds to add */
    uint32_t shift;
    uint32_t plain; /* Ethernet without FCS; a time is its ticks * times, when that fits */
    uint32_t link_type;
    uint32_t snaplen; /* 0: no limit */
    uint32_t fcs;     /* bytes at the end of each packet */
};

struct pcap_sink;

/* A file as a source: a read-only mapping, which may change or shrink under our hands, or a window
 * over what came through a pipe so far. */
struct pcap_source {
    struct queue q;
    const uint8_t *base;
    uint64_t size;
    uint64_t at;        /* offset of the next record or block */
    uint64_t begin;     /* where `at` starts */
    uint64_t number;    /* packets read in this pass */
    uint64_t passed;    /* bytes of a stream that came before the window */
    uint64_t need;      /* bytes from `at` on without which a stream can't go on */
    uint32_t format;    /* enum pcap_format */
    uint32_t swapped;   /* the file's (or section's) byte order is not ours */
    uint32_t lengths;   /* enum pcap_lengths */
    uint32_t loop;      /* start again at the end */
    uint32_t why;       /* enum pcap_why, with FAULT_MALFORMED */
    uint32_t live;      /* a stream that may bring more */
    int32_t stream;     /* the pipe behind the window */
    uint32_t longest;   /* bytes of the longest packet that the survey saw */
    uint32_t usable;    /* did the survey see a packet that can be delivered? */
    uint32_t link_type; /* of the first packet that can't be */
    uint64_t foreign;   /* packets left out for their link type */

    /* Packets without an Ethernet header may get one: these two addresses, destination first. */
    uint32_t make_ethernet;
    uint32_t source_given; /* else a source address in the packet's own link header is used */
    uint8_t macs[12];

    /* Packets without a time, or with one that does not fit 64 bits of ns. */
    uint64_t timeless, timeless_first;

    /* The file's own timing, on CLOCK_MONOTONIC. */
    double pace;                /* ns to wait for each ns between two packets; 0: don't */
    uint64_t gap_max;           /* ns: the longest wait */
    uint64_t last_ns, last_due; /* of the last packet that was due */
    uint64_t due;               /* of the one that waits; 0: none */
    uint64_t now;
    int32_t timer_fd;
    uint32_t timing; /* it is followed */
    uint32_t paced;  /* last_ns is set */

    /* Where blocks without packets go, when they go on from pcapng to pcapng; NULL: nowhere. */
    struct pcap_sink *sink;
    uint32_t holding;  /* packets of this burst are not in the sink yet */
    uint32_t sections; /* begun in this pass */
    uint32_t pass;
    uint32_t single; /* the first pass saw one section: the next ones need not describe it */

    uint32_t n_interfaces;
    struct pcap_interface interfaces[1024];
};

/* Looks at up to n records or blocks, and notes the longest packet. Returns whether more follow;
 * at the end, or at a fault behind some packets, the source is back at its begin; a fault before
 * the first packet stays in why and at. */
uint32_t pcap_survey(struct pcap_source *s, uint32_t n);
uint32_t pcap_rx(struct queue *q, struct packet *packets, uint32_t n);
int pcap_arm(struct queue *q, int on);
int pcap_can_make(uint32_t link_type); /* an Ethernet header that says the same? */
int pcap_timer(void);                  /* a descriptor for timer_fd; -1: errno */

/* The sink: workers format records into chunks of shared memory; a writer process, which no signal
 * to the capture can hit, writes them to the file. One ring of chunks a queue; a record lies in one
 * chunk. A position is a chunk's running number << 32 | bytes of it, and is a record's boundary. */
enum { PCAP_RINGS = 64, PCAP_CHUNK = 262144, PCAP_TAIL = 512 };

struct pcap_positions {
    uint64_t published; /* by the worker: all before it is whole records */
    uint64_t apart[15];
    uint64_t written; /* by the writer: all before it is in the file */
    uint64_t alone[15];
};

struct pcap_chunk {
    uint32_t bytes; /* of records, once the worker has gone on to the next chunk */
    uint32_t aligned[15];
    uint8_t records[262080];
};

struct pcap_shared {
    uint32_t asleep; /* by the writer: ring the bell when there is something */
    int32_t error;   /* by the writer: errno that ended it */
    uint32_t tail;   /* bytes below, written by the parent before it lets the writer go */
    uint32_t unused[13];
    uint8_t tail_bytes[512];
    struct pcap_positions positions[64];
};

struct pcap_ring {
    struct pcap_positions *positions;
    struct pcap_chunk *chunks;
    uint32_t n_chunks;
    uint32_t format; /* enum pcap_format */
};

struct pcap_sink {
    struct queue q;
    struct pcap_shared *shared;
    struct pcap_ring ring;
    uint32_t snaplen;
    uint32_t fill;      /* bytes in the current chunk */
    uint32_t number;    /* of the current chunk */
    int32_t bell_fd;    /* eventfd that wakes the writer */
    uint64_t announced; /* the position when the bell last rang */
    uint64_t misfits;   /* packets whose time the format can't hold */
    uint64_t left_out;  /* blocks or options too long for a chunk */

    /* What a file begins with when its source describes nothing, and the option that names us. */
    const uint8_t *header, *application;
    uint32_t header_bytes, application_bytes;
    uint32_t begun; /* the file has a header */
};

uint32_t pcap_tx(struct queue *q, struct packet *packets, uint32_t n);
void pcap_flush(struct queue *q);

/* The writer's side. peek: bytes ready at *from, all in one chunk; release: they are in the file;
 * whole: how many of these bytes are whole records; sleep: 1 if the writer may await the bell. */
uint32_t pcap_peek(struct pcap_ring *r, uint8_t **from);
void pcap_release(struct pcap_ring *r, uint32_t bytes);
uint32_t pcap_whole(const struct pcap_ring *r, const uint8_t *from, uint32_t bytes);
uint32_t pcap_sleep(struct pcap_shared *shared, struct pcap_ring *rings, uint32_t n);
/* Counts and forgets what the writer will never write. Returns packets; *octets: their bytes. */
uint64_t pcap_forget(struct pcap_ring *r, uint64_t *octets);
// [c]

enum { BLOCK_PACKET = 2, BLOCK_SPB = 3, BLOCK_EPB = 6 };
enum {
    BLOCK_IDB = 1,
    BLOCK_NRB = 4,
    BLOCK_ISB = 5,
    BLOCK_JOURNAL = 9,
    BLOCK_DSB = 10,
    BLOCK_CUSTOM = 0x0BAD,
    BLOCK_SHB = 0x0A0D0D0A, /* reads the same in both byte orders */
    ORDER_MAGIC = 0x1A2B3C4D,
};
enum { EPB_HEADER = 28, EPB_TRAILER = 4, RECORD_HEADER = 16, BLOCK_LEAST = 12 };
enum { LINK_ETHERNET = 1 };

/* pcap_write.c: room for a record in the ring; NULL: none now. commit: n bytes are a record. */
uint8_t *pcap_reserve(struct pcap_sink *s, uint32_t bytes);
void pcap_commit(struct pcap_sink *s, uint32_t bytes);
static inline uint64_t position(uint32_t number, uint32_t bytes)
{
    return (uint64_t)number << 32 | bytes;
}

static inline struct pcap_chunk *chunk_at(const struct pcap_ring *r, uint32_t number)
{
    return &r->chunks[number % r->n_chunks];
}

enum { PCAP_ROOM = sizeof((struct pcap_chunk *)0)->records - 64 }; /* 64: see pcap_copy() */

static inline uint32_t pad4(uint32_t n) { return (n + 3) & ~3u; }

/* Copies whole cache lines where both sides have them: no call, no branch on small lengths. */
static inline void pcap_copy(uint8_t *to, const uint8_t *from, uint32_t n, uint64_t room)
{
    if (likely((n + 63ull) / 64 * 64 <= room)) {
        for (uint32_t at = 0; at < n; at += 64)
            memcpy(to + at, from + at, 64);
    } else {
        memcpy(to, from, n);
    }
}

#endif
