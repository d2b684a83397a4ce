// SPDX-License-Identifier: Apache-2.0
/* replay: sends the packets of files, one file after another or merged (merge.c), by their own
 * timing (which is that of their rings, pcap_read.c, but for merged ones), at a rate, or as fast
 * as they are taken. */
#include "filter.h"
#include "replay.h"

/* The lane whose exits are used: that of the file that is being played, or the first one. */
static struct lane *current(const struct replay_loop *r)
{
    if (r->sides)
        return r->f.w.lanes;
    return &r->f.w.lanes[(r->begun - 1) % r->f.w.n_lanes];
}

/* Goes on to the next file, which may have ended in an earlier pass. Returns 0 when there is none,
 * or when no file has a packet any more. */
static int next_file(struct replay_loop *r)
{
    struct queue *rx = r->f.w.lanes[r->begun % r->f.w.n_lanes].rx;
    if (r->begun >= r->all || ++r->empty > r->f.w.n_lanes)
        return 0;
    if (!load_relaxed(&rx->fault))
        store_release(&rx->ended, 0);
    r->begun++;
    return 1;
}

/* How many packets are due: as many as cost, at their mean so far, what was not spent in time. */
uint32_t replay_due(const struct replay_loop *r)
{
    const struct worker *w = &r->f.w;
    uint32_t most = burst_wanted(w);
    double earned, more;
    if (r->rate <= 0)
        return most;
    earned = (double)(ticks() - w->start) * r->rate / (double)w->ticks_hz;
    if (earned < (double)r->spent)
        return 0;
    if (!r->taken)
        return least(most, 1);
    more = (earned - (double)r->spent) * (double)r->taken / (double)r->spent;
    return more < most ? least(most, 1 + (uint32_t)more) : most;
}

/* Skips a packet, which had this length: the job's count is of others. Those of merged files are
 * counted later. */
static void leave_out(struct replay_loop *r, struct queue *rx, struct packet p, uint32_t length,
                      enum drop_reason reason)
{
    lane_drop(&r->f.w, rx, p, length, reason);
    if (r->f.w.budget && !r->sides)
        __atomic_add_fetch(r->f.w.budget, 1, __ATOMIC_RELAXED);
}

uint32_t replay_choose(struct replay_loop *r, struct queue *rx, struct burst *b, uint32_t n)
{
    uint32_t kept = 0;
    uint64_t accepted = filter_burst(r->only, rx, b, n);
    for (uint32_t i = 0; i < n; i++) {
        if (accepted >> i & 1)
            burst_move(b, rx, kept++, i);
        else
            leave_out(r, rx, b->packets[i], b->packets[i].length, DROP_FILTERED);
    }
    return kept;
}

uint32_t replay_rewrite(struct replay_loop *r, struct queue *rx, struct burst *b, uint32_t n)
{
    uint16_t was[BURST_MAX];
    uint32_t unmade = fields_apply(r->fields, rx->pool, b->packets, n, was);
    for (uint32_t i = 0; unlikely(unmade) && i < n; i++)
        if (!b->packets[i].length)
            leave_out(r, rx, b->packets[i], was[i], tx_wrong_length(was[i], FRAME_SHORTEST));
    if (rx->origins)
        burst_follow(b, 0, n, was);
    return unmade;
}

void replay_spoil(const struct replay_loop *r, struct queue *rx, struct burst *b, uint32_t from,
                  uint32_t n)
{
    uint16_t was[BURST_MAX];
    fields_apply(r->breaks, rx->pool, b->packets + from, n, was);
    if (rx->origins)
        burst_follow(b, from, from + n, was);
}

/* Closes the gaps that packets with a length of 0 are. Returns how many are left. */
static uint32_t close_up(struct burst *b, const struct queue *rx, uint32_t n)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++)
        if (b->packets[i].length)
            burst_move(b, rx, kept++, i);
    return kept;
}

void replay_take(struct replay_loop *r, const struct packet *p, uint32_t n)
{
    r->taken += n;
    r->spent += (uint64_t)n * r->a_packet;
    for (uint32_t i = 0; r->a_byte && i < n; i++) {
        uint32_t padded = p[i].length < r->least ? r->least : p[i].length;
        r->spent += (uint64_t)padded * r->a_byte;
    }
}

/* Has n packets wait for the exits that they leave by, rewritten, and made wrong where that is
 * asked for. Returns how many are left. */
static uint32_t hold(struct replay_loop *r, struct lane *lane, uint32_t n)
{
    uint32_t kept = 0;
    uint64_t first = 0;
    for (uint32_t i = 0; i < lane->n_exits; i++)
        exit_hold(&lane->exits[i], lane->n_exits == 1 ? n : 0);
    if (lane->n_exits > 1)
        first = filter_burst(r->first, lane->rx, &lane->received, n);
    for (uint32_t i = 0; lane->n_exits > 1 && i < n; i++)
        lane_put(lane, &lane->exits[!(first >> i & 1)], i);
    for (uint32_t i = 0; i < lane->n_exits; i++) {
        struct exit *e = &lane->exits[i];
        if (r->fields && replay_rewrite(r, lane->rx, &e->burst, e->held))
            e->held = close_up(&e->burst, lane->rx, e->held);
        if (r->breaks)
            replay_spoil(r, lane->rx, &e->burst, 0, e->held);
        replay_take(r, e->burst.packets, e->held);
        kept += e->held;
    }
    return kept;
}

/* Receives what is due. Returns 0: nothing; or how far this was a round's work. */
static uint32_t begin(struct replay_loop *r, struct lane *lane)
{
    struct burst *b = lane->n_exits == 1 ? &lane->exits->burst : &lane->received;
    uint32_t want = replay_due(r), kept, got;
    got = want ? lane_receive(&r->f.w, lane, b, want, &kept) : 0;
    if (!got)
        return load_relaxed(&lane->rx->ended) && next_file(r);
    if (r->only)
        kept = replay_choose(r, lane->rx, b, kept);
    if (hold(r, lane, kept))
        r->empty = 0;
    return got;
}

/* Returns the packets moved; or 1: another file begins. */
static uint32_t replay_round(struct replay_loop *r)
{
    struct lane *lane = current(r);
    uint32_t moved = 0, begun = 0;
    if (!lane_holds(lane)) {
        begun = r->sides ? merge_begin(r) : begin(r, lane);
        if (!lane_holds(lane))
            return begun;
    }
    for (uint32_t i = 0; i < lane->n_exits; i++)
        if (exit_left(&lane->exits[i]))
            moved += exit_pass(&r->f, lane, &lane->exits[i]);
    return moved;
}

/* When the next packet is due by the rate or the clock, in ticks; 0: none waits for that. One that
 * was read ahead always does: it keeps the loop from ending with the last file. */
static uint64_t due_at(const struct replay_loop *r)
{
    const struct worker *w = &r->f.w;
    uint64_t at = 0;
    if (lane_holds(current(r)) || r->waiting)
        return 0;
    if (r->rate > 0)
        at = w->start + (uint64_t)((double)r->spent / r->rate * (double)w->ticks_hz);
    if (r->sides && merge_holds(r))
        return at > r->next ? at : r->next ? r->next : 1;
    return at > ticks() ? at : 0;
}

void loop_replay(struct worker *w)
{
    struct replay_loop *r = (struct replay_loop *)w;
    worker_begin(w);
    while (worker_continue(w)) {
        uint32_t moved = replay_round(r);
        uint64_t until = moved ? 0 : due_at(r);
        for (uint32_t i = 0; i < r->n_receivers; i++)
            measure_round(r->receivers[i]); /* is no work: the files' end is the end */
        if (!moved && !until) {
            worker_idle(w);
            continue;
        }
        worker_busy(w);
        if (!moved)
            worker_await(w, until);
    }
    if (r->sides)
        merge_abandon(r);
    lanes_abandon(w);
    w->end = ticks();
}
