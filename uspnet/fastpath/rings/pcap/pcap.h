/* SPDX-License-Identifier: Apache-2.0
 *
 * Capture files as rings: a source (pcap_read.c) and a sink (pcap_write.c). References:
 * draft-ietf-opsawg-pcap (the classic format) and draft-ietf-opsawg-pcapng, whose names of blocks
 * and options are used here. */
#ifndef USPNET_PCAP_H
#define USPNET_PCAP_H
#include "fastpath.h"
#include "timing.h"

// [python]
enum {
    PCAP_INTERFACES = 1024,
    PCAP_LONGEST = 262144,  /* bytes of a packet, as in libpcap */
    PCAP_WINDOW = 17 << 20, /* bytes of a stream in memory: more than a block of 16 MiB */
    PCAP_HELD = 1 << 20,    /* bytes of a mapped file whose pages are given back at a time */
    PCAP_KEPT = 32 << 20    /* bytes of the largest whose pages are kept, to be read again */
};
/* What follows the end of a file: nothing; the next pass; or one when `ended` is cleared. */
enum pcap_loop { PCAP_ONCE, PCAP_FOREVER, PCAP_IN_TURNS };
/* What becomes of packets of which the file has only a part. */
enum pcap_truncated { PCAP_SEND, PCAP_PAD, PCAP_SKIP };
enum pcap_format { PCAP_UNKNOWN, PCAP_NG, PCAP_US, PCAP_NS };

/* What is wrong with a file. */
enum pcap_why {
    PCAP_WELL,
    PCAP_CUT,      /* the file ends within a record */
    PCAP_LENGTH,   /* an invalid length */
    PCAP_ORDER,    /* no section header, or a packet of an interface without a description */
    PCAP_VERSION,  /* an unknown version */
    PCAP_TOO_MANY, /* more than PCAP_INTERFACES interfaces */
    PCAP_ANOTHER,  /* another classic file was appended */
    PCAP_TORN      /* a part of the stream was lost with the worker process */
};

/* The order of a record's two lengths, by the file's version. The smaller one is the captured
 * one. */
enum pcap_lengths {
    PCAP_AS_NOW, /* 2.4 */
    PCAP_EITHER, /* 2.3: depends on the program that wrote it */
    PCAP_OLDER   /* before: the length on the wire isn't reliable */
};

/* An interface of a section. A time in ns is ticks * times / divisor >> shift, plus the offset. */
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

/* A block without a packet that is being parsed: what was before, to parse it again. */
struct pcap_begun {
    uint64_t at;        /* the source's `at`, plus 1; 0: none */
    uint64_t published; /* by the source's sink, if it has one */
    uint32_t n_interfaces, sections, swapped;
};

/* The contents of a stream's window that are being moved to its start. */
struct pcap_move {
    uint64_t from; /* their offset; 0: none are */
    uint64_t bytes, passed;
};

/* A file as a source: a read-only mapping, which others may change or truncate meanwhile, or a
 * window of what came through a pipe. */
struct pcap_source {
    struct queue q;
    const uint8_t *base;
    uint64_t size;
    uint64_t at;        /* offset of the next record or block */
    uint64_t begin;     /* offset of the first record or block */
    uint64_t number;    /* packets read in this pass */
    uint64_t behind;    /* the pages of a mapped file before this offset were given back */
    uint64_t passed;    /* bytes of a stream before the window */
    uint64_t need;      /* bytes that must follow `at` before a stream can be parsed further */
    uint32_t format;    /* enum pcap_format */
    uint32_t swapped;   /* the file or section is in the other byte order */
    uint32_t lengths;   /* enum pcap_lengths */
    uint32_t loop;      /* enum pcap_loop */
    uint32_t why;       /* enum pcap_why, with FAULT_MALFORMED */
    uint32_t live;      /* a stream that hasn't ended */
    uint32_t mapped;    /* a file whose pages are given back */
    int32_t stream_fd;  /* of the pipe */
    uint32_t longest;   /* bytes of the longest packet that the survey found */
    uint32_t usable;    /* the survey found a packet that can be delivered */
    uint32_t link_type; /* of the first packet that can't be delivered */
    uint64_t foreign;   /* packets dropped for their link type */

    uint32_t when_truncated; /* enum pcap_truncated */
    uint64_t truncated;      /* packets of which the file has only a part, in all passes */
    uint32_t padding;        /* some packet of this burst is to be padded */
    uint16_t padded[64];     /* to this length; 0: not */

    /* ethernet=add: packets of other link types get an Ethernet header. */
    uint32_t make_ethernet;
    uint32_t source_given; /* else the source address of the packet's own link header is used */
    uint8_t macs[12];      /* destination, source */

    /* Packets without a time, or with one that does not fit 64 bits of ns; the number of the
     * first. */
    uint64_t timeless, timeless_first;

    /* timing=on: the file's own timing, on CLOCK_MONOTONIC. */
    struct timing clock; /* in ns */
    uint64_t due;        /* due time of the packet that waits; 0: none */
    uint64_t now;
    int32_t timer_fd;
    uint32_t timing;      /* enabled */
    uint32_t passed_over; /* the last burst ended with records that aren't delivered; more follow */

    /* The sink that blocks without packets are copied to, from pcapng to pcapng; NULL: none. */
    struct pcap_sink *sink;
    uint32_t holding;  /* packets of this burst, which are not in the sink yet */
    uint32_t carried;  /* the block at `at` is in the sink already */
    uint32_t sections; /* begun in this pass */
    uint32_t pass;
    uint32_t
        single; /* the first pass found one section; further passes don't copy its description */

    /* For pcap_revive(). */
    struct pcap_begun begun;
    struct pcap_move move;
    uint32_t reading; /* 1 while `size` does not tell of a read() */
    uint64_t canary;  /* written behind the window's contents before a read() */

    uint32_t n_interfaces;
    struct pcap_interface interfaces[1024];
};

/* Parses up to n records or blocks, and sets `longest`. Returns whether more follow. At the end,
 * or at a fault behind some packets, the source is rewound; a fault before the first packet
 * stays in `why` and `at`. */
uint32_t pcap_survey(struct pcap_source *s, uint32_t n);
uint32_t pcap_rx(struct queue *q, struct packet *packets, uint32_t n);
int pcap_arm(struct queue *q, int on);
/* After the process of the queue's worker has ended at any instruction: makes `at` the boundary of
 * a record or block. No worker runs. */
void pcap_revive(struct pcap_source *s);
int pcap_can_make(uint32_t link_type); /* can its packets get an Ethernet header? */
int pcap_timer(void);                  /* a descriptor for timer_fd; -1: errno */

/* The sink: workers format records into chunks of shared memory; a writer process, which signals
 * to the capture don't reach, writes them to the file. Each queue has a ring of chunks. A record
 * lies within one chunk. A position is a chunk's sequence number << 32 | bytes in it, and a
 * record's boundary. */
enum { PCAP_RINGS = 64, PCAP_CHUNK = 262144, PCAP_TAIL = 16384 };
enum { PCAP_ROOM = 262016 }; /* bytes of the records of a chunk */

struct pcap_positions {
    uint64_t published; /* by the worker: all before it is complete records */
    uint64_t pad0[15];
    uint64_t written;              /* by the writer: all before it is in the file */
    uint64_t beyond, beyond_bytes; /* by the writer: packets after the end of the last file */
    /* By the writer, see pcap_hold.h: what it has looked at; packets that no trigger asked for. */
    uint64_t scanned, untriggered, untriggered_bytes;
    uint64_t pad1[10];
};

struct pcap_chunk {
    uint32_t bytes; /* of records, set when the worker moves on to the next chunk */
    uint32_t pad[15];
    uint8_t records[262080];
};

struct pcap_shared {
    uint32_t asleep;       /* by the writer: it waits for the eventfd */
    int32_t error;         /* by the writer: the errno that ended it */
    uint32_t tail;         /* bytes in tail_bytes, set by the parent before the writer may end */
    uint32_t passed;       /* by the writer: all queues have packets later than those asked for */
    uint64_t asked_ns;     /* by the parent: a trigger at this time; UINT64_MAX: at the newest */
    uint64_t triggered_ns; /* by the writer: the time of the trigger; 0: none yet */
    uint64_t held_ns;      /* by the writer: the packets held began here, too late; 0: in time */
    uint32_t cached;       /* by the writer: what was to go past the page cache goes through it */
    uint32_t unused[3];
    uint64_t taken; /* by the writer: bytes that pipes have taken, also of pieces under way */
    uint8_t tail_bytes[16384];
    struct pcap_positions positions[65]; /* of PCAP_RINGS, and of the command's own ring */
};

struct pcap_ring {
    struct pcap_positions *positions;
    struct pcap_chunk *chunks;
    uint32_t n_chunks;
    uint32_t format;  /* enum pcap_format */
    uint32_t staged;  /* by the writer: 1: it has taken more than is in the file */
    uint32_t patient; /* by the writer: 1: a chunk that is not full is nothing to wake up for */
    uint64_t taken;   /* up to here, then */
};

struct pcap_sink {
    struct queue q;
    struct pcap_shared *shared;
    struct pcap_ring ring;
    uint32_t snaplen;
    uint32_t interface;            /* number in the section */
    uint32_t fill;                 /* bytes in the current chunk */
    uint32_t number;               /* of the current chunk */
    int32_t bell_fd;               /* eventfd that wakes the writer */
    uint64_t announced;            /* the position published at the last wake-up */
    uint64_t misfits;              /* packets whose time the format can't represent */
    uint64_t left_out;             /* blocks or options omitted: too long for a chunk */
    uint64_t sliced, sliced_bytes; /* by pcap_tx_sliced: packets that were cut, and what of them */

    /* The file's header when the source has no description, and our shb_userappl option. */
    const uint8_t *header, *application;
    uint32_t header_bytes, application_bytes;
    uint32_t begun; /* the file has a header */
};

uint32_t pcap_tx(struct queue *q, struct packet *packets, uint32_t n);
/* The same with no more of a packet than its headers. */
uint32_t pcap_tx_sliced(struct queue *q, struct packet *packets, uint32_t n);
int pcap_flush(struct queue *q);
/* The same for the sink: it goes on behind what was published. -1: that is out of range. */
int pcap_sink_revive(struct pcap_sink *s);
/* The command's own ring, which no worker fills: publishes whole blocks. 0: no room now. */
int pcap_note(struct pcap_sink *s, const uint8_t *blocks, uint32_t bytes);

/* The writer's side. peek: bytes ready at *from, all in one chunk; release: they were written;
 * take: they will be, and their room isn't free yet; settle: all before a position was; whole: how
 * many of these bytes are complete records; sleep: 1 if the writer may wait for the eventfd. */
uint32_t pcap_peek(struct pcap_ring *r, uint8_t **from);
/* The same from another position on, which moves to the chunk that has these bytes. */
uint32_t pcap_peek_at(const struct pcap_ring *r, uint64_t *position, uint8_t **from);
void pcap_release(struct pcap_ring *r, uint32_t bytes);
uint64_t pcap_taken(const struct pcap_ring *r); /* the position that peek begins at */
void pcap_take(struct pcap_ring *r, uint32_t bytes);
void pcap_settle(struct pcap_ring *r, uint64_t position);
uint32_t pcap_whole(const struct pcap_ring *r, const uint8_t *from, uint32_t bytes);
/* Copies records, or other bytes, into a block. */
void pcap_stage(uint8_t *to, const uint8_t *from, uint32_t bytes);
/* cut: the bytes of whole records up to the one that reaches `room` bytes or `*packets` packets,
 * which becomes their number. */
uint32_t pcap_cut(const struct pcap_ring *r, const uint8_t *from, uint32_t bytes, uint64_t room,
                  uint64_t *packets);
uint32_t pcap_sleep(struct pcap_shared *shared, struct pcap_ring *rings, uint32_t n);
/* Discards what will not be written any more. Returns packets; *octets: their bytes on the wire. */
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

/* pcap_write.c. reserve: space for a record in the ring; NULL: none now, and never for
 * more than PCAP_ROOM. commit: publishes it. */
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

/* A record as the writer sees it, whatever its worker has put there: within `bytes`. */
struct pcap_record {
    const uint8_t *data;
    uint64_t ns;
    uint32_t size; /* of all; 0: this is no record */
    uint32_t caplen, length;
    uint32_t is_packet;
};

struct pcap_record pcap_record_at(const struct pcap_ring *r, const uint8_t *at, uint32_t bytes);

static inline uint32_t pad4(uint32_t n) { return (n + 3) & ~3u; }

/* Copies whole cache lines if both buffers have room for them: no call, no branch for the rest. */
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
