// SPDX-License-Identifier: Apache-2.0
/* measure: receives signed packets and counts what is missing, doubled, late or out of order.
 *
 * The signature is 18 bytes, what a 60-byte UDP/IPv4 frame has room for: 0x75, stream (1 byte),
 * sequence number (8), CLOCK_MONOTONIC in ns when the burst was sent (8), in host byte order:
 * sender and receiver are the same process. */
#include "worker.h"

enum { SIGNATURE = 0x75, SIGNATURE_BYTES = 18, WINDOW = 65536 };

uint32_t histogram_slot(uint64_t ns);

static void forget(struct stream *s, uint64_t from, uint64_t to)
{
    if (to - from >= WINDOW) {
        memset(s->seen, 0, sizeof s->seen);
        return;
    }
    for (; from < to; from++)
        s->seen[from % WINDOW / 64] &= ~(1ull << (from % 64));
}

static void stream_see(struct stream *s, uint64_t number)
{
    uint64_t *word = &s->seen[number % WINDOW / 64], bit = 1ull << (number % 64);
    if (likely(number >= s->next)) {
        forget(s, s->next, number);
        s->next = number + 1;
        *word &= ~bit;
    } else if (s->next - number > WINDOW) {
        s->stale++;
        return;
    } else if (*word & bit) {
        s->duplicated++;
        return;
    } else {
        s->reordered++;
    }
    *word |= bit;
    s->received++;
}

static void see(struct worker *w, const struct pool *pool, struct packet p, uint64_t now)
{
    const uint8_t *at = packet_data(pool, p) + w->stamp_at;
    uint64_t number, sent_at;
    uint8_t stream;
    if (p.length < w->stamp_at + SIGNATURE_BYTES || at[0] != SIGNATURE) {
        w->unsigned_packets++;
        return;
    }
    stream = load_relaxed(&at[1]); /* once: a zero-copy peer may write to the pool at any time */
    if (stream >= w->n_streams) {
        w->unsigned_packets++;
        return;
    }
    memcpy(&number, at + 2, 8);
    memcpy(&sent_at, at + 10, 8);
    stream_see(&w->streams[stream], number);
    if (sent_at <= now)
        w->histogram[histogram_slot(now - sent_at)]++;
}

/* One burst from each lane. Returns the packets received. */
uint32_t measure_round(struct worker *w)
{
    uint32_t moved = 0;
    for (uint32_t i = 0; i < w->n_lanes; i++) {
        struct lane *lane = &w->lanes[i];
        uint32_t n = queue_burst(lane->rx, lane->packets, w->burst);
        uint64_t now = n ? clock_ns(CLOCK_MONOTONIC) : 0;
        for (uint32_t j = 0; j < n; j++)
            see(w, lane->rx->pool, lane->packets[j], now);
        stack_give_packets(w->stack, lane->packets, n);
        moved += n;
    }
    return moved;
}

void loop_measure(struct worker *w)
{
    w->start = ticks();
    while (worker_continue(w)) {
        if (likely(measure_round(w)))
            worker_busy(w);
        else
            worker_idle(w);
    }
    w->end = ticks();
}
