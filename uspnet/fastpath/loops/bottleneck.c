// SPDX-License-Identifier: Apache-2.0
/* See bottleneck.h. A packet is taken from the queue when the link begins with it, which is when
 * CoDel decides on it. */
#include "bottleneck.h"

#include <math.h>

enum { OPPORTUNITY_BYTES = 1500, ETHERNET_HEADER = 14, MTU_FRAME = 1514 };

static uint64_t later(uint64_t a, uint64_t b) { return a > b ? a : b; }

/* --- the queue ------------------------------------------------------------------------------ */

void bottleneck_put(struct bottleneck *b, const struct queued *q)
{
    uint64_t place = (uint64_t)b->first + b->used++;
    b->queue[place % b->n_places] = *q;
    b->bytes += q->packet.length;
    if (b->used > b->most)
        b->most = b->used;
    if (q->packet.length > b->longest)
        b->longest = q->packet.length;
}

static struct queued take(struct bottleneck *b)
{
    struct queued q = b->queue[b->first];
    b->first = b->first + 1 < b->n_places ? b->first + 1 : 0;
    b->used--;
    b->bytes -= q.packet.length;
    return q;
}

/* --- CoDel ---------------------------------------------------------------------------------- */

static uint64_t control_law(const struct codel *c, uint64_t t)
{
    return t + (uint64_t)((double)c->interval / sqrt(c->count));
}

/* RFC 8289's ok_to_drop: the queue has stood above the target for an interval. */
static int is_standing(const struct bottleneck *b, struct codel *c, uint64_t wait, uint64_t t)
{
    if (wait < c->target || b->bytes <= (b->longest > MTU_FRAME ? b->longest : MTU_FRAME)) {
        c->first_above_time = 0;
        return 0;
    }
    if (c->first_above_time)
        return t >= c->first_above_time;
    c->first_above_time = t + c->interval;
    return 0;
}

/* The queue was empty when the link was ready. */
static void codel_rest(struct codel *c)
{
    c->first_above_time = 0;
    c->dropping = c->again = 0;
}

static void begin_dropping(struct codel *c, uint64_t t)
{
    uint32_t delta = c->count - c->lastcount;
    /* dropped until shortly before: go on as often as then */
    int recent = t - c->drop_next < 16 * c->interval;
    c->dropping = 1;
    c->again = 0;
    c->count = delta > 1 && recent ? delta : 1;
    c->drop_next = control_law(c, t);
    c->lastcount = c->count;
}

/* Whether a packet that is taken at t is dropped: RFC 8289's dequeue(), a packet at a time. What
 * it does after a drop is done when the next packet is taken, at the same t. */
static int codel_drops(struct bottleneck *b, uint64_t came, uint64_t t)
{
    struct codel *c = &b->codel;
    int standing;
    if (!c->interval)
        return 0;
    standing = is_standing(b, c, t - came, t);
    if (!standing) {
        c->dropping = c->again = 0;
        return 0;
    }
    if (!c->dropping) {
        begin_dropping(c, t);
        return 1;
    }
    if (c->again)
        c->drop_next = control_law(c, c->drop_next);
    c->again = t >= c->drop_next;
    c->count += c->again;
    return (int)c->again;
}

/* Takes a packet at t. Returns whether it is dropped. */
static int take_at(struct bottleneck *b, struct queued *q, uint64_t t)
{
    *q = take(b);
    if (codel_drops(b, q->came, t))
        return 1;
    b->longest_wait = later(b->longest_wait, t - q->came);
    return 0;
}

/* --- a rate --------------------------------------------------------------------------------- */

/* When so many tokens are in the bucket, from t on; they are taken out. A bucket that holds fewer
 * lets a packet pass as a line of this rate does. It is full at first, whatever the clock says. */
static uint64_t tokens_at(struct bottleneck *b, uint64_t t, uint32_t length)
{
    b->full_at = later(b->full_at, t) + ((length * b->byte_ticks) >> LINK_BYTE_SHIFT);
    return later(t, b->full_at > b->bucket ? b->full_at - b->bucket : 0);
}

static uint32_t next_by_rate(struct bottleneck *b, uint64_t now, struct queued *q, uint64_t *at)
{
    uint64_t t;
    if (!b->used || (t = later(b->queue[b->first].came, b->free_at)) > now)
        return PASSAGE_NONE;
    *at = t;
    if (take_at(b, q, t))
        return PASSAGE_DROPPED;
    *at = b->free_at = tokens_at(b, t, q->packet.length);
    return PASSAGE_LEFT;
}

/* --- a trace -------------------------------------------------------------------------------- */

static void next_opportunity(struct bottleneck *b)
{
    if (++b->next < b->n_trace)
        return;
    b->next = 0;
    b->base += b->trace[b->n_trace - 1];
}

static uint64_t opportunity(const struct bottleneck *b) { return b->base + b->trace[b->next]; }

/* Nothing waits: opportunities until now have passed. */
static void let_pass(struct bottleneck *b, uint64_t now)
{
    uint64_t lap = b->trace[b->n_trace - 1];
    if (opportunity(b) > now)
        return;
    codel_rest(&b->codel);
    if (now - b->base > lap) {
        b->base += (now - b->base) / lap * lap;
        b->next = 0;
    }
    while (opportunity(b) <= now)
        next_opportunity(b);
}

/* Uses the opportunity's bytes for the packet that is being sent, without its Ethernet header.
 * Returns whether it has left. */
static int send_part(struct bottleneck *b)
{
    uint32_t part = b->left < b->unsent ? b->left : b->unsent;
    b->left -= part;
    b->unsent -= part;
    return !b->unsent;
}

static uint32_t next_by_trace(struct bottleneck *b, uint64_t now, struct queued *q, uint64_t *at)
{
    if (!b->base)
        b->base = now;
    for (;;) {
        if (!b->unsent && !b->used) {
            if (b->left) /* the current one is over */
                codel_rest(&b->codel);
            b->left = 0;
            let_pass(b, now);
            return PASSAGE_NONE;
        }
        if (!b->left) {
            if ((b->at = opportunity(b)) > now)
                return PASSAGE_NONE;
            b->left = OPPORTUNITY_BYTES;
            next_opportunity(b);
        }
        *at = b->at;
        if (!b->unsent) {
            uint32_t header = ETHERNET_HEADER;
            if (take_at(b, q, b->at))
                return PASSAGE_DROPPED;
            b->sending = *q;
            b->unsent = q->packet.length > header ? q->packet.length - header : 1;
        }
        if (send_part(b)) {
            *q = b->sending;
            return PASSAGE_LEFT;
        }
    }
}

/* --- both ----------------------------------------------------------------------------------- */

uint32_t bottleneck_next(struct bottleneck *b, uint64_t now, struct queued *q, uint64_t *at)
{
    return b->byte_ticks ? next_by_rate(b, now, q, at) : next_by_trace(b, now, q, at);
}

uint32_t bottleneck_empty(struct bottleneck *b, struct queued *q)
{
    if (b->unsent) {
        b->unsent = 0;
        *q = b->sending;
        return 1;
    }
    if (!b->used)
        return 0;
    *q = take(b);
    return 1;
}

uint64_t bottleneck_due(const struct bottleneck *b)
{
    if (!b->used && !b->unsent)
        return UINT64_MAX;
    return b->byte_ticks ? later(b->queue[b->first].came, b->free_at) : opportunity(b);
}

static void move(uint64_t *time, uint64_t ticks) { *time += *time ? ticks : 0; }

void bottleneck_move(struct bottleneck *b, uint64_t ticks)
{
    struct codel *c = &b->codel;
    for (uint32_t i = 0; i < b->n_places; i++)
        move(&b->queue[i].came, ticks);
    move(&b->sending.came, ticks);
    move(&b->full_at, ticks);
    move(&b->free_at, ticks);
    move(&b->base, ticks);
    move(&b->at, ticks);
    move(&c->first_above_time, ticks);
    move(&c->drop_next, ticks);
}
