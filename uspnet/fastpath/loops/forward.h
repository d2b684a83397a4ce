/* SPDX-License-Identifier: Apache-2.0
 *
 * Forwarding loops: receive a burst, decide, send or drop. A mode is a file of its own that calls
 * forward_run() with one function: `edit` changes packets on the way to the lane's only exit,
 * `steer` chooses among several exits. The template is compiled once for each mode, so that a mode
 * doesn't slow down the others. Fences as in fastpath.h. */
#ifndef USPNET_FORWARD_H
#define USPNET_FORWARD_H
#include "worker.h"

// [python]
enum when_full { FULL_DROP, FULL_WAIT };

struct forward_loop {
    struct worker w;
    uint32_t full;        /* enum when_full */
    uint32_t mirrors;     /* the last exit of each lane is a mirror's */
    struct trace *trace;  /* trace.h; of loops that are traced, else NULL */
    struct field *fields; /* rewriting.h; of loops that rewrite packets, else NULL */
};
// [c]

#define TEMPLATE static inline __attribute__((always_inline))

/* Changes n packets in place. */
typedef void edit_fn(struct forward_loop *f, struct lane *lane, struct packet *p, uint32_t n);
/* Assigns the first n packets of lane->received by lane_put, lane_copy or lane_discard. */
typedef void steer_fn(struct forward_loop *f, struct lane *lane, uint32_t n);

/* --- receive --------------------------------------------------------------------------------- */

/* Sets the time of packets that the receive ring gave none. */
static inline void burst_stamp(struct burst *b, uint32_t n)
{
    uint64_t now = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (b->stamps[i] != STAMP_UNKNOWN)
            continue;
        if (!now)
            now = clock_ns(CLOCK_REALTIME);
        b->stamps[i] = now;
    }
}

/* Moves a packet within a burst that came from this ring. */
static inline void burst_move(struct burst *b, const struct queue *rx, uint32_t to, uint32_t from)
{
    b->packets[to] = b->packets[from];
    b->stamps[to] = b->stamps[from];
    if (rx->origins)
        b->origins[to] = b->origins[from];
}

/* Packets that became longer or shorter than they `were` were so from the start: what their file
 * says follows. */
static inline void burst_follow(struct burst *b, uint32_t from, uint32_t to, const uint16_t *were)
{
    for (uint32_t i = from; i < to; i++)
        if (b->origins[i].length)
            b->origins[i].length += (uint32_t)b->packets[i].length - were[i - from];
}

/* Uncounts and frees packets beyond the job's budget. */
static __attribute__((noinline, unused)) void lane_return(struct worker *w, struct lane *lane,
                                                          const struct packet *p, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        lane->rx->counters->bytes -= p[i].length;
    lane->rx->counters->packets -= n;
    stack_give_packets(w->stack, p, n);
}

/* The packets to ask for: a burst, or what is left of the job's budget. */
static inline uint32_t burst_wanted(const struct worker *w)
{
    uint64_t left = w->budget ? load_relaxed(w->budget) : w->burst;
    return left < w->burst ? (uint32_t)left : w->burst;
}

/* Receives up to `want` packets. Returns how many came; *kept of them are within the job's
 * budget. */
static inline uint32_t lane_receive(struct worker *w, struct lane *lane, struct burst *b,
                                    uint32_t want, uint32_t *kept)
{
    uint32_t got;
    if (lane->rx->stamps)
        memset(b->stamps, 0xFF, want * sizeof *b->stamps); /* STAMP_UNKNOWN */
    got = queue_burst(lane->rx, b->packets, want);
    *kept = got;
    if (got == 0)
        return 0;
    *kept = (uint32_t)worker_claim(w, got); /* other workers take from it, too */
    if (unlikely(*kept < got))
        lane_return(w, lane, b->packets + *kept, got - *kept);
    if (lane->rx->stamps)
        burst_stamp(b, *kept);
    return got;
}

/* --- decide ---------------------------------------------------------------------------------- */

/* Packet i leaves by this exit. */
static inline void lane_put(struct lane *lane, struct exit *e, uint32_t i)
{
    e->burst.packets[e->held] = lane->received.packets[i];
    if (e->tx->stamps)
        e->burst.stamps[e->held] = lane->received.stamps[i];
    if (e->tx->origins)
        e->burst.origins[e->held] = lane->received.origins[i];
    e->held++;
}

/* A copy of packet i leaves by this exit, too. It is dropped if there is no free buffer. */
static inline void lane_copy(struct forward_loop *f, struct lane *lane, struct exit *e, uint32_t i)
{
    const struct pool *pool = lane->rx->pool;
    struct packet from = lane->received.packets[i], to = from;
    e->tx->counters->copied++;
    if (!stack_take(f->w.stack, &to.index, 1)) {
        queue_drop_packets(e->tx, DROP_NO_ROOM, &from, 1);
        return;
    }
    memcpy(packet_data(pool, to), packet_data(pool, from), from.length);
    lane_put(lane, e, i);
    e->burst.packets[e->held - 1] = to;
}

/* Drops a packet that was counted as received, with this length. */
static inline void lane_drop(struct worker *w, struct queue *rx, struct packet p, uint32_t length,
                             enum drop_reason reason)
{
    rx->counters->packets--; /* a packet is in exactly one counter */
    rx->counters->bytes -= length;
    queue_drop_packets(rx, reason, &p, 1);
    stack_give(w->stack, p.index);
}

/* Packet i leaves by no exit. */
static inline void lane_discard(struct forward_loop *f, struct lane *lane, uint32_t i,
                                enum drop_reason reason)
{
    struct packet p = lane->received.packets[i];
    lane_drop(&f->w, lane->rx, p, p.length, reason);
}

/* --- send ------------------------------------------------------------------------------------ */

/* Drops the packets that the exit still holds. */
static inline void exit_drop(struct worker *w, struct exit *e)
{
    uint32_t left = exit_left(e);
    const struct packet *p = e->burst.packets + e->from;
    queue_drop_packets(e->tx, load_relaxed(&e->tx->closed) ? DROP_DOWN : DROP_NO_ROOM, p, left);
    stack_give_packets(w->stack, p, left);
    exit_hold(e, 0);
}

/* Does what found no room wait for the next round? */
static inline int exit_waits(const struct forward_loop *f, const struct lane *lane,
                             const struct exit *e)
{
    if (f->full == FULL_WAIT || lane->rx->lossless)
        return 1;
    return lane->rx->patient && lane->n_exits == 1 && !load_relaxed(&e->tx->closed);
}

/* Sends what the exit holds. If the ring is full, the rest is dropped, or kept for the next round
 * (FULL_WAIT, and sources that can wait). Returns how many packets were sent or dropped. */
static inline uint32_t exit_pass(struct forward_loop *f, struct lane *lane, struct exit *e)
{
    uint32_t sent, left;
    if (e->tx->stamps) {
        e->tx->stamps = e->burst.stamps + e->from;
        if (e->tx->origins)
            e->tx->origins = e->burst.origins + e->from;
    }
    sent = exit_send(e);
    left = exit_left(e);
    if (likely(left == 0) || exit_waits(f, lane, e))
        return sent;
    exit_drop(&f->w, e);
    return sent + left;
}

static inline int lane_holds(const struct lane *lane)
{
    for (uint32_t i = 0; i < lane->n_exits; i++)
        if (exit_left(&lane->exits[i]))
            return 1;
    return 0;
}

/* Drops the packets that still wait when the loop ends. */
static __attribute__((noinline, unused)) void lanes_abandon(struct worker *w)
{
    for (uint32_t i = 0; i < w->n_lanes; i++)
        for (uint32_t j = 0; j < w->lanes[i].n_exits; j++) {
            struct exit *e = &w->lanes[i].exits[j];
            exit_drop(w, e);
            if (e->tx->flush && !load_relaxed(&e->tx->closed))
                e->tx->flush(e->tx);
        }
}

/* --- the two kinds of loops ------------------------------------------------------------------ */

/* One lane's turn. Returns the packets moved. */
TEMPLATE uint32_t edit_round(struct forward_loop *f, struct lane *lane, edit_fn *edit)
{
    struct exit *e = lane->exits;
    if (e->from == e->held) {
        uint32_t kept;
        if (!lane_receive(&f->w, lane, &e->burst, burst_wanted(&f->w), &kept))
            return 0;
        if (edit)
            edit(f, lane, e->burst.packets, kept);
        exit_hold(e, kept);
    }
    return exit_pass(f, lane, e);
}

TEMPLATE uint32_t steer_round(struct forward_loop *f, struct lane *lane, steer_fn *steer)
{
    uint32_t moved = 0, kept;
    if (!lane_holds(lane)) {
        for (uint32_t i = 0; i < lane->n_exits; i++)
            exit_hold(&lane->exits[i], 0);
        moved = lane_receive(&f->w, lane, &lane->received, burst_wanted(&f->w), &kept);
        if (moved == 0)
            return 0;
        steer(f, lane, kept);
    }
    for (uint32_t i = 0; i < lane->n_exits; i++)
        if (exit_left(&lane->exits[i]))
            moved += exit_pass(f, lane, &lane->exits[i]);
    return moved;
}

/* One lane's turn: traced/ has another one. */
#ifndef FORWARD_ROUND
#define FORWARD_ROUND forward_round
#endif
uint32_t trace_round(struct forward_loop *f, struct lane *lane, edit_fn *edit, steer_fn *steer);

TEMPLATE uint32_t forward_round(struct forward_loop *f, struct lane *lane, edit_fn *edit,
                                steer_fn *steer)
{
    return steer ? steer_round(f, lane, steer) : edit_round(f, lane, edit);
}

/* The loop of a mode. Both functions are compile-time constants; `steer` NULL: use `edit`, which
 * may also be NULL. */
TEMPLATE void forward_run(struct worker *w, edit_fn *edit, steer_fn *steer)
{
    struct forward_loop *f = (struct forward_loop *)w;
    worker_begin(w);
    while (worker_continue(w)) {
        uint32_t moved = 0;
        for (uint32_t i = 0; i < w->n_lanes; i++)
            moved += FORWARD_ROUND(f, &w->lanes[i], edit, steer);
        if (likely(moved))
            worker_busy(w);
        else
            worker_idle(w);
    }
    lanes_abandon(w);
    w->end = ticks();
}

#endif
