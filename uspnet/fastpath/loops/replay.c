// SPDX-License-Identifier: Apache-2.0
/* replay: sends the packets of files, one file after another, by each file's own timing (which is
 * its ring's, pcap_read.c), at a rate, or as fast as they are taken. */
#include "forward.h"
#include "template.h"

// [python]
struct replay_loop {
    struct forward_loop f;
    uint64_t begun, all;       /* files, each counted once a pass; UINT64_MAX: without end */
    uint32_t empty;            /* files in a row that gave no packet */
    uint32_t a_packet, a_byte; /* what a packet costs, and each of its bytes: packets, or bits */
    double rate;               /* cost a second; 0: no limit */
    uint64_t spent, taken;     /* cost of the packets so far, and their number */
    struct field *fields;      /* list of what is rewritten in packets; may be NULL */
};
void loop_replay(struct worker *w);
// [c]

/* The lane of the file that is being played. */
static struct lane *current(const struct replay_loop *r)
{
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
static uint32_t due(const struct replay_loop *r)
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

/* Skips packets that no field could rewrite, of these lengths before. Returns how many are left. */
static uint32_t skip(struct replay_loop *r, struct queue *rx, struct burst *b, const uint16_t *was,
                     uint32_t n)
{
    uint32_t kept = 0;
    for (uint32_t i = 0; i < n; i++) {
        if (likely(b->packets[i].length)) {
            b->packets[kept] = b->packets[i];
            b->stamps[kept] = b->stamps[i];
            b->origins[kept++] = b->origins[i];
            continue;
        }
        lane_drop(&r->f.w, rx, b->packets[i], was[i], tx_wrong_length(was[i], FRAME_SHORTEST));
    }
    return kept;
}

/* Rewrites n packets. Returns how many are left. */
static uint32_t rewrite(struct replay_loop *r, struct lane *lane, uint32_t n)
{
    struct burst *b = &lane->exits->burst;
    uint16_t was[BURST_MAX];
    uint32_t unmade = 0;
    for (uint32_t i = 0; i < n; i++)
        was[i] = b->packets[i].length;
    for (struct field *f = r->fields; f; f = f->next)
        f->apply(f, lane->rx->pool, b->packets, n);
    for (uint32_t i = 0; i < n; i++)
        unmade += !b->packets[i].length;
    return unlikely(unmade) ? skip(r, lane->rx, b, was, n) : n;
}

/* Counts what n packets cost. */
static void take(struct replay_loop *r, const struct packet *p, uint32_t n)
{
    r->taken += n;
    r->spent += (uint64_t)n * r->a_packet;
    for (uint32_t i = 0; r->a_byte && i < n; i++)
        r->spent += (uint64_t)p[i].length * r->a_byte;
}

/* Returns the packets moved; or 1: another file begins. */
static uint32_t replay_round(struct replay_loop *r)
{
    struct lane *lane = current(r);
    struct exit *e = lane->exits;
    if (e->from == e->held) {
        uint32_t want = due(r), kept;
        if (!want || !lane_receive(&r->f.w, lane, &e->burst, want, &kept))
            return load_relaxed(&lane->rx->ended) && next_file(r);
        r->empty = 0;
        if (r->fields)
            kept = rewrite(r, lane, kept);
        take(r, e->burst.packets, kept);
        exit_hold(e, kept);
    }
    return exit_pass(&r->f, lane, e);
}

/* When the next packet is due by the rate, in ticks; 0: none waits for that. */
static uint64_t due_at(const struct replay_loop *r)
{
    const struct worker *w = &r->f.w;
    uint64_t at;
    if (r->rate <= 0 || exit_left(current(r)->exits))
        return 0;
    at = w->start + (uint64_t)((double)r->spent / r->rate * (double)w->ticks_hz);
    return at > ticks() ? at : 0;
}

void loop_replay(struct worker *w)
{
    struct replay_loop *r = (struct replay_loop *)w;
    worker_begin(w);
    while (worker_continue(w)) {
        uint32_t moved = replay_round(r);
        uint64_t until = moved ? 0 : due_at(r);
        if (!moved && !until) {
            worker_idle(w);
            continue;
        }
        worker_busy(w);
        if (!moved)
            worker_await(w, until);
    }
    lanes_abandon(w);
    w->end = ticks();
}
