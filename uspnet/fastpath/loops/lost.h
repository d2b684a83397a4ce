/* SPDX-License-Identifier: Apache-2.0
 *
 * Which packets were lost, for how long, and the packets themselves, made once more. Fences as in
 * fastpath.h.
 *
 * A number is decided when it leaves the window of those that may still come: it came, or it is
 * lost. A packet is made from what its sender has logged when it was sent.
 *
 * The process may be killed at any instruction. Another one decides once more from `decided` on,
 * which comes to the same: what a loss changes is set by what was before it, and not added up. */
#ifndef USPNET_LOST_H
#define USPNET_LOST_H
#include "template.h"

// [python]
enum { LOSSES_KEPT = 1000 };

/* Sequence numbers of one stream: `next` is the next one to be sent. Of those received, there is a
 * window of the latest 65,536 (compare RFC 4737). */
struct stream {
    uint64_t next; /* the number after the highest seen */
    uint64_t received, duplicated, reordered, stale;

    uint64_t *latencies; /* of those received: HISTOGRAM_SLOTS counts; streams may share them */

    /* Of those received: how the delay of packets differs from that of the one before, by number
     * (RFC 3550, 6.4.1 and A.8; RFC 3393). Times in ns. */
    uint64_t delay;          /* of the highest number seen */
    uint64_t jitter;         /* times 16 */
    uint64_t difference_sum; /* without signs */
    uint64_t difference_max; /* the same */
    uint64_t unpaired;       /* numbers above all others whose predecessor had not come */
    uint64_t seen[1024];     /* a bit a number, modulo 65,536 */
};

/* What the latest packets of a stream were made from, by their numbers modulo `room`. */
struct sent_log {
    uint64_t *times;  /* of the signature: CLOCK_MONOTONIC in ns */
    uint64_t *turns;  /* packets that the fields were applied to before */
    uint32_t *places; /* in the cycle of templates */
    uint64_t room;    /* a power of two, and several windows */
    uint64_t *turn;   /* the fields' counter; NULL: none */
};

/* Packets that were lost in a row. Times are those of the neighbours that came back, as sent. */
struct loss {
    uint64_t first, packets;
    uint64_t before, after; /* CLOCK_MONOTONIC in ns */
    uint32_t stream;
    uint32_t ended; /* one came back after it; otherwise `after` is the end of the run */
};

/* What packets are made from, once more: as in `struct generate_loop`. */
struct sent_traffic {
    const struct frame_template *templates;
    uint32_t n_templates;
    uint32_t n_order;
    const uint32_t *order;
    uint32_t stamp_at;
    uint32_t flow_index;   /* of the field program that the fields are: it says which flow it is */
    uint64_t *by_template; /* packets written, of each template */
    uint64_t *by_flow;     /* the same of each flow; NULL: there are none */
    uint64_t n_flows;
};

/* The losses of one stream. */
struct stream_losses {
    const struct stream *sender;
    uint64_t *times;         /* when those were sent that came, by their numbers modulo 65,536 */
    uint64_t decided;        /* all numbers below are */
    uint64_t before;         /* when the latest of those was sent that came; at first: the start */
    uint64_t first, packets; /* the loss that goes on; packets 0: none */
    uint64_t row;            /* its number among all losses, from 1, if it is ending; else 0 */
    uint64_t lost, lost_before; /* packets lost, with it and without it */

    /* Only if packets are written. */
    const struct sent_log *log; /* or NULL */
    uint64_t *marks;            /* a bit a number, modulo the log's room: it is to be written */
    uint64_t written;           /* all numbers below are, or can't be any more */
    struct sent_traffic *traffic;
    struct field *fields; /* as the sender's; may be NULL */
    uint64_t **turns;     /* their counters */
    uint32_t n_turns;
};

struct losses {
    struct stream_losses *streams;
    uint32_t n_streams;
    uint64_t made;     /* losses so far */
    struct loss *rows; /* the first LOSSES_KEPT */
    struct loss longest[2];
    uint32_t which;  /* longest[which] is the longest one, by time */
    uint64_t secret; /* as in `struct generate_loop` */
    uint64_t epoch;  /* CLOCK_MONOTONIC 0, in ns since 1970 */
    uint64_t ends;   /* CLOCK_MONOTONIC in ns: all had been sent; 0: not yet */
};
int losses_advance(struct losses *l, uint32_t stream, const struct stream *received,
                   uint64_t number);
int losses_write(struct losses *l, struct worker *w, int last);
// [c]

enum { WINDOW = 65536, DECIDED_AT_ONCE = 64 };

_Static_assert(sizeof(((struct stream *)0)->seen) * 8 == WINDOW, "a bit a number");

void losses_finish(struct losses *l, struct worker *w, const struct stream *received);

/* Notes that a packet came. Returns 0 if its number is decided already. */
static inline int losses_see(struct losses *l, uint32_t stream, const struct stream *received,
                             uint64_t number, uint64_t time)
{
    struct stream_losses *s = &l->streams[stream];
    if (unlikely(number - s->decided >= WINDOW) && !losses_advance(l, stream, received, number))
        return 0;
    s->times[number % WINDOW] = time;
    return 1;
}

#endif
