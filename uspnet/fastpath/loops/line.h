/* SPDX-License-Identifier: Apache-2.0
 *
 * A line that impairs packets, and what is drawn for each of them. Fences as in fastpath.h. */
#ifndef USPNET_LINE_H
#define USPNET_LINE_H
#include "../splitmix.h"
#include "bottleneck.h"
#include "delayed.h"
#include "forward.h"

// [python]
/* A lane's line. */
struct line {
    struct delayed_queue q;
    uint32_t since; /* packets since the last reordered one */
    uint64_t seed, draws;
    uint64_t sent_until; /* ticks: the line is busy until then */
    uint64_t delayed, duplicated, corrupted, reordered;
    uint64_t bad_state; /* packets that found the line in the bad state, of Gilbert and Elliott */
    uint32_t state;
    struct bottleneck b;
};

struct impair_loop {
    struct forward_loop f;
    struct line *lines; /* one a lane */
    uint32_t n_lines;
    uint32_t sorted;                      /* the queues are heaps */
    uint32_t gap;                         /* packets between two reordered ones, at least */
    uint64_t loss[2], change[2];          /* in the good and the bad state; in 2^32nds */
    uint64_t duplicate, corrupt, reorder; /* likewise */
    uint64_t delay, jitter;               /* ticks */
    uint64_t byte_ticks;                  /* 2^20ths of a tick for each byte; 0: no rate */
    uint32_t narrow;                      /* the lines have a bottleneck, which has the rate */
    double tick_ns;
};
// [c]

static inline uint64_t line_draw(struct line *l) { return splitmix(l->seed + ++l->draws * GOLDEN); }

/* No number is drawn for what never happens. */
static inline int line_happens(struct line *l, uint64_t chance)
{
    return chance && line_draw(l) >> 32 < chance;
}

/* Whether a packet is lost, by the state that it finds; it may change that for the next one. */
static inline int line_loses(const struct impair_loop *m, struct line *l)
{
    uint32_t state = l->state & 1;
    l->bad_state += state;
    l->state = state ^ (uint32_t)line_happens(l, m->change[state]);
    return line_happens(l, m->loss[state]);
}

/* Draws how long a packet waits. Returns 0 for a reordered one, which does not. */
static inline int line_delays(const struct impair_loop *m, struct line *l, uint64_t *delay)
{
    *delay = m->delay;
    if (m->jitter) {
        *delay += line_draw(l) % (2 * m->jitter);
        *delay = *delay > m->jitter ? *delay - m->jitter : 0;
    }
    if (m->reorder && ++l->since >= m->gap && line_happens(l, m->reorder)) {
        l->since = 0;
        l->reordered++;
        *delay = 0;
        return 0;
    }
    l->delayed += *delay != 0;
    return 1;
}

/* When a packet that comes now leaves. */
static inline uint64_t line_due(struct impair_loop *m, struct line *l, uint32_t length,
                                uint64_t now)
{
    uint64_t delay, due;
    if (!line_delays(m, l, &delay))
        return now;
    due = now + delay;
    if (m->byte_ticks) {
        due = due > l->sent_until ? due : l->sent_until;
        due += (length * m->byte_ticks) >> LINK_BYTE_SHIFT;
        l->sent_until = due;
    }
    return due;
}

static inline void line_corrupt(struct line *l, const struct pool *pool, struct packet p)
{
    uint64_t drawn = line_draw(l);
    if (!p.length)
        return;
    packet_data(pool, p)[(drawn >> 32) * p.length >> 32] ^= (uint8_t)(1u << (drawn & 7));
    l->corrupted++;
}

#endif
