// SPDX-License-Identifier: Apache-2.0
/* A watched queue, the job's side (watch.h). */
#include "watch.h"

/* Is there room for so many bytes? What the watcher says about that is believed as far as it can be
 * true: wherever it says to be, a record lies within the ring. */
static int has_room(struct watch *w, uint64_t bytes)
{
    if (likely(w->next + bytes - w->taken <= w->size))
        return 1;
    w->taken = load_acquire(&w->shared->head);
    return w->next - w->taken <= w->size && w->next + bytes - w->taken <= w->size;
}

/* Writes a record, and moves on behind it once it is whole. */
static void add(struct watch *w, struct watch_record r, const uint8_t *data)
{
    uint64_t at = w->next & (w->size - 1), need = pad16(sizeof r + r.kept), gap = 0;
    if (unlikely(need > w->size - at))
        gap = w->size - at;
    if (unlikely(!has_room(w, gap + need))) {
        store_relaxed(&w->shared->missed, w->shared->missed + 1);
        return;
    }
    if (unlikely(gap)) {
        memcpy(w->records + at, &(struct watch_record){.reason = WATCH_SKIP}, sizeof r);
        at = 0;
    }
    memcpy(w->records + at, &r, sizeof r);
    memcpy(w->records + at + sizeof r, data, r.kept);
    keep_order();
    w->next += gap + need;
}

/* Adds n packets of this queue. Those without a time get that of now. */
static void show(struct watch *w, const struct queue *q, const uint64_t *stamps,
                 const struct origin *origins, uint32_t reason, const struct packet *p, uint32_t n)
{
    uint64_t now = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct watch_record r = {.length = p[i].length, .reason = (uint8_t)reason};
        r.kept = (uint16_t)least(p[i].length, w->longest);
        if (origins && origins[i].length > p[i].length)
            r.length = origins[i].length;
        r.ns = stamps ? stamps[i] : STAMP_UNKNOWN;
        if (r.ns == STAMP_UNKNOWN)
            r.ns = now = now ? now : clock_ns(CLOCK_REALTIME);
        add(w, r, packet_data(q->pool, p[i]));
    }
    store_release(&w->shared->tail, w->next);
}

/* A worker takes a buffer that it has sent, or that was freed, for nothing else before its next
 * burst: the packets are still there. Of the handles, a transmit ring may have changed some; those
 * that it accepts and then refuses, as too long, are shown, too. */
uint32_t watch_burst(struct queue *q, struct packet *packets, uint32_t n)
{
    struct watch *w = q->watch;
    struct packet given[BURST_MAX];
    uint32_t moved;
    if (w->sends)
        memcpy(given, packets, least(n, BURST_MAX) * sizeof *given);
    moved = w->burst(q, packets, n);
    if (moved)
        show(w, q, q->stamps, q->origins, WATCH_PASSED, w->sends ? given : packets,
             least(moved, BURST_MAX));
    return moved;
}

void watch_drops(struct queue *q, uint32_t reason, const struct packet *packets, uint32_t n)
{
    if (q->watch->drops && n)
        show(q->watch, q, NULL, NULL, reason, packets, n);
}
