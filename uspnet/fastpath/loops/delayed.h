/* SPDX-License-Identifier: Apache-2.0
 *
 * Packets that wait until a time of their own, in a queue of a fixed size. Where they are due in
 * the order in which they come, it is a ring; otherwise a heap with four children a node, earliest
 * first. Fences as in fastpath.h. */
#ifndef USPNET_DELAYED_H
#define USPNET_DELAYED_H
#include "fastpath.h"

// [python]
struct delayed {
    uint64_t due;    /* ticks */
    uint64_t serial; /* which of two that are due at once came first */
    uint64_t stamp;  /* of the packet, with the delay added */
    struct packet packet;
};

struct delayed_queue {
    struct delayed *waiting;
    uint32_t n_waiting;   /* places */
    uint32_t first, used; /* places that are in use, from `first` on; a heap begins at 0 */
    uint32_t most;        /* that ever waited */
    uint64_t serial;      /* of the next packet */
};

/* All that waits is due later by so many ticks: the loop has paused. */
void delayed_move(struct delayed *waiting, uint32_t n, uint64_t ticks);
// [c]

enum { DELAYED_CHILDREN = 4 };

static inline int delayed_before(const struct delayed *a, const struct delayed *b)
{
    return a->due != b->due ? a->due < b->due : a->serial < b->serial;
}

static inline struct delayed *delayed_at(const struct delayed_queue *q, uint32_t at)
{
    uint64_t number = (uint64_t)q->first + at;
    return &q->waiting[number < q->n_waiting ? number : (number - q->n_waiting) % q->n_waiting];
}

static inline void delayed_push(struct delayed_queue *q, const struct delayed *d, uint32_t sorted)
{
    uint32_t at = q->used++;
    if (q->used > q->most)
        q->most = q->used;
    while (sorted && at && delayed_before(d, &q->waiting[(at - 1) / DELAYED_CHILDREN])) {
        q->waiting[at] = q->waiting[(at - 1) / DELAYED_CHILDREN];
        at = (at - 1) / DELAYED_CHILDREN;
    }
    *(sorted ? &q->waiting[at] : delayed_at(q, at)) = *d;
}

/* Takes the earliest one out of a heap: the last one moves down from the top. */
static inline void delayed_sink(struct delayed_queue *q)
{
    struct delayed last = q->waiting[--q->used];
    uint32_t at = 0, child;
    while ((child = at * DELAYED_CHILDREN + 1) < q->used) {
        uint32_t best = child;
        for (uint32_t i = child + 1; i < child + DELAYED_CHILDREN && i < q->used; i++)
            if (delayed_before(&q->waiting[i], &q->waiting[best]))
                best = i;
        if (delayed_before(&last, &q->waiting[best]))
            break;
        q->waiting[at] = q->waiting[best];
        at = best;
    }
    q->waiting[at] = last;
}

static inline struct delayed delayed_pop(struct delayed_queue *q, uint32_t sorted)
{
    struct delayed d = *delayed_at(q, 0);
    if (sorted) {
        delayed_sink(q);
    } else {
        q->first = q->first + 1 < q->n_waiting ? q->first + 1 : 0;
        q->used--;
    }
    return d;
}

#endif
