// SPDX-License-Identifier: Apache-2.0
/* impair: a line that delays, loses, duplicates, corrupts and reorders packets, and has a rate. All
 * that happens to a packet is drawn when it comes; it then waits in its lane's queue, whose size is
 * fixed. Without jitter and reordering packets are due in the order in which they came. */
#include "../splitmix.h"
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
};

struct impair_loop {
    struct forward_loop f;
    struct line *lines; /* one a lane */
    uint32_t n_lines;
    uint32_t sorted;                            /* the queues are heaps */
    uint32_t gap;                               /* packets between two reordered ones, at least */
    uint64_t loss, duplicate, corrupt, reorder; /* in 2^32nds */
    uint64_t delay, jitter;                     /* ticks */
    uint64_t byte_ticks;                        /* 2^20ths of a tick for each byte; 0: no rate */
    double tick_ns;
};
void loop_impair(struct worker *w);
// [c]

enum { BYTE_SHIFT = 20 };

/* --- what happens --------------------------------------------------------------------------- */

static uint64_t draw(struct line *l) { return splitmix(l->seed + ++l->draws * GOLDEN); }

/* No number is drawn for what never happens. */
static int happens(struct line *l, uint64_t chance) { return chance && draw(l) >> 32 < chance; }

/* --- arrival -------------------------------------------------------------------------------- */

/* When a packet that comes now leaves. A reordered one does not wait. */
static uint64_t due_of(struct impair_loop *m, struct line *l, uint32_t length, uint64_t now)
{
    uint64_t delay = m->delay, due;
    if (m->jitter) {
        delay += draw(l) % (2 * m->jitter);
        delay = delay > m->jitter ? delay - m->jitter : 0;
    }
    if (m->reorder && ++l->since >= m->gap && happens(l, m->reorder)) {
        l->since = 0;
        l->reordered++;
        return now;
    }
    l->delayed += delay != 0;
    due = now + delay;
    if (m->byte_ticks) {
        due = due > l->sent_until ? due : l->sent_until;
        due += (length * m->byte_ticks) >> BYTE_SHIFT;
        l->sent_until = due;
    }
    return due;
}

static void corrupt(struct line *l, const struct pool *pool, struct packet p)
{
    uint64_t drawn = draw(l);
    if (!p.length)
        return;
    packet_data(pool, p)[(drawn >> 32) * p.length >> 32] ^= (uint8_t)(1u << (drawn & 7));
    l->corrupted++;
}

/* The packet, or a copy of it, begins to wait; there is a place for it. */
static void await_turn(struct impair_loop *m, struct lane *lane, struct line *l, struct packet p,
                       uint64_t stamp, uint64_t now)
{
    struct delayed d = {.serial = l->q.serial++, .stamp = stamp, .packet = p};
    if (happens(l, m->corrupt))
        corrupt(l, lane->rx->pool, p);
    d.due = due_of(m, l, p.length, now);
    if (stamp != STAMP_UNKNOWN)
        d.stamp += (uint64_t)((double)(d.due - now) * m->tick_ns);
    delayed_push(&l->q, &d, m->sorted);
}

static int has_place(const struct line *l) { return l->q.used < l->q.n_waiting; }

/* Makes a copy, which counts as dropped where there is no buffer. Returns whether there is one. */
static int copy(struct impair_loop *m, struct lane *lane, struct line *l, struct packet from,
                struct packet *to)
{
    struct queue *tx = lane->exits->tx;
    tx->counters->copied++;
    l->duplicated++;
    *to = from;
    if (!stack_take(m->f.w.stack, &to->index, 1)) {
        queue_drop_packets(tx, DROP_NO_ROOM, &from, 1);
        return 0;
    }
    memcpy(packet_data(lane->rx->pool, *to), packet_data(lane->rx->pool, from), from.length);
    return 1;
}

static void arrive(struct impair_loop *m, struct lane *lane, struct line *l, uint32_t i,
                   uint64_t now)
{
    struct packet p = lane->received.packets[i], twin;
    uint64_t stamp = lane->rx->stamps ? lane->received.stamps[i] : STAMP_UNKNOWN;
    int twice;
    if (happens(l, m->loss)) {
        lane_discard(&m->f, lane, i, DROP_LOSS);
        return;
    }
    twice = happens(l, m->duplicate) && copy(m, lane, l, p, &twin);
    if (has_place(l))
        await_turn(m, lane, l, p, stamp, now);
    else
        lane_discard(&m->f, lane, i, DROP_IMPAIR_FULL);
    if (!twice)
        return;
    if (has_place(l)) {
        await_turn(m, lane, l, twin, stamp, now);
    } else {
        queue_drop_packets(lane->exits->tx, DROP_IMPAIR_FULL, &twin, 1);
        stack_give(m->f.w.stack, twin.index);
    }
}

/* --- departure ------------------------------------------------------------------------------ */

/* Fills the exit with what is due. */
static void depart(struct impair_loop *m, struct line *l, struct exit *e, uint64_t now)
{
    exit_hold(e, 0);
    while (e->held < BURST_MAX && l->q.used && delayed_at(&l->q, 0)->due <= now) {
        struct delayed d = delayed_pop(&l->q, m->sorted);
        e->burst.packets[e->held] = d.packet;
        if (e->tx->stamps)
            e->burst.stamps[e->held] = d.stamp;
        if (e->tx->origins) /* what its file says of it is gone by now */
            e->burst.origins[e->held] = (struct origin){0};
        e->held++;
    }
}

/* The packets to ask for. A source that can wait does so when there is no place for them. */
static uint32_t wanted(const struct impair_loop *m, const struct lane *lane, const struct line *l)
{
    uint32_t want = burst_wanted(&m->f.w), room = l->q.n_waiting - l->q.used;
    if (!lane->rx->lossless && m->f.full != FULL_WAIT)
        return want;
    if (m->duplicate) /* each may become two */
        room = l->q.used ? room / 2 : (room + 1) / 2;
    return least(want, room);
}

/* One lane's turn. Returns the packets moved. */
static uint32_t impair_round(struct impair_loop *m, struct lane *lane, struct line *l)
{
    struct exit *e = lane->exits;
    uint32_t moved, kept = 0;
    uint64_t now;
    if (unlikely(l->q.used > l->q.n_waiting || l->q.first >= l->q.n_waiting))
        l->q.used = l->q.first = 0;
    moved = lane_receive(&m->f.w, lane, &lane->received, wanted(m, lane, l), &kept);
    now = ticks();
    for (uint32_t i = 0; i < kept; i++)
        arrive(m, lane, l, i, now);
    if (!exit_left(e))
        depart(m, l, e, now);
    if (exit_left(e))
        moved += exit_pass(&m->f, lane, e);
    return moved;
}

/* --- the loop ------------------------------------------------------------------------------- */

static struct line *line_of(const struct impair_loop *m, uint32_t lane)
{
    return &m->lines[lane < m->n_lines ? lane : 0];
}

/* When the next packet is due; UINT64_MAX: none waits. */
static uint64_t next_due(const struct impair_loop *m)
{
    uint64_t due = UINT64_MAX;
    for (uint32_t i = 0; i < m->f.w.n_lanes; i++) {
        const struct line *l = line_of(m, i);
        if (l->q.used && l->q.used <= l->q.n_waiting && delayed_at(&l->q, 0)->due < due)
            due = delayed_at(&l->q, 0)->due;
    }
    return due;
}

/* All packets that the job handles have come, and some still wait. */
static int is_finishing(const struct impair_loop *m)
{
    const struct worker *w = &m->f.w;
    return w->ending == END_COUNT && !load_acquire(&w->stop) &&
           !(w->deadline && ticks() >= w->deadline) && next_due(m) != UINT64_MAX;
}

/* Nothing moves until the next packet is due. */
static void wait_for(struct worker *w, uint64_t due)
{
    if (!w->idle_since) {
        w->idle_since = ticks();
        for (uint32_t i = 0; i < w->n_lanes; i++) {
            struct queue *tx = w->lanes[i].exits->tx;
            if (tx->flush && !load_relaxed(&tx->closed))
                tx->flush(tx);
        }
    }
    worker_await_with(w, w, due);
}

/* Drops what still waits when the loop ends. */
static void abandon(struct impair_loop *m)
{
    struct worker *w = &m->f.w;
    for (uint32_t i = 0; i < w->n_lanes; i++) {
        struct line *l = line_of(m, i);
        while (l->q.used && l->q.used <= l->q.n_waiting) {
            struct packet p = delayed_pop(&l->q, m->sorted).packet;
            queue_drop_packets(w->lanes[i].exits->tx, DROP_ENDED, &p, 1);
            stack_give(w->stack, p.index);
        }
    }
    lanes_abandon(w);
}

void loop_impair(struct worker *w)
{
    struct impair_loop *m = (struct impair_loop *)w;
    worker_begin(w);
    while (worker_continue(w) || is_finishing(m)) {
        uint32_t moved = 0;
        uint64_t due;
        for (uint32_t i = 0; i < w->n_lanes; i++)
            moved += impair_round(m, &w->lanes[i], line_of(m, i));
        if (likely(moved))
            worker_busy(w);
        else if ((due = next_due(m)) != UINT64_MAX)
            wait_for(w, due);
        else
            worker_idle(w);
    }
    abandon(m);
    w->end = ticks();
}

/* All that waits is due later by so many ticks: the loop has paused. */
void delayed_move(struct delayed *waiting, uint32_t n, uint64_t ticks)
{
    for (uint32_t i = 0; i < n; i++)
        waiting[i].due += ticks;
}
