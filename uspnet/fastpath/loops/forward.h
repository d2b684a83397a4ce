/* SPDX-License-Identifier: Apache-2.0
 *
 * What forwarding loops share: receive a burst, decide, send it or drop it by name. A mode is a
 * file of its own that calls one of the two templates below with the function that makes it:
 * `forward_edit` for modes that change packets on their way from a lane's queue to its only exit,
 * `forward_steer` for modes that choose among several exits. Both are compiled once a mode, so that
 * none pays for another.
 * Above the "[c]" fence as in fastpath.h: what Python sees, too. */
#ifndef USPNET_FORWARD_H
#define USPNET_FORWARD_H
#include "worker.h"

// [python]
enum when_full { FULL_DROP, FULL_WAIT };

struct forward_loop {
    struct worker w;
    uint32_t full; /* enum when_full */
};
// [c]

#define TEMPLATE static inline __attribute__((always_inline))

/* Changes n packets in place. */
typedef void edit_fn(struct forward_loop *f, struct lane *lane, struct packet *p, uint32_t n);
/* Gives the first n packets of lane->received to exits: lane_put, lane_copy, lane_discard. */
typedef void steer_fn(struct forward_loop *f, struct lane *lane, uint32_t n);

/* --- receive --------------------------------------------------------------------------------- */

/* Receivers without time stamps of their own get the time of their burst. */
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

/* Packets beyond the job's budget count as if they had stayed where they were. */
static __attribute__((noinline, unused)) void lane_return(struct worker *w, struct lane *lane,
                                                          const struct packet *p, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        lane->rx->counters->bytes -= p[i].length;
    lane->rx->counters->packets -= n;
    stack_give_packets(w->stack, p, n);
}

/* A burst, or what is left of the job's budget. */
static inline uint32_t burst_wanted(const struct worker *w)
{
    uint64_t left = w->budget ? load_relaxed(w->budget) : w->burst;
    return left < w->burst ? (uint32_t)left : w->burst;
}

/* Receives a burst within the job's budget. Returns what came; *kept of them are ours. */
static inline uint32_t lane_receive(struct worker *w, struct lane *lane, struct burst *b,
                                    uint32_t *kept)
{
    uint32_t want = burst_wanted(w), got;
    if (lane->rx->stamps)
        memset(b->stamps, 0xFF, want * sizeof *b->stamps); /* STAMP_UNKNOWN */
    got = queue_burst(lane->rx, b->packets, want);
    *kept = got;
    if (got == 0)
        return 0;
    *kept = (uint32_t)worker_claim(w, got); /* another worker may have used the budget up */
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

/* A copy of packet i leaves by this exit, too. Where there is no buffer for it, it is dropped. */
static inline void lane_copy(struct forward_loop *f, struct lane *lane, struct exit *e, uint32_t i)
{
    const struct pool *pool = lane->rx->pool;
    struct packet from = lane->received.packets[i], to = from;
    e->tx->counters->copied++;
    if (!stack_take(f->w.stack, &to.index, 1)) {
        queue_drop(e->tx, DROP_NO_ROOM, 1);
        return;
    }
    memcpy(packet_data(pool, to), packet_data(pool, from), from.length);
    lane_put(lane, e, i);
    e->burst.packets[e->held - 1] = to;
}

/* Packet i leaves by no exit. */
static inline void lane_discard(struct forward_loop *f, struct lane *lane, uint32_t i,
                                enum drop_reason reason)
{
    struct counters *c = lane->rx->counters;
    c->packets--; /* a packet is in one counter */
    c->bytes -= lane->received.packets[i].length;
    queue_drop(lane->rx, reason, 1);
    stack_give(f->w.stack, lane->received.packets[i].index);
}

/* --- send ------------------------------------------------------------------------------------ */

/* Drops what the exit still holds and its ring did not take. */
static inline void exit_drop(struct worker *w, struct exit *e)
{
    uint32_t left = exit_left(e);
    stack_give_packets(w->stack, e->burst.packets + e->from, left);
    queue_drop(e->tx, load_relaxed(&e->tx->closed) ? DROP_DOWN : DROP_NO_ROOM, left);
    exit_hold(e, 0);
}

/* A full ring drops the rest of the packets, or keeps them for the next round. Returns how many
 * are done with. */
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
    if (likely(left == 0) || f->full == FULL_WAIT || lane->rx->lossless)
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

/* What still waits when the job ends is dropped, by name. */
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
        if (!lane_receive(&f->w, lane, &e->burst, &kept))
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
        moved = lane_receive(&f->w, lane, &lane->received, &kept);
        if (moved == 0)
            return 0;
        steer(f, lane, kept);
    }
    for (uint32_t i = 0; i < lane->n_exits; i++)
        if (exit_left(&lane->exits[i]))
            moved += exit_pass(f, lane, &lane->exits[i]);
    return moved;
}

/* Runs the loop of a mode: one of `edit` (NULL: nothing to change) and `steer` is a constant. */
TEMPLATE void forward_run(struct worker *w, edit_fn *edit, steer_fn *steer)
{
    struct forward_loop *f = (struct forward_loop *)w;
    w->start = ticks();
    while (worker_continue(w)) {
        uint32_t moved = 0;
        for (uint32_t i = 0; i < w->n_lanes; i++)
            moved +=
                steer ? steer_round(f, &w->lanes[i], steer) : edit_round(f, &w->lanes[i], edit);
        if (likely(moved))
            worker_busy(w);
        else
            worker_idle(w);
    }
    lanes_abandon(w);
    w->end = ticks();
}

#endif
