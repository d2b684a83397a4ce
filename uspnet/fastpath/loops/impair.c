// SPDX-License-Identifier: Apache-2.0
/* impair: a line that delays, loses, duplicates, corrupts and reorders packets, and has a rate. All
 * that happens to a packet is drawn when it comes; it then passes the bottleneck, if there is one,
 * and waits in its lane's queue; both have a fixed size. Without jitter and reordering packets are
 * due in the order in which they came. */
#include "line.h"

// [python]
void loop_impair(struct worker *w);
// [c]

/* --- arrival -------------------------------------------------------------------------------- */

/* A packet that came at `from` waits until it is due. */
static void await_due(const struct impair_loop *m, struct line *l, struct delayed d, uint64_t from)
{
    d.serial = l->q.serial++;
    if (d.stamp != STAMP_UNKNOWN)
        d.stamp += (uint64_t)((double)(d.due - from) * m->tick_ns);
    delayed_push(&l->q, &d, m->sorted);
}

/* Drops a packet that waits no longer, or a copy. */
static void give_up(struct impair_loop *m, struct lane *lane, struct packet p, uint32_t reason)
{
    queue_drop_packets(lane->exits->tx, reason, &p, 1);
    stack_give(m->f.w.stack, p.index);
}

/* What has passed the bottleneck until now waits for its delay. */
static __attribute__((noinline)) void pass(struct impair_loop *m, struct lane *lane, struct line *l,
                                           uint64_t now)
{
    struct queued q;
    uint64_t at;
    uint32_t passage;
    if (unlikely(l->b.used > l->b.n_places || l->b.first >= l->b.n_places))
        l->b.used = l->b.first = l->b.unsent = 0;
    while (l->q.used < l->q.n_waiting &&
           (passage = bottleneck_next(&l->b, now, &q, &at)) != PASSAGE_NONE) {
        struct delayed d = {.due = at + q.delay, .stamp = q.stamp, .packet = q.packet};
        if (passage == PASSAGE_LEFT)
            await_due(m, l, d, q.came);
        else
            give_up(m, lane, q.packet, DROP_CODEL);
    }
}

/* A packet goes into the bottleneck's queue. Returns as `enter`. */
static __attribute__((noinline)) uint32_t enter_bottleneck(struct impair_loop *m, struct lane *lane,
                                                           struct line *l, struct queued q)
{
    if (l->b.used >= l->b.n_places)
        return DROP_QUEUE_FULL;
    if (l->q.used + l->b.used + (l->b.unsent != 0) >= l->q.n_waiting)
        return DROP_IMPAIR_FULL;
    if (line_happens(l, m->corrupt))
        line_corrupt(l, lane->rx->pool, q.packet);
    (void)line_delays(m, l, &q.delay);
    bottleneck_put(&l->b, &q);
    return DROP_NONE;
}

/* The packet, or a copy of it, begins to wait. Returns why it can't; DROP_NONE: it does. */
static inline uint32_t enter(struct impair_loop *m, struct lane *lane, struct line *l,
                             struct packet p, uint64_t stamp, uint64_t now)
{
    struct delayed d = {.stamp = stamp, .packet = p};
    if (m->narrow) {
        struct queued q = {.came = now, .stamp = stamp, .packet = p};
        return enter_bottleneck(m, lane, l, q);
    }
    if (l->q.used >= l->q.n_waiting)
        return DROP_IMPAIR_FULL;
    if (line_happens(l, m->corrupt))
        line_corrupt(l, lane->rx->pool, p);
    d.due = line_due(m, l, p.length, now);
    await_due(m, l, d, now);
    return DROP_NONE;
}

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
    uint32_t why;
    int twice;
    if (line_loses(m, l)) {
        lane_discard(&m->f, lane, i, DROP_LOSS);
        return;
    }
    twice = line_happens(l, m->duplicate) && copy(m, lane, l, p, &twin);
    if ((why = enter(m, lane, l, p, stamp, now)) != DROP_NONE)
        lane_discard(&m->f, lane, i, why);
    if (twice && m->narrow) /* as between two packets */
        pass(m, lane, l, now);
    if (twice && (why = enter(m, lane, l, twin, stamp, now)) != DROP_NONE)
        give_up(m, lane, twin, why);
}

/* Whether packets have come that have not left. */
static int is_waiting(const struct line *l) { return l->q.used || l->b.used || l->b.unsent; }

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

/* For how many packets there is room, of `most`: each may become two. Where there never is room for
 * two, one is lost. */
static uint32_t for_two(uint32_t room, uint32_t most) { return room == 1 ? most == 1 : room / 2; }

/* The packets to ask for. A source that can wait does so when there is no place for them. */
static uint32_t wanted(const struct impair_loop *m, const struct lane *lane, const struct line *l)
{
    uint32_t want = burst_wanted(&m->f.w);
    uint32_t room = l->q.n_waiting - l->q.used, places = UINT32_MAX;
    if (!lane->rx->lossless && m->f.full != FULL_WAIT)
        return want;
    if (m->narrow) {
        uint32_t inside = l->b.used + (l->b.unsent != 0);
        room = room > inside ? room - inside : 0;
        places = l->b.n_places - l->b.used;
    }
    if (m->duplicate) {
        room = for_two(room, l->q.n_waiting);
        places = for_two(places, l->b.n_places);
    }
    return least(want, least(room, places));
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
    if (m->narrow)
        pass(m, lane, l, now);
    for (uint32_t i = 0; i < kept; i++) {
        arrive(m, lane, l, i, now);
        if (m->narrow) /* what leaves at once makes room for the next one */
            pass(m, lane, l, now);
    }
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

/* When the next packet is due; UINT64_MAX: none waits, or all for an exit that is full. */
static uint64_t next_due(const struct impair_loop *m)
{
    uint64_t due = UINT64_MAX;
    for (uint32_t i = 0; i < m->f.w.n_lanes; i++) {
        const struct line *l = line_of(m, i);
        int leaves = l->q.used && !exit_left(m->f.w.lanes[i].exits);
        if (leaves && l->q.used <= l->q.n_waiting && delayed_at(&l->q, 0)->due < due)
            due = delayed_at(&l->q, 0)->due;
        if (m->narrow && bottleneck_due(&l->b) < due)
            due = bottleneck_due(&l->b);
    }
    return due;
}

static int is_any_waiting(const struct impair_loop *m)
{
    for (uint32_t i = 0; i < m->f.w.n_lanes; i++)
        if (is_waiting(line_of(m, i)))
            return 1;
    return 0;
}

/* All packets that the job handles have come, and some still wait. */
static int is_finishing(const struct impair_loop *m)
{
    const struct worker *w = &m->f.w;
    return w->ending == END_COUNT && !load_acquire(&w->stop) &&
           !(w->deadline && ticks() >= w->deadline) && is_any_waiting(m);
}

/* Nothing moves until the next packet is due. */
static void wait_for(struct worker *w, uint64_t due)
{
    worker_rest(w);
    worker_await_with(w, w, due);
}

/* Drops what still waits when the loop ends. */
static void abandon(struct impair_loop *m)
{
    struct worker *w = &m->f.w;
    for (uint32_t i = 0; i < w->n_lanes; i++) {
        struct line *l = line_of(m, i);
        struct queued q;
        while (l->q.used && l->q.used <= l->q.n_waiting)
            give_up(m, &w->lanes[i], delayed_pop(&l->q, m->sorted).packet, DROP_ENDED);
        while (m->narrow && bottleneck_empty(&l->b, &q))
            give_up(m, &w->lanes[i], q.packet, DROP_ENDED);
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
