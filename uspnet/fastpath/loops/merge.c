// SPDX-License-Identifier: Apache-2.0
/* replay: several files as one stream, by the time stamps of their packets. A burst of each file is
 * read ahead, filtered and rewritten; the job counts packets when they are chosen. */
#include "filter.h"
#include "replay.h"

/* Moves on to the next packet of a side that was not skipped. */
static void settle(struct merge_side *s, const struct burst *b)
{
    while (s->from < s->held && !b->packets[s->from].length)
        s->from++;
    if (s->from < s->held && b->stamps[s->from] != STAMP_UNKNOWN) {
        s->time = b->stamps[s->from];
        s->timed = 1;
    }
}

/* Reads ahead. Returns how many packets came, skipped ones included. */
static uint32_t refill(struct replay_loop *r, struct lane *lane, struct merge_side *s)
{
    struct burst *b = &lane->received;
    uint32_t want = burst_wanted(&r->f.w), got, n;
    s->from = s->held = 0;
    s->first = 0;
    memset(b->stamps, 0xFF, want * sizeof *b->stamps); /* STAMP_UNKNOWN */
    n = got = queue_burst(lane->rx, b->packets, want);
    if (r->only)
        n = replay_choose(r, lane->rx, b, n);
    if (lane->n_exits > 1)
        s->first = filter_burst(r->first, lane->rx, b, n);
    for (uint32_t i = 0; i < n; i++)
        s->counted[i] = b->packets[i].length;
    if (r->fields)
        replay_rewrite(r, lane->rx, b, n);
    s->held = n;
    settle(s, b);
    return got;
}

/* Finds the lane whose next packet is the earliest. NULL: none, or not yet known. Adds to *got what
 * was read. */
static struct lane *earliest(struct replay_loop *r, uint32_t *got)
{
    struct lane *found = NULL;
    uint64_t least = UINT64_MAX;
    r->waiting = 0;
    for (uint32_t i = 0; i < r->f.w.n_lanes; i++) {
        struct lane *lane = &r->f.w.lanes[i];
        struct merge_side *s = &r->sides[i];
        if (s->from == s->held && !load_relaxed(&lane->rx->ended))
            *got += refill(r, lane, s);
        if (s->from == s->held)
            r->waiting |= !load_relaxed(&lane->rx->ended);
        else if (!found || s->time < least) {
            found = lane;
            least = s->time;
        }
    }
    return r->waiting ? NULL : found;
}

/* Is it too early for a packet with this time? Then `next` is set. */
static int too_early(struct replay_loop *r, uint64_t ns, uint64_t now)
{
    uint64_t due;
    if (r->clock.pace <= 0)
        return 0;
    due = timing_due(&r->clock, ns, now);
    if (due > now) {
        r->next = due;
        return 1;
    }
    timing_pass(&r->clock, ns, due);
    return 0;
}

/* The next packet of a lane waits for one of these exits. It is made wrong only now: others that
 * were read ahead may never be sent. */
static void put(const struct replay_loop *r, struct lane *lane, struct merge_side *s,
                struct exit *exits)
{
    int second = lane->n_exits > 1 && !(s->first >> s->from & 1);
    if (r->breaks)
        replay_spoil(r, lane->rx, &lane->received, s->from, 1);
    lane_put(lane, &exits[second], s->from++);
    settle(s, &lane->received);
}

/* Has all files begin again. If the process is killed meanwhile, another one does it once more. */
static void begin_pass(struct replay_loop *r)
{
    struct worker *w = &r->f.w;
    r->empty = 1;
    for (uint32_t i = 0; i < w->n_lanes; i++) {
        r->sides[i].time = r->sides[i].timed = 0;
        if (!load_relaxed(&w->lanes[i].rx->fault))
            store_release(&w->lanes[i].rx->ended, 0);
    }
    r->clock.begun = 0;
    keep_order();
    r->begun = r->turning;
    keep_order();
    r->turning = 0;
}

/* The next pass, if there is one and the last one had packets. */
static int next_pass(struct replay_loop *r)
{
    if (r->begun >= r->all || r->empty)
        return 0;
    r->turning = r->begun + r->f.w.n_lanes;
    keep_order();
    begin_pass(r);
    return 1;
}

uint32_t merge_begin(struct replay_loop *r)
{
    struct worker *w = &r->f.w;
    struct exit *exits = w->lanes->exits;
    uint32_t want = replay_due(r), n = 0, got = 0;
    uint64_t now = ticks();
    struct lane *lane = NULL;
    for (uint32_t i = 0; i < w->lanes->n_exits; i++)
        exit_hold(&exits[i], 0);
    r->next = r->waiting = 0;
    if (unlikely(r->turning))
        begin_pass(r);
    while (n < want && (lane = earliest(r, &got))) {
        struct merge_side *s = &r->sides[lane - w->lanes];
        if (too_early(r, s->timed ? s->time : STAMP_UNKNOWN, now) || !worker_claim(w, 1))
            break;
        put(r, lane, s, exits);
        n++;
    }
    if (!want && !merge_holds(r))
        lane = earliest(r, &got); /* no packet is due yet: is there another one? */
    for (uint32_t i = 0; i < w->lanes->n_exits; i++) {
        if (exits[i].tx->stamps)
            burst_stamp(&exits[i].burst, exits[i].held);
        replay_take(r, exits[i].burst.packets, exits[i].held);
    }
    if (n)
        r->empty = 0;
    else if (!lane && !r->waiting && !merge_holds(r))
        return got + (uint32_t)next_pass(r);
    return got + n;
}

int merge_holds(const struct replay_loop *r)
{
    for (uint32_t i = 0; i < r->f.w.n_lanes; i++)
        if (r->sides[i].from < r->sides[i].held)
            return 1;
    return 0;
}

void merge_abandon(struct replay_loop *r)
{
    struct worker *w = &r->f.w;
    for (uint32_t i = 0; i < w->n_lanes; i++) {
        struct merge_side *s = &r->sides[i];
        for (; s->from < s->held; settle(s, &w->lanes[i].received)) {
            struct packet p = w->lanes[i].received.packets[s->from];
            p.length = s->counted[s->from++];
            lane_return(w, &w->lanes[i], &p, 1);
        }
    }
}
