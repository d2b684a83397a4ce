/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers and the loops that they run: who moves packets between queues, and until when.
 * Above the "[c]" fence as in fastpath.h: what Python sees, too.
 */
#ifndef USPNET_WORKER_H
#define USPNET_WORKER_H
#include "fastpath.h"

// [python]
enum poll_mode { POLL_BUSY, POLL_ADAPTIVE, POLL_SLEEP };
enum rewrite { REWRITE_NONE, REWRITE_MACSWAP };
enum when_full { FULL_DROP, FULL_WAIT };
enum ending { RUNNING, END_STOPPED, END_DEADLINE, END_COUNT, END_SOURCE };

/* A receive queue and where its packets go (forward), or one of the two alone (drop, generate). */
struct lane {
    struct queue *rx, *tx;
    uint32_t from, held; /* packets[from … held - 1] wait for room in tx */
    uint32_t tried;      /* these packets were refused before */
    uint32_t unused;
    struct packet packets[64];
    uint64_t stamps[64];
    struct origin origins[64];
};

/* Sequence numbers seen of one stream, with a window of the latest 65,536 (RFC 4737 in spirit). */
struct stream {
    uint64_t next; /* the number after the highest seen */
    uint64_t received, duplicated, reordered, stale;
    uint64_t seen[1024]; /* a bit a number, modulo 65,536 */
};

/* Which checksum covers a signature, and how it follows. */
enum check { CHECK_NONE, CHECK_SUM, CHECK_CRC };

/* A frame to be sent, and the one checksum in it that a signature changes. */
struct frame_template {
    const uint8_t *frame; /* complete, without FCS */
    uint32_t length;
    uint16_t check;      /* enum check */
    uint16_t check_at;   /* offset of the checksum in the frame */
    uint32_t base;       /* SUM: the sum of all it covers but the signature; CRC: under zeros */
    uint16_t zero;       /* SUM: what stands for a checksum of 0 */
    uint16_t turned;     /* SUM: the signature and `base` have their bytes swapped */
    const uint32_t *crc; /* CRC: what each byte of the signature changes, [18][256] */
};

/* Frames without signatures are told from others by all that follows their MAC addresses. */
struct lookup {
    const struct frame_template *templates;
    uint32_t *slots; /* number of a template, plus 1; 0: free */
    uint32_t mask;   /* slots less 1; slots are a power of two, and never all used */
    uint64_t received;
};

struct worker {
    uint32_t stop;    /* set by Python, read once a round */
    uint32_t pause;   /* set by Python: touch nothing until it is 0 again */
    uint32_t paused;  /* set by the worker when it has seen that */
    uint32_t poll;    /* enum poll_mode */
    uint32_t burst;   /* packets a burst, 1 … BURST_MAX */
    uint32_t rewrite; /* enum rewrite, forward only */
    uint32_t full;    /* enum when_full, forward only */
    uint32_t ending;  /* enum ending, set by the loop */
    int32_t wake_fd;  /* eventfd by which Python ends a sleep */
    uint32_t n_lanes;
    struct lane *lanes;
    struct stack *stack;
    uint64_t *budget;    /* packets left to handle, shared by a job's workers; may be NULL */
    uint64_t deadline;   /* ticks; 0: none */
    uint64_t spin;       /* ticks without work before an adaptive worker sleeps */
    uint64_t idle_since; /* ticks; 0: not idle */
    uint64_t in_vain;    /* sleeps in a row that were ended by a call, and for no work */
    uint64_t start, end; /* ticks at the loop's first and last round */
    uint64_t first;      /* ticks when the first packets had moved; 0: none yet */
    uint64_t ticks_hz;

    /* generate */
    const struct frame_template *templates; /* sent in turn */
    uint32_t n_templates;
    uint32_t stamp_at; /* offset of the 18-byte signature in every frame; 0: none */
    uint64_t *turn;    /* packets begun by all workers together; only of several templates */
    double rate;       /* packets a second; 0: as fast as the ring takes them */
    double seconds;    /* how long the rate is kept; 0: no end */
    uint64_t total;    /* packets due in that time */
    uint64_t offered;

    /* measure */
    struct stream *streams;
    uint32_t n_streams;
    uint32_t first_stream; /* generate: the number of streams[0] */
    uint64_t unsigned_packets;
    uint64_t secret;       /* hides the time in a signature: of this run alone */
    uint64_t began;        /* CLOCK_MONOTONIC in ns: no signature is older */
    struct lookup *lookup; /* without signatures: what our packets look like; else NULL */
    uint64_t *histogram;   /* HISTOGRAM_SLOTS latencies in ns, log-linear: 32 slots an octave */
    struct worker *guest;  /* generate: a measuring worker without a thread of its own, or NULL */
};

void loop_generate(struct worker *w);
void loop_forward(struct worker *w);
void loop_drop(struct worker *w);
void loop_measure(struct worker *w);

uint64_t ticks_now(void);
void lookup_add(struct lookup *l, uint32_t number);
uint64_t histogram_floor(uint32_t slot); /* ns: the smallest latency that falls into the slot */
// [c]

/* A fresh burst of n packets in the lane, none sent yet. */
static inline void lane_hold(struct lane *lane, uint32_t n)
{
    lane->from = lane->tried = 0;
    lane->held = n;
}

/* Sends what the lane holds and returns how many were taken. The rest found the ring full. */
static inline uint32_t lane_send(struct lane *lane)
{
    uint32_t n = lane->held - lane->from;
    uint32_t sent = queue_burst(lane->tx, lane->packets + lane->from, n);
    lane->from += sent;
    if (unlikely(sent < n) && !lane->tried) {
        lane->tried = 1;
        lane->tx->counters->stalled += n - sent;
    }
    return sent;
}

int worker_continue(struct worker *w);
void worker_idle(struct worker *w);
uint64_t worker_claim(struct worker *w, uint64_t n);
uint32_t measure_round(struct worker *w);

static inline void worker_busy(struct worker *w)
{
    if (unlikely(!w->first))
        w->first = ticks();
    w->idle_since = 0;
}

#endif
