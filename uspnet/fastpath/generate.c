// SPDX-License-Identifier: Apache-2.0
/* generate: sends copies of one template, as fast as the rings take them or at a fixed rate. */
#include "worker.h"

enum { SIGNATURE = 0x75 }; /* first byte of the 18-byte signature; see measure.c for the layout */

/* Nothing on the way changes a buffer, so the template is written once into every free one. */
static void fill_buffers(struct worker *w, const struct pool *pool)
{
    for (uint32_t i = 0; i < w->stack->top; i++) {
        uint32_t index = w->stack->free[i];
        struct packet p = {index, colour(index), (uint16_t)w->frame_length};
        memcpy(packet_data(pool, p), w->frame, w->frame_length);
    }
}

/* Packets whose time has come, since the start. */
static uint64_t due(const struct worker *w, uint64_t now)
{
    return (uint64_t)((double)(now - w->start) * w->rate / (double)w->ticks_hz);
}

/* Stream, sequence number and time of sending, into each packet. */
static void sign(struct worker *w, struct lane *lane, uint32_t stream, uint32_t n)
{
    struct stream *s = &w->streams[stream];
    uint64_t now = clock_ns(CLOCK_MONOTONIC);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *at = packet_data(lane->tx->pool, lane->packets[i]) + w->stamp_at;
        at[0] = SIGNATURE;
        at[1] = (uint8_t)(w->first_stream + stream);
        memcpy(at + 2, &s->next, 8);
        memcpy(at + 10, &now, 8);
        s->next++;
    }
}

/* Takes buffers for up to n packets, within the job's budget. */
static void lane_fill(struct worker *w, struct lane *lane, uint32_t stream, uint32_t n)
{
    uint32_t index[BURST_MAX], taken = stack_take(w->stack, index, n);
    n = worker_claim(w, taken);
    for (uint32_t i = n; i < taken; i++)
        stack_give(w->stack, index[i]);
    for (uint32_t i = 0; i < n; i++)
        lane->packets[i] = (struct packet){index[i], colour(index[i]), (uint16_t)w->frame_length};
    if (w->stamp_at)
        sign(w, lane, stream, n);
    w->offered += n;
    lane_hold(lane, n);
}

void loop_generate(struct worker *w)
{
    uint64_t late;
    fill_buffers(w, w->lanes[0].tx->pool);
    w->start = ticks();
    while (worker_continue(w)) {
        uint64_t now = w->rate > 0 ? ticks() : 0;
        uint32_t moved = 0, waiting = 0;
        for (uint32_t i = 0; i < w->n_lanes; i++) {
            struct lane *lane = &w->lanes[i];
            if (lane->from == lane->held) {
                uint64_t ahead = now ? due(w, now) - w->offered : w->burst;
                lane_fill(w, lane, i, (uint32_t)(ahead < w->burst ? ahead : w->burst));
            }
            waiting += lane->held - lane->from;
            moved += lane_send(lane);
        }
        if (w->guest)
            moved += measure_round(w->guest);
        if (moved || (now && !waiting)) /* a paced worker between two packets isn't idle */
            worker_busy(w);
        else
            worker_idle(w);
    }
    w->end = ticks();
    late = w->rate > 0 && due(w, w->end) > w->offered ? due(w, w->end) - w->offered : 0;
    w->offered += worker_claim(w, (uint32_t)(late < UINT32_MAX ? late : UINT32_MAX));
    for (uint32_t i = 0; i < w->n_lanes; i++) {
        struct lane *lane = &w->lanes[i];
        stack_give_packets(w->stack, lane->packets + lane->from, lane->held - lane->from);
        lane_hold(lane, 0);
    }
}
