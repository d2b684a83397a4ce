// SPDX-License-Identifier: Apache-2.0
/* trace: rounds in which a mode gets one packet at a time. What is traced enters and leaves alone:
 * exits are emptied before and after it, so that counters tell what became of it. */
#include "trace.h"
#include "rewriting.h"

/* What counters said before a packet. */
struct look {
    uint64_t received[DROP_REASONS], sent[TRACE_EXITS][DROP_REASONS], watched[TRACE_WATCHED];
    uint32_t held[TRACE_EXITS];
};

static uint32_t n_watched(const struct trace *t) { return least(t->n_watched, TRACE_WATCHED); }

static uint32_t n_exits(const struct lane *lane) { return least(lane->n_exits, TRACE_EXITS); }

static void look_at(struct look *l, const struct trace *t, const struct lane *lane)
{
    memcpy(l->received, lane->rx->counters->drops, sizeof l->received);
    for (uint32_t i = 0; i < n_exits(lane); i++) {
        memcpy(l->sent[i], lane->exits[i].tx->counters->drops, sizeof l->sent[i]);
        l->held[i] = lane->exits[i].held;
    }
    for (uint32_t i = 0; i < n_watched(t); i++)
        l->watched[i] = *t->watched[i];
}

/* Why a queue has dropped something since; DROP_REASONS: it has not. */
static uint32_t dropped_since(const uint64_t *before, const struct queue *q)
{
    for (uint32_t i = 0; i < DROP_REASONS; i++)
        if (q->counters->drops[i] != before[i])
            return i;
    return DROP_REASONS;
}

/* Where a packet is to be noted; NULL: nowhere. */
static struct traced *claim(struct trace *t, const struct lane *lane, uint32_t i)
{
    struct packet p = lane->received.packets[i];
    uint32_t wire = burst_wire(lane->rx, &lane->received, i), number;
    if (load_relaxed(&t->claimed) >= t->n_packets)
        return NULL;
    if (t->only && !filter_accepts(t->only, packet_data(lane->rx->pool, p), p.length, wire))
        return NULL;
    number = __atomic_fetch_add(&t->claimed, 1, __ATOMIC_RELAXED);
    return number < t->n_packets ? &t->packets[number] : NULL;
}

static void begin(struct traced *r, const struct forward_loop *f, const struct lane *lane)
{
    struct packet p = lane->received.packets[0];
    r->stamp = clock_ns(CLOCK_REALTIME);
    r->lane = (uint32_t)(lane - f->w.lanes);
    r->before = p.length;
    memcpy(r->came, packet_data(lane->rx->pool, p), least(p.length, TRACE_BYTES));
}

/* Empties exits that have room. */
static void pass_all(struct forward_loop *f, struct lane *lane)
{
    for (uint32_t i = 0; i < lane->n_exits; i++) {
        struct exit *e = &lane->exits[i];
        if (exit_left(e))
            exit_pass(f, lane, e);
        if (!exit_left(e))
            exit_hold(e, 0);
    }
}

/* Notes what the mode has decided. */
static void decided(struct traced *r, const struct trace *t, const struct lane *lane,
                    const struct look *l)
{
    struct packet p = lane->received.packets[0];
    r->reason = dropped_since(l->received, lane->rx);
    for (uint32_t i = 0; i < n_watched(t); i++)
        if (*t->watched[i] != l->watched[i])
            r->counted[i / 64] |= 1ULL << i % 64;
    for (uint32_t i = 0; i < n_exits(lane); i++)
        r->fates[i] = lane->exits[i].held > l->held[i] ? FATE_SENT : FATE_NONE;
    if (r->reason != DROP_REASONS)
        return;
    r->after = p.length;
    memcpy(r->leaves, packet_data(lane->rx->pool, p), least(p.length, TRACE_BYTES));
}

/* Notes what became of it at its exits. */
static void left(struct traced *r, const struct lane *lane, const struct look *l)
{
    for (uint32_t i = 0; i < n_exits(lane); i++) {
        uint32_t why = dropped_since(l->sent[i], lane->exits[i].tx);
        if (why != DROP_REASONS)
            r->fates[i] = (uint8_t)(FATE_DROPPED + why);
        else if (r->fates[i] && exit_left(&lane->exits[i]))
            r->fates[i] = FATE_WAITS;
    }
    store_release(&r->done, 1);
}

/* Rewrites what the mode has given to an exit, which may move the packet in its buffer. */
static void rewrite(struct forward_loop *f, struct lane *lane, struct exit *e, uint32_t held)
{
    struct packet *p = lane->received.packets;
    exit_rewrite(f, lane, e, held);
    if (e->held > held && e->burst.packets[held].index == p->index)
        *p = e->burst.packets[held];
}

static void decide(struct forward_loop *f, struct lane *lane, edit_fn *edit, steer_fn *steer)
{
    uint32_t held[TRACE_EXITS];
    for (uint32_t i = 0; i < n_exits(lane); i++)
        held[i] = lane->exits[i].held;
    if (steer) {
        steer(f, lane, 1);
    } else {
        if (edit)
            edit(f, lane, lane->received.packets, 1);
        lane_put(lane, lane->exits, 0);
    }
    for (uint32_t i = 0; f->fields && i < n_exits(lane); i++)
        rewrite(f, lane, &lane->exits[i], held[i]);
}

static void trace_one(struct forward_loop *f, struct lane *lane, edit_fn *edit, steer_fn *steer,
                      struct traced *r)
{
    struct look before;
    pass_all(f, lane);
    look_at(&before, f->trace, lane);
    begin(r, f, lane);
    decide(f, lane, edit, steer);
    decided(r, f->trace, lane, &before);
    pass_all(f, lane);
    left(r, lane, &before);
}

uint32_t trace_round(struct forward_loop *f, struct lane *lane, edit_fn *edit, steer_fn *steer)
{
    uint32_t moved = 0, kept = 0;
    if (!f->trace)
        return rewriting_round(f, lane, edit, steer);
    if (!lane_holds(lane)) {
        pass_all(f, lane);
        moved = lane_receive(&f->w, lane, &lane->received, burst_wanted(&f->w), &kept);
    }
    for (uint32_t i = 0; i < kept; i++) {
        struct traced *r = claim(f->trace, lane, i);
        burst_move(&lane->received, lane->rx, 0, i);
        if (r)
            trace_one(f, lane, edit, steer, r);
        else
            decide(f, lane, edit, steer);
    }
    for (uint32_t i = 0; i < lane->n_exits; i++)
        if (exit_left(&lane->exits[i]))
            moved += exit_pass(f, lane, &lane->exits[i]);
    return moved;
}
