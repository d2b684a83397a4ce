// SPDX-License-Identifier: Apache-2.0
/* The loops that move packets on: forward (also into a file) and drop. */
#include "worker.h"

/* What is too short to have two addresses stays as it is. */
static void macswap(const struct pool *pool, const struct packet *p, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *frame = packet_data(pool, p[i]), mac[6];
        if (unlikely(p[i].length < 2 * sizeof mac))
            continue;
        memcpy(mac, frame, 6);
        memcpy(frame, frame + 6, 6);
        memcpy(frame + 6, mac, 6);
    }
}

/* Receivers without time stamps of their own get the time of their burst. */
static void stamp(struct lane *lane, uint32_t n)
{
    uint64_t now = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (lane->stamps[i] != STAMP_UNKNOWN)
            continue;
        if (!now)
            now = clock_ns(CLOCK_REALTIME);
        lane->stamps[i] = now;
    }
}

/* Packets beyond the job's budget count as if they had stayed where they were. */
static void give_up(struct worker *w, struct lane *lane, uint32_t from, uint32_t to)
{
    for (uint32_t i = from; i < to; i++)
        lane->rx->counters->bytes -= lane->packets[i].length;
    lane->rx->counters->packets -= to - from;
    stack_give_packets(w->stack, lane->packets + from, to - from);
}

/* A burst, or what is left of the job's budget. */
static uint32_t wanted(const struct worker *w)
{
    uint64_t left = w->budget ? load_relaxed(w->budget) : w->burst;
    return left < w->burst ? (uint32_t)left : w->burst;
}

static uint32_t lane_receive(struct worker *w, struct lane *lane)
{
    uint32_t want = wanted(w), got, kept;
    if (lane->rx->stamps)
        memset(lane->stamps, 0xFF, want * sizeof *lane->stamps); /* STAMP_UNKNOWN */
    got = queue_burst(lane->rx, lane->packets, want);
    if (got == 0)
        return 0;
    kept = worker_claim(w, got); /* another worker may have used the budget up */
    if (unlikely(kept < got))
        give_up(w, lane, kept, got);
    if (lane->rx->stamps)
        stamp(lane, kept);
    if (w->rewrite == REWRITE_MACSWAP)
        macswap(lane->rx->pool, lane->packets, kept);
    lane_hold(lane, kept);
    return got;
}

/* Drops what the lane still holds and its ring did not take. */
static void lane_drop(struct worker *w, struct lane *lane)
{
    uint32_t left = lane->held - lane->from;
    stack_give_packets(w->stack, lane->packets + lane->from, left);
    queue_drop(lane->tx, load_relaxed(&lane->tx->gate) ? DROP_DOWN : DROP_NO_ROOM, left);
    lane_hold(lane, 0);
}

/* A full ring drops the rest of the lane's packets, or keeps them for the next round. */
static uint32_t lane_pass(struct worker *w, struct lane *lane)
{
    uint32_t sent, left;
    if (lane->tx->stamps) {
        lane->tx->stamps = lane->stamps + lane->from;
        if (lane->tx->origins)
            lane->tx->origins = lane->origins + lane->from;
    }
    sent = lane_send(lane);
    left = lane->held - lane->from;
    if (likely(left == 0) || w->full == FULL_WAIT || lane->rx->patient)
        return sent;
    lane_drop(w, lane);
    return sent + left;
}

/* What still waits when the job ends is dropped, by name. */
static void lanes_abandon(struct worker *w)
{
    for (uint32_t i = 0; i < w->n_lanes; i++) {
        struct lane *lane = &w->lanes[i];
        lane_drop(w, lane);
        if (lane->tx->flush && !load_relaxed(&lane->tx->gate))
            lane->tx->flush(lane->tx);
    }
}

void loop_forward(struct worker *w)
{
    w->start = ticks();
    while (worker_continue(w)) {
        uint32_t moved = 0;
        for (uint32_t i = 0; i < w->n_lanes; i++) {
            struct lane *lane = &w->lanes[i];
            if (lane->from == lane->held && !lane_receive(w, lane))
                continue;
            moved += lane_pass(w, lane);
        }
        if (likely(moved))
            worker_busy(w);
        else
            worker_idle(w);
    }
    lanes_abandon(w);
    w->end = ticks();
}

void loop_drop(struct worker *w)
{
    w->start = ticks();
    while (worker_continue(w)) {
        uint32_t moved = 0;
        for (uint32_t i = 0; i < w->n_lanes; i++) {
            struct lane *lane = &w->lanes[i];
            uint32_t got = lane_receive(w, lane);
            stack_give_packets(w->stack, lane->packets, lane->held);
            lane->held = 0;
            moved += got;
        }
        if (likely(moved))
            worker_busy(w);
        else
            worker_idle(w);
    }
    w->end = ticks();
}
