// SPDX-License-Identifier: Apache-2.0
/* measure: receives packets with signatures and counts lost, duplicated and reordered ones and
 * their latency; or packets without signatures, and counts those that equal a template. */
#include "measure.h"

enum { LAST_ROUNDS = 1024 };

static NOINLINE void forget(struct stream *s, uint64_t from, uint64_t to)
{
    if (to - from >= WINDOW) {
        memset(s->seen, 0, sizeof s->seen);
        return;
    }
    for (; from < to; from++)
        s->seen[from % WINDOW / 64] &= ~(1ull << (from % 64));
}

static INLINE void stream_compare(struct stream *s, uint64_t delay)
{
    uint64_t more = delay - s->delay, difference = (int64_t)more < 0 ? -more : more;
    s->difference_sum += difference;
    if (unlikely(difference > s->difference_max))
        s->difference_max = difference;
    s->jitter += difference - ((s->jitter + 8) >> 4);
}

/* Returns whether the packet is one that counts as received. */
static INLINE int stream_see(struct stream *s, uint64_t number, uint64_t delay)
{
    uint64_t *word = &s->seen[number % WINDOW / 64], bit = 1ull << (number % 64);
    if (likely(number >= s->next)) {
        if (likely(number == s->next && number)) {
            stream_compare(s, delay);
        } else {
            forget(s, s->next, number);
            s->unpaired++;
        }
        s->delay = delay;
        s->next = number + 1;
    } else if (s->next - number > WINDOW) {
        s->stale++;
        return 0;
    } else if (*word & bit) {
        s->duplicated++;
        return 0;
    } else {
        s->reordered++;
    }
    *word |= bit;
    s->received++;
    return 1;
}

static void foreign(struct measure_loop *m, const struct pool *pool, struct packet p)
{
    m->unsigned_packets++;
    if (m->answer)
        answer_see(m->answer, pool, p);
}

/* Copies the signature at an offset: a zero-copy peer can write to the pool at any time. Returns 0
 * if there is none of this run's. */
static INLINE int read_signature(const struct measure_loop *m, const uint8_t *frame,
                                 uint32_t length, uint32_t at, uint64_t now, struct signature *s)
{
    if (length < at + SIGNATURE_BYTES)
        return 0;
    memcpy(s, frame + at, sizeof *s);
    s->time ^= m->secret;
    return s->magic == SIGNATURE && s->stream < m->n_streams &&
           s->time - m->began <= now - m->began;
}

/* The same at the offsets of other streams. */
static NOINLINE int find_signature(const struct measure_loop *m, const uint8_t *frame,
                                   uint32_t length, uint64_t now, struct signature *s)
{
    for (uint32_t i = 0; i < m->n_offsets; i++)
        if (read_signature(m, frame, length, m->offsets[i], now, s))
            return 1;
    return 0;
}

/* Returns whether the packet, whose signature is set then, is one that counts as received. */
static INLINE int see(struct measure_loop *m, const struct pool *pool, struct packet p,
                      uint64_t now, struct signature *signature)
{
    const uint8_t *frame = packet_data(pool, p);
    struct signature s, other;
    int counts = 0;
    if (unlikely(!read_signature(m, frame, p.length, m->stamp_at, now, &s))) {
        if (!find_signature(m, frame, p.length, now, &other)) {
            foreign(m, pool, p);
            return 0;
        }
        s = other;
    }
    struct stream *stream = &m->streams[s.stream];
    uint64_t delay = now - s.time;
    if (m->losses && !losses_see(m->losses, s.stream, stream, s.number, s.time))
        stream->stale++;
    else
        counts = stream_see(stream, s.number, delay);
    stream->latencies[histogram_slot(delay)]++;
    *signature = s;
    return counts;
}

static void see_burst(struct measure_loop *m, const struct pool *pool, const struct packet *packets,
                      uint32_t n, uint64_t now)
{
    struct signature s;
    for (uint32_t i = 0; i < n; i++)
        see(m, pool, packets[i], now, &s);
}

/* The same, and the order within each flow. */
static NOINLINE void see_flows(struct measure_loop *m, const struct pool *pool,
                               const struct packet *packets, uint32_t n, uint64_t now)
{
    struct arrival arrivals[BURST_MAX];
    struct signature s;
    uint32_t came = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct packet p = packets[i];
        if (see(m, pool, p, now, &s))
            flow_order_look(m->order, &arrivals[came++], packet_data(pool, p), p.length, &s);
    }
    flow_order_decide(m->order, arrivals, came);
}

/* --- packets without signatures --- */

/* A hash of a frame without its MAC addresses, which a router may change. */
static uint64_t likeness(const uint8_t *frame, uint32_t length)
{
    uint64_t hash = length, word;
    for (uint32_t i = 12; i < length; i += 8) {
        word = 0;
        memcpy(&word, frame + i, least(8, length - i));
        hash = (hash ^ word) * 0x9e3779b97f4a7c15ull;
        hash ^= hash >> 32;
    }
    return hash;
}

static int alike(const struct frame_template *t, const uint8_t *frame, uint32_t length)
{
    return t->length == length && !memcmp(t->frame + 12, frame + 12, length - 12);
}

/* The slot of a frame's template, or the free slot where it would be inserted. */
static uint32_t *lookup_slot(const struct lookup *l, const uint8_t *frame, uint32_t length)
{
    uint64_t at = likeness(frame, length) & l->mask;
    while (l->slots[at] && !alike(&l->templates[l->slots[at] - 1], frame, length))
        at = (at + 1) & l->mask;
    return &l->slots[at];
}

void lookup_add(struct lookup *l, uint32_t number)
{
    const struct frame_template *t = &l->templates[number];
    *lookup_slot(l, t->frame, t->length) = number + 1;
}

static void recognize_burst(struct measure_loop *m, const struct pool *pool,
                            const struct packet *packets, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        struct packet p = packets[i];
        const uint8_t *frame = packet_data(pool, p);
        if (p.length > 12 && *lookup_slot(m->lookup, frame, p.length))
            m->lookup->received++;
        else
            foreign(m, pool, p);
    }
}

/* One burst from each lane. Returns the packets received. */
uint32_t measure_round(struct measure_loop *m)
{
    struct worker *w = &m->w;
    struct packet packets[BURST_MAX];
    uint32_t moved = 0;
    if (m->answer)
        answer_send(m->answer); /* what found the ring full */
    for (uint32_t i = 0; i < w->n_lanes; i++) {
        struct queue *rx = w->lanes[i].rx;
        uint32_t n = queue_burst(rx, packets, w->burst);
        uint64_t now = n ? clock_ns(CLOCK_MONOTONIC) : 0;
        if (m->lookup)
            recognize_burst(m, rx->pool, packets, n);
        else if (m->order)
            see_flows(m, rx->pool, packets, n, now);
        else
            see_burst(m, rx->pool, packets, n, now);
        stack_give_packets(w->stack, packets, n);
        moved += n;
    }
    if (m->answer)
        answer_send(m->answer);
    if (m->writes)
        losses_write(m->losses, w, 0);
    return moved;
}

void loop_measure(struct worker *w)
{
    struct measure_loop *m = (struct measure_loop *)w;
    worker_begin(w);
    while (worker_continue(w)) {
        if (likely(measure_round(m)))
            worker_busy(w);
        else
            worker_idle(w);
    }
    for (uint32_t i = 0; i < LAST_ROUNDS && measure_round(m); i++)
        ; /* what came before the stop: this thread may have waited for a CPU */
    if (m->answer)
        answer_drop(m->answer);
    if (m->losses)
        losses_finish(m->losses, w, m->streams);
    w->end = ticks();
}
