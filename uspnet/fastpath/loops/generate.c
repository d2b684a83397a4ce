// SPDX-License-Identifier: Apache-2.0
/* generate: sends one frame repeatedly, or several in turn, as fast as the rings accept them or
 * when they are due. */
#include "generate.h"

enum {
    GRACE_NS = 20000000, /* CPU time of this thread */
    DRY_HZ = 1000000000, /* ticks a second of a dry run */
};

static void fill_buffers(struct generate_loop *g, const struct pool *pool)
{
    for (uint32_t i = 0; g->filler && i < g->w.stack->top; i++) {
        uint32_t index = g->w.stack->free[i];
        struct packet p = {index, cache_offset(index), 0};
        memcpy(packet_data(pool, p), g->filler->frame, g->filler->length);
    }
}

/* Compiled once for each of the usual sizes, which need no call of memcpy for each packet. */
static INLINE void copy_head(const struct generate_loop *g, struct exit *e, uint32_t n,
                             uint32_t size)
{
    const struct pool *pool = e->tx->pool;
    const uint8_t *frame = g->templates->frame;
    UNROLL
    for (uint32_t i = 0; i < n; i++)
        memcpy(packet_data(pool, e->burst.packets[i]), frame, size);
}

static void copy_heads(const struct generate_loop *g, struct exit *e, uint32_t n)
{
    switch (g->head) {
    case 32:
        copy_head(g, e, n, 32);
        break;
    case 48:
        copy_head(g, e, n, 48);
        break;
    case 64:
        copy_head(g, e, n, 64);
        break;
    default:
        copy_head(g, e, n, g->head);
    }
}

/* The same for the templates from place `at` of the cycle on. `size`: 0: all of each. */
static INLINE void copy_some(const struct generate_loop *g, struct exit *e, uint32_t n, uint32_t at,
                             uint32_t size)
{
    for (uint32_t i = 0; i < n; i++) {
        const struct frame_template *t = template_at(g, at);
        e->burst.packets[i].length = (uint16_t)t->length;
        memcpy(packet_data(e->tx->pool, e->burst.packets[i]), t->frame, size ? size : t->length);
        at = at + 1 < g->n_order ? at + 1 : 0;
    }
}

/* Reserves the next n packets of the sequence shared by all workers. Returns the place of the first
 * in the cycle. */
static uint32_t copy_templates(struct generate_loop *g, struct exit *e, uint32_t n)
{
    uint64_t turn = __atomic_fetch_add(g->turn, n, __ATOMIC_RELAXED);
    uint32_t first = (uint32_t)(turn % g->n_order);
    if (g->holds)
        generate_reuse(g, e, n, first);
    else if (g->head == 48)
        copy_some(g, e, n, first, 48);
    else if (g->head == 64)
        copy_some(g, e, n, first, 64);
    else
        copy_some(g, e, n, first, g->head);
    return first;
}

/* Writes what differs in the next n packets. Returns the place of the first in the cycle. */
static NOINLINE uint32_t write_packets(struct generate_loop *g, struct exit *e, uint32_t n)
{
    uint32_t first = 0;
    if (g->n_templates > 1)
        first = copy_templates(g, e, n);
    else
        copy_heads(g, e, n);
    for (struct field *f = g->fields; f; f = f->next)
        f->apply(f, e->tx->pool, e->burst.packets, n);
    return first;
}

/* Takes buffers for up to n packets, within the job's budget. */
static INLINE void exit_fill(struct generate_loop *g, struct exit *e, uint32_t stream, uint32_t n,
                             int paced)
{
    uint32_t index[BURST_MAX], taken = stack_take(g->w.stack, index, n), first = 0;
    uint16_t length = (uint16_t)g->templates->length;
    n = (uint32_t)worker_claim(&g->w, taken);
    for (uint32_t i = n; i < taken; i++)
        stack_give(g->w.stack, index[i]);
    for (uint32_t i = 0; i < n; i++)
        e->burst.packets[i] = (struct packet){index[i], cache_offset(index[i]), length};
    if (paced)
        pace_take(g->pace, e->burst.stamps, n);
    if (g->copies)
        first = write_packets(g, e, n);
    if (g->stamp_at) {
        generate_sign(g, e, stream, n, first);
        if (unlikely(g->logs))
            generate_log(g, e, stream, n, first);
    }
    g->offered += n;
    exit_hold(e, n);
}

/* Sends what an exit holds. Returns the packets sent. */
static INLINE uint32_t send_held(struct generate_loop *g, struct exit *e, int paced)
{
    uint32_t from = e->from, sent;
    uint64_t handed = paced && exit_left(e) ? ticks() - g->w.start : 0;
    sent = exit_send(e);
    if (paced)
        pace_record(g->pace, e->burst.stamps + from, sent, handed);
    return sent;
}

/* Sends a burst on each lane: with `paced`, of packets that are due `elapsed` ticks after the
 * start. Returns the packets moved; `waiting` counts those that wait for room. */
static INLINE uint32_t send_round(struct generate_loop *g, uint64_t elapsed, uint64_t *waiting,
                                  int paced)
{
    uint32_t moved = g->inline_receiver ? measure_round(g->inline_receiver) : 0;
    *waiting = 0;
    for (uint32_t i = 0; i < g->w.n_lanes; i++) {
        struct exit *e = g->w.lanes[i].exits;
        if (e->from == e->held) {
            uint32_t n = paced ? pace_ready(g->pace, elapsed, g->w.burst) : g->w.burst;
            exit_fill(g, e, i, n, paced);
        }
        *waiting += exit_left(e);
        moved += send_held(g, e, paced);
    }
    return moved;
}

NOINLINE uint32_t generate_due(struct generate_loop *g, uint64_t elapsed, uint64_t *waiting)
{
    return send_round(g, elapsed, waiting, 1);
}

uint32_t generate_now(struct generate_loop *g, uint64_t *waiting)
{
    return send_round(g, 0, waiting, 0);
}

/* Sends what the exits hold, and nothing new. Returns the packets sent. */
uint32_t generate_held(struct generate_loop *g)
{
    uint32_t sent = 0;
    for (uint32_t i = 0; i < g->w.n_lanes; i++)
        sent += send_held(g, g->w.lanes[i].exits, g->pace != NULL);
    if (g->inline_receiver)
        measure_round(g->inline_receiver);
    return sent;
}

void generate_fill(struct generate_loop *g, struct exit *e, uint32_t n)
{
    exit_fill(g, e, 0, n, g->pace != NULL);
}

/* Sends what was due before the end and was delayed, because the thread did not run or the ring was
 * full: while the ring accepts packets, for GRACE_NS at most. The rest counts as unsent. Without a
 * pace, nothing is due, and packets that wait count as not begun. */
static NOINLINE void finish(struct generate_loop *g)
{
    uint64_t elapsed = g->w.ending == END_DEADLINE ? PACE_ALL : ticks() - g->w.start;
    uint64_t held, grace = clock_ns(CLOCK_THREAD_CPUTIME_ID) + GRACE_NS;
    do {
        if (g->pace)
            generate_due(g, elapsed, &held);
        else
            generate_held(g);
        held = 0;
        for (uint32_t i = 0; i < g->w.n_lanes; i++)
            held += exit_left(g->w.lanes[i].exits);
        if (!held && !(g->pace && pace_ready(g->pace, elapsed, 1) &&
                       (!g->w.budget || load_relaxed(g->w.budget))))
            break;
        (void)worker_continue(&g->w); /* pauses if Python asks for it */
    } while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < grace);
    if (g->pace)
        g->offered += worker_claim(&g->w, pace_rest(g->pace, elapsed));
    else
        g->offered -= held;
}

static void run_paced(struct generate_loop *g)
{
    struct worker *w = &g->w;
    uint64_t waiting;
    pace_begin(g->pace, w->ticks_hz);
    while (worker_continue(w)) {
        uint64_t now = ticks();
        pace_look(g->pace, now);
        uint32_t moved = generate_due(g, now - w->start, &waiting);
        if (!moved && waiting) {
            worker_idle(w);
            continue;
        }
        worker_busy(w); /* also between two packets */
        if (moved)
            w->spurious = 0;
        else
            pace_await(g->pace, w, g->inline_receiver ? &g->inline_receiver->w : NULL);
    }
}

static void run_unpaced(struct generate_loop *g)
{
    uint64_t waiting;
    while (worker_continue(&g->w)) {
        if (send_round(g, 0, &waiting, 0))
            worker_busy(&g->w);
        else
            worker_idle(&g->w);
    }
}

/* Stamps each packet with the time at which it would be due, in ns since the start; 0 without a
 * pace. Ends with the last one that is ever due. */
static NOINLINE void run_dry(struct generate_loop *g)
{
    struct worker *w = &g->w;
    struct exit *e = w->lanes->exits;
    w->deadline = 0; /* the pace knows when the run would end */
    if (g->pace)
        g->pace->ticks_hz = DRY_HZ;
    while (worker_continue(w)) {
        if (!exit_left(e)) {
            uint32_t n = g->pace ? pace_ready(g->pace, PACE_ALL, w->burst) : w->burst;
            exit_fill(g, e, 0, n, g->pace != NULL);
            if (!n) {
                w->ending = END_DEADLINE;
                break;
            }
        }
        e->tx->stamps = e->burst.stamps + e->from;
        if (exit_send(e))
            worker_busy(w);
        else
            worker_idle(w);
    }
    g->offered -= exit_left(e);
}

static void run(struct generate_loop *g)
{
    struct worker *w = &g->w;
    if (g->seconds > 0)
        w->deadline = w->start + (uint64_t)(g->seconds * (double)w->ticks_hz);
    if (g->pace)
        run_paced(g);
    else
        run_unpaced(g);
    finish(g);
}

void loop_generate(struct worker *w)
{
    struct generate_loop *g = (struct generate_loop *)w;
    if (g->n_templates == 1 || g->head)
        fill_buffers(g, w->lanes[0].exits->tx->pool);
    if (g->holds)
        memset(g->holds, 0, w->lanes[0].exits->tx->pool->count);
    worker_begin(w);
    if (g->dry)
        run_dry(g);
    else
        run(g);
    w->end = ticks();
    if (g->pace && !g->dry)
        pace_add_up(g->pace, w->end);
    for (uint32_t i = 0; i < w->n_lanes; i++) {
        struct exit *e = w->lanes[i].exits;
        g->streams[i].next -= g->stamp_at ? exit_left(e) : 0; /* they were never sent */
        stack_give_packets(w->stack, e->burst.packets + e->from, exit_left(e));
        exit_hold(e, 0);
    }
}
