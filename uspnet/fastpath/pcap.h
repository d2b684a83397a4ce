/* SPDX-License-Identifier: Apache-2.0
 *
 * Capture files as rings. References: draft-ietf-opsawg-pcap (the classic format) and
 * draft-ietf-opsawg-pcapng; block and option names are theirs.
 */
#ifndef USPNET_PCAP_H
#define USPNET_PCAP_H
#include "fastpath.h"

// [python]
enum { PCAP_INTERFACES = 1024, PCAP_LONGEST = 262144 }; /* bytes of a packet, as in libpcap */
enum pcap_format { PCAP_NG, PCAP_US, PCAP_NS };

/* What is wrong with a file. */
enum pcap_why {
    PCAP_WELL,
    PCAP_CUT,     /* the file ends inside a record */
    PCAP_LENGTH,  /* a length that can't be */
    PCAP_ORDER,   /* a packet of an interface that was never described; no section header */
    PCAP_VERSION, /* a version that we don't know */
    PCAP_LINK,    /* not Ethernet */
    PCAP_TOO_MANY /* more interfaces than the table holds */
};

struct pcap_interface {
    uint64_t units; /* of its time stamps in a second; 0: finer than we can count */
    int64_t offset; /* seconds to add */
    uint32_t link_type;
    uint32_t snaplen; /* 0: no limit */
};

/* A file as a source. The mapping is read-only, and may change or shrink under our hands. */
struct pcap_source {
    struct queue q;
    const uint8_t *base;
    uint64_t size;
    uint64_t at;        /* offset of the next record or block */
    uint64_t begin;     /* where `at` starts */
    uint64_t number;    /* packets read in this pass */
    uint32_t format;    /* enum pcap_format */
    uint32_t swapped;   /* the file's (or section's) byte order is not ours */
    uint32_t loop;      /* start again at the end */
    uint32_t why;       /* enum pcap_why, with FAULT_MALFORMED */
    uint32_t link_type; /* that we can't take, with PCAP_LINK */
    uint32_t longest;   /* bytes of the longest packet that the survey saw */
    uint32_t n_interfaces;
    uint32_t unused;
    struct pcap_interface interfaces[1024];
};

/* Reads the classic file header, or nothing of a pcapng file. Returns enum pcap_why. */
uint32_t pcap_open(struct pcap_source *s);
/* Looks at up to n records or blocks, and notes the longest packet. Returns whether more follow;
 * at the end, or at a fault behind some packets, the source is back at its begin; a fault before
 * the first packet stays in why and at. */
uint32_t pcap_survey(struct pcap_source *s, uint32_t n);
uint32_t pcap_rx(struct queue *q, struct packet *packets, uint32_t n);

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

/* pcap_parse.c: one record or block on. STEP_FAULT leaves `at` at the trouble, and sets why. */
enum step { STEP_PACKET, STEP_OTHER, STEP_END, STEP_FAULT };

struct found {
    const uint8_t *data;
    uint32_t length;
    uint64_t ns; /* since 1970; 0: unknown */
};

enum step pcap_step(struct pcap_source *s, struct found *f);
void pcap_rewind(struct pcap_source *s);

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
