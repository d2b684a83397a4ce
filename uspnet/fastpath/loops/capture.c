// SPDX-License-Identifier: Apache-2.0
/* capture: sends the packets that are wanted by the lane's only exit, or counts them where there is
 * none. They are looked at in the port's buffers, before anything is copied. */
#include "dedup.h"
#include "filter.h"
#include "first.h"
#include "forward.h"

// [python]
/* The filter of one lane; NULL: all packets. */
struct lane_filter {
    struct filter *only;
};

/* What each of the pointers leads to chooses packets; NULL: all. */
struct capture_loop {
    struct forward_loop f;
    struct filter *only;      /* of all lanes, unless they have their own: */
    struct lane_filter *each; /* one a lane */
    uint32_t n_each;          /* or 0 */
    struct dedup *dedup;
    struct first *first;
};
void loop_capture(struct worker *w);
// [c]

/* Counts n packets as dropped that were counted as received, and frees them. */
static void reject(struct worker *w, struct queue *rx, const struct packet *p, uint32_t n,
                   enum drop_reason reason)
{
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < n; i++)
        bytes += p[i].length;
    rx->counters->packets -= n; /* a packet is in exactly one counter */
    rx->counters->bytes -= bytes;
    queue_drop_packets(rx, reason, p, n);
    stack_give_packets(w->stack, p, n);
}

/* Moves the wanted ones of n packets to the front, and drops the others. Returns how many there
 * are. */
static uint32_t keep(struct worker *w, struct queue *rx, struct burst *b, uint32_t n,
                     uint64_t wanted, enum drop_reason reason)
{
    struct packet others[BURST_MAX];
    uint32_t kept = 0, rejected = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (!(wanted >> i & 1))
            others[rejected++] = b->packets[i];
        else if (i == kept++)
            continue;
        else
            burst_move(b, rx, kept - 1, i);
    }
    if (rejected)
        reject(w, rx, others, rejected, reason);
    return kept;
}

static struct filter *filter_of(const struct capture_loop *c, const struct lane *lane)
{
    uint32_t number = (uint32_t)(lane - c->f.w.lanes);
    return number < c->n_each ? c->each[number].only : c->only;
}

/* Moves the packets that are wanted to the front. Returns how many there are. */
static uint32_t choose(struct capture_loop *c, const struct lane *lane, struct burst *b, uint32_t n)
{
    struct worker *w = &c->f.w;
    struct queue *rx = lane->rx;
    struct filter *only = filter_of(c, lane);
    if (only)
        n = keep(w, rx, b, n, filter_burst(only, rx, b, n), DROP_FILTERED);
    if (c->dedup)
        n = keep(w, rx, b, n, dedup_burst(c->dedup, rx, b, n), DROP_DUPLICATE);
    if (c->first)
        n = keep(w, rx, b, n, first_burst(c->first, rx, b, n), DROP_BEYOND_FIRST);
    return n;
}

/* Receives into the burst: a job's budget is of the packets that are wanted. Returns how many
 * came; *kept of them were. */
static uint32_t receive(struct capture_loop *c, struct lane *lane, struct burst *b, uint32_t *kept)
{
    struct worker *w = &c->f.w;
    struct queue *rx = lane->rx;
    uint32_t want = burst_wanted(w), got, found;
    if (rx->stamps)
        memset(b->stamps, 0xFF, want * sizeof *b->stamps); /* STAMP_UNKNOWN */
    got = queue_burst(rx, b->packets, want);
    if (got == 0)
        return 0;
    if (rx->stamps)
        burst_stamp(b, got);
    found = choose(c, lane, b, got);
    *kept = (uint32_t)worker_claim(w, found); /* other workers take from it, too */
    if (unlikely(*kept < found))
        lane_return(w, lane, b->packets + *kept, found - *kept);
    return got;
}

/* One lane's turn. Returns the packets moved. */
static uint32_t capture_round(struct capture_loop *c, struct lane *lane)
{
    struct exit *e = lane->exits;
    uint32_t kept, got = 0;
    if (!lane->n_exits) {
        if ((got = receive(c, lane, &lane->received, &kept)))
            stack_give_packets(c->f.w.stack, lane->received.packets, kept);
        return got;
    }
    if (e->from == e->held) {
        if (!(got = receive(c, lane, &e->burst, &kept)))
            return 0;
        exit_hold(e, kept);
    }
    if (exit_left(e))
        got += exit_pass(&c->f, lane, e);
    return got;
}

void loop_capture(struct worker *w)
{
    struct capture_loop *c = (struct capture_loop *)w;
    worker_begin(w);
    while (worker_continue(w)) {
        uint32_t moved = 0;
        for (uint32_t i = 0; i < w->n_lanes; i++)
            moved += capture_round(c, &w->lanes[i]);
        if (likely(moved))
            worker_busy(w);
        else
            worker_idle(w);
    }
    lanes_abandon(w);
    w->end = ticks();
}
