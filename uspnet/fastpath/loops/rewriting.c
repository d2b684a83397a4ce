// SPDX-License-Identifier: Apache-2.0
/* rewriting: rounds in which what leaves is rewritten first (rewriting.h). */
#include "rewriting.h"
#include "template.h"

/* Drops packets with a length of 0, which had the lengths `was`, and closes their gaps. */
static __attribute__((noinline)) void drop_unmade(struct forward_loop *f, struct exit *e,
                                                  uint32_t from, const uint16_t *was)
{
    struct burst *b = &e->burst;
    uint32_t kept = from;
    for (uint32_t i = from; i < e->held; i++) {
        struct packet p = b->packets[i];
        if (p.length) {
            b->packets[kept] = p;
            b->stamps[kept] = b->stamps[i];
            b->origins[kept++] = b->origins[i];
            continue;
        }
        p.length = was[i - from];
        queue_drop_packets(e->tx, tx_wrong_length(p.length, FRAME_SHORTEST), &p, 1);
        stack_give(f->w.stack, p.index);
    }
    e->held = kept;
}

void exit_rewrite(struct forward_loop *f, const struct lane *lane, struct exit *e, uint32_t from)
{
    uint16_t was[BURST_MAX];
    uint32_t n = e->held - from, unmade;
    if (!n || (f->mirrors && e == &lane->exits[lane->n_exits - 1]))
        return;
    unmade = fields_apply(f->fields, lane->rx->pool, e->burst.packets + from, n, was);
    if (e->tx->origins)
        burst_follow(&e->burst, from, e->held, was);
    if (unlikely(unmade))
        drop_unmade(f, e, from, was);
}

/* Receives packets, and has the mode decide about them. Returns how many came. */
static uint32_t begin(struct forward_loop *f, struct lane *lane, edit_fn *edit, steer_fn *steer)
{
    struct burst *b = steer ? &lane->received : &lane->exits->burst;
    uint32_t kept, got = lane_receive(&f->w, lane, b, burst_wanted(&f->w), &kept);
    for (uint32_t i = 0; i < lane->n_exits; i++)
        exit_hold(&lane->exits[i], 0);
    if (!got)
        return 0;
    if (steer) {
        steer(f, lane, kept);
    } else {
        if (edit)
            edit(f, lane, b->packets, kept);
        exit_hold(lane->exits, kept);
    }
    for (uint32_t i = 0; i < lane->n_exits; i++)
        exit_rewrite(f, lane, &lane->exits[i], 0);
    return got;
}

uint32_t rewriting_round(struct forward_loop *f, struct lane *lane, edit_fn *edit, steer_fn *steer)
{
    uint32_t moved = lane_holds(lane) ? 0 : begin(f, lane, edit, steer);
    for (uint32_t i = 0; i < lane->n_exits; i++)
        if (exit_left(&lane->exits[i]))
            moved += exit_pass(f, lane, &lane->exits[i]);
    return moved;
}
