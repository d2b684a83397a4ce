/* SPDX-License-Identifier: Apache-2.0
 *
 * A bottleneck: a queue, FIFO or CoDel (RFC 8289), before a link that has a token bucket's rate, or
 * a trace of opportunities to send. Whenever it is asked, it works out in order what has happened
 * until then: its times do not depend on when that is. Fences as in fastpath.h. */
#ifndef USPNET_BOTTLENECK_H
#define USPNET_BOTTLENECK_H
#include "fastpath.h"

// [python]
enum passage { PASSAGE_NONE, PASSAGE_LEFT, PASSAGE_DROPPED };

/* A packet that waits. Times in ticks. */
struct queued {
    uint64_t came;
    uint64_t delay; /* that it has behind the link */
    uint64_t stamp;
    struct packet packet;
};

/* The variables of RFC 8289, section 5. Times in ticks. */
struct codel {
    uint64_t target, interval; /* interval 0: a FIFO */
    uint64_t first_above_time, drop_next;
    uint32_t count, lastcount;
    uint32_t dropping;
    uint32_t again; /* the packet taken before, at the same time, was dropped by drop_next */
};

struct bottleneck {
    struct queued *queue;
    uint32_t n_places;    /* 0: there is no bottleneck */
    uint32_t first, used; /* places that are in use, from `first` on */
    uint32_t most;        /* that ever were */
    uint32_t longest;     /* bytes of the longest packet */
    uint64_t bytes;       /* that wait */
    uint64_t longest_wait;
    struct codel codel;
    /* the rate */
    uint64_t byte_ticks; /* 2^20ths of a tick for each byte; 0: by the trace */
    uint64_t bucket;     /* ticks in which it fills */
    uint64_t full_at;    /* when it is full, if nothing more is taken out */
    uint64_t free_at;    /* when the link has sent what it took last */
    /* the trace: when an MTU may leave, from `base` on; it begins again at its last one */
    const uint64_t *trace;
    uint32_t n_trace, next;
    uint64_t base, at; /* at: the current opportunity's time */
    uint32_t left;     /* bytes of it */
    uint32_t unsent;   /* bytes of `sending` */
    struct queued sending;
};

/* Adds a packet, for which there is a place, after everything until it came was taken out. */
void bottleneck_put(struct bottleneck *b, const struct queued *q);
/* Takes out the next packet that has left, or was dropped, until now. Returns enum passage; *at:
 * when its last bit has left, or left the queue for being dropped. */
uint32_t bottleneck_next(struct bottleneck *b, uint64_t now, struct queued *q, uint64_t *at);
/* Takes out any packet. Returns whether there was one. */
uint32_t bottleneck_empty(struct bottleneck *b, struct queued *q);
/* When something happens next, if nothing comes; UINT64_MAX: nothing does. */
uint64_t bottleneck_due(const struct bottleneck *b);
/* Moves all of its times on: the loop has paused. */
void bottleneck_move(struct bottleneck *b, uint64_t ticks);
// [c]

enum { LINK_BYTE_SHIFT = 20 }; /* of byte_ticks */

#endif
