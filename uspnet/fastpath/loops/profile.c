// SPDX-License-Identifier: Apache-2.0
/* profile: generators that take turns, each of which sends what is due by its own pace. */
#include "profile.h"

enum {
    GRACE_NS = 20000000, /* CPU time of this thread */
    DRY_HZ = 1000000000, /* ticks a second of a dry run */
};

/* Gives a stream what it shares with the others. A pause changes the start. */
static struct generate_loop *attach(struct profile_loop *p, uint32_t i)
{
    struct generate_loop *g = p->streams[i].g;
    g->w.lanes = &p->w.lanes[i];
    g->w.n_lanes = 1;
    g->w.stack = p->w.stack;
    g->w.burst = p->w.burst;
    g->w.start = p->w.start;
    g->w.ticks_hz = p->w.ticks_hz;
    return g;
}

/* When the next packet of a stream is due, in ticks since the start: at `elapsed`, if it sends as
 * fast as it can; PACE_NEVER: no more is. */
static uint64_t next_due(const struct profile_loop *p, const struct profile_stream *s,
                         uint64_t elapsed)
{
    struct generate_loop *g = s->g;
    double hz = (double)p->w.ticks_hz;
    if (g->w.budget && !load_relaxed(g->w.budget))
        return PACE_NEVER;
    if (g->pace) {
        (void)pace_ready(g->pace, 0, 1); /* fills the table */
        return g->pace->due[g->pace->at];
    }
    if ((double)elapsed < s->begins * hz)
        return s->begins < s->ends ? (uint64_t)(s->begins * hz) : PACE_NEVER;
    return (double)elapsed < s->ends * hz ? elapsed : PACE_NEVER;
}

/* Sends a burst of one stream, if one is due. Returns the packets sent. */
static uint32_t send_one(struct profile_loop *p, uint32_t i, uint64_t elapsed, uint64_t *due)
{
    struct generate_loop *g = attach(p, i);
    uint64_t waiting;
    uint32_t sent;
    *due = next_due(p, &p->streams[i], elapsed);
    if (*due > elapsed)
        sent = generate_held(g);
    else if (g->pace)
        sent = generate_due(g, elapsed, &waiting);
    else
        sent = generate_now(g, &waiting);
    p->streams[i].sent += sent;
    return sent;
}

/* Gives each stream a turn. Returns the packets sent; `waiting` counts those that wait for room,
 * `next` is when the next packet of any stream is due. */
static uint32_t send_round(struct profile_loop *p, uint64_t elapsed, uint64_t *waiting,
                           uint64_t *next)
{
    uint32_t moved = 0;
    *waiting = 0;
    *next = PACE_NEVER;
    for (uint32_t i = 0; i < p->w.n_lanes; i++) {
        uint64_t due;
        moved += send_one(p, i, elapsed, &due);
        *waiting += exit_left(p->w.lanes[i].exits);
        *next = due < *next ? due : *next;
    }
    return moved;
}

/* Nothing is due: waits for the next packet, as pace_await does for one pace. */
static void await_next(struct profile_loop *p, uint64_t next)
{
    struct worker *w = &p->w;
    uint64_t began = ticks(), until = next < PACE_ALL ? w->start + next : began + w->ticks_hz, woke;
    worker_await_with(w, p->inline_receiver ? &p->inline_receiver->w : NULL, until);
    woke = ticks();
    if (w->poll == POLL_BUSY || until <= began)
        return;
    for (uint32_t i = 0; i < w->n_lanes; i++)
        if (p->streams[i].g->pace)
            pace_slept(p->streams[i].g->pace, began, woke < until ? woke : until);
}

/* What came back, where no other thread receives it. Returns the packets received. */
static uint32_t receive(struct profile_loop *p)
{
    return p->inline_receiver ? measure_round(p->inline_receiver) : 0;
}

static void run(struct profile_loop *p)
{
    struct worker *w = &p->w;
    uint64_t waiting, next;
    while (worker_continue(w)) {
        uint64_t now = ticks();
        for (uint32_t i = 0; i < w->n_lanes; i++)
            if (p->streams[i].g->pace)
                pace_look(p->streams[i].g->pace, now);
        uint32_t received = receive(p);
        uint32_t moved = send_round(p, now - w->start, &waiting, &next);
        if (!moved && !waiting && next == PACE_NEVER) {
            w->ending = END_SOURCE;
            break;
        }
        moved += received;
        if (!moved && waiting) {
            worker_idle(w);
            continue;
        }
        worker_busy(w); /* also between two packets */
        if (!moved)
            await_next(p, next);
    }
}

/* As in generate.c: sends what was due before the end and was delayed, for GRACE_NS at most. The
 * rest counts as unsent; without a pace, what waits counts as not begun. */
static void finish(struct profile_loop *p)
{
    struct worker *w = &p->w;
    uint64_t elapsed = w->ending == END_STOPPED ? ticks() - w->start : PACE_ALL;
    uint64_t grace = clock_ns(CLOCK_THREAD_CPUTIME_ID) + GRACE_NS, left, due;
    do {
        left = 0;
        (void)receive(p);
        for (uint32_t i = 0; i < w->n_lanes; i++) {
            struct profile_stream *s = &p->streams[i];
            if (s->g->pace)
                (void)send_one(p, i, elapsed, &due);
            else
                s->sent += generate_held(attach(p, i));
            left += exit_left(w->lanes[i].exits);
            left += s->g->pace && next_due(p, s, elapsed) <= elapsed;
        }
        (void)worker_continue(w); /* pauses if Python asks for it */
    } while (left && clock_ns(CLOCK_THREAD_CPUTIME_ID) < grace);
    for (uint32_t i = 0; i < w->n_lanes; i++) {
        struct generate_loop *g = p->streams[i].g;
        if (g->pace)
            g->offered += worker_claim(&g->w, pace_rest(g->pace, elapsed));
        else
            g->offered -= exit_left(w->lanes[i].exits);
    }
}

/* Finds the stream whose packet is due first; of several, the first one. `due`: when it is; `then`:
 * when the first packet of the others is. */
static uint32_t find_first(const struct profile_loop *p, uint64_t *due, uint64_t *then)
{
    uint32_t first = 0;
    *due = *then = PACE_NEVER;
    for (uint32_t i = 0; i < p->w.n_lanes; i++) {
        uint64_t at = next_due(p, &p->streams[i], 0);
        if (at < *due) {
            *then = *due;
            *due = at;
            first = i;
        } else if (at < *then) {
            *then = at;
        }
    }
    return first;
}

/* Takes packets of one stream that are due before those of all others. */
static void fill_dry(struct profile_loop *p, uint32_t i, uint64_t due, uint64_t then)
{
    struct generate_loop *g = attach(p, i);
    struct exit *e = p->w.lanes[i].exits;
    if (g->pace) {
        uint32_t n = pace_ready(g->pace, then ? then - 1 : 0, g->w.burst);
        generate_fill(g, e, n ? n : 1);
        return;
    }
    generate_fill(g, e, g->w.burst);
    for (uint32_t k = 0; k < e->held; k++)
        e->burst.stamps[k] = due;
}

/* Writes the packets of all streams in the order in which they would be due, stamped with that, in
 * ns since the start. */
static void run_dry(struct profile_loop *p)
{
    struct worker *w = &p->w;
    uint32_t at = 0;
    uint64_t due, then;
    w->deadline = 0; /* the streams end */
    w->ticks_hz = DRY_HZ;
    for (uint32_t i = 0; i < w->n_lanes; i++)
        if (p->streams[i].g->pace)
            p->streams[i].g->pace->ticks_hz = DRY_HZ;
    while (worker_continue(w)) {
        struct exit *e = w->lanes[at].exits;
        if (!exit_left(e)) {
            at = find_first(p, &due, &then);
            if (due == PACE_NEVER) {
                w->ending = END_SOURCE;
                break;
            }
            fill_dry(p, at, due, then);
            e = w->lanes[at].exits;
        }
        e->tx->stamps = e->burst.stamps + e->from;
        uint32_t sent = exit_send(e);
        p->streams[at].sent += sent;
        if (sent)
            worker_busy(w);
        else
            worker_idle(w);
    }
    p->streams[at].g->offered -= exit_left(w->lanes[at].exits);
}

void loop_profile(struct worker *w)
{
    struct profile_loop *p = (struct profile_loop *)w;
    worker_begin(w);
    if (p->seconds > 0)
        w->deadline = w->start + (uint64_t)(p->seconds * (double)w->ticks_hz);
    for (uint32_t i = 0; i < w->n_lanes; i++)
        if (attach(p, i)->pace)
            pace_begin(p->streams[i].g->pace, w->ticks_hz);
    if (p->dry) {
        run_dry(p);
    } else {
        run(p);
        finish(p);
    }
    w->end = ticks();
    for (uint32_t i = 0; i < w->n_lanes; i++) {
        struct exit *e = w->lanes[i].exits;
        struct generate_loop *g = p->streams[i].g;
        if (g->pace && !p->dry)
            pace_add_up(g->pace, w->end);
        g->streams->next -= g->stamp_at ? exit_left(e) : 0; /* as in generate.c */
        stack_give_packets(w->stack, e->burst.packets + e->from, exit_left(e));
        exit_hold(e, 0);
    }
}
