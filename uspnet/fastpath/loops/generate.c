// SPDX-License-Identifier: Apache-2.0
/* generate: sends one frame again and again, or several in turn, as fast as the rings take them or
 * at a fixed rate. */
#include "signature.h"

/* What every burst needs is one function; what some need is called. */
#define INLINE inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))

enum {
    GRACE_NS = 20000000, /* of this thread's own time */
    SUMS = 0xffff,       /* Internet checksums are sums modulo this (RFC 1071) */
};

/* Nothing on the way changes a buffer, so a single template is written once into every free one. */
static void fill_buffers(struct worker *w, const struct pool *pool)
{
    for (uint32_t i = 0; i < w->stack->top; i++) {
        uint32_t index = w->stack->free[i];
        struct packet p = {index, colour(index), (uint16_t)w->templates->length};
        memcpy(packet_data(pool, p), w->templates->frame, w->templates->length);
    }
}

/* Packets whose time has come, since the start. */
static uint64_t due(const struct worker *w, uint64_t now)
{
    uint64_t n = (uint64_t)((double)(now - w->start) * w->rate / (double)w->ticks_hz);
    return w->total && n > w->total ? w->total : n;
}

/* The Internet checksum over a signature, whose sum is given, and all else that it covers. */
static inline void check_sum(const struct frame_template *t, uint8_t *frame, uint32_t sum)
{
    uint32_t rest = sum + t->base < SUMS ? sum + t->base : sum + t->base - SUMS;
    uint16_t check = rest ? (uint16_t)~rest : t->zero;
    if (unlikely(t->turned))
        check = (uint16_t)(check << 8 | check >> 8);
    memcpy(frame + t->check_at, &check, sizeof check);
}

/* A CRC is linear: each byte changes it in a way of its own, whatever the others are. */
static void check_crc(const struct frame_template *t, uint8_t *frame, const uint8_t *signature)
{
    uint32_t crc = t->base;
    for (uint32_t i = 0; i < SIGNATURE_BYTES; i++)
        crc ^= t->crc[i * 256 + signature[i]];
    memcpy(frame + t->check_at, &crc, sizeof crc);
}

/* Stream, sequence number and time of sending, into each packet, and what depends on them. Made
 * once for each of the cases that `sign` tells apart. */
static INLINE void sign_all(const struct worker *w, const struct lane *lane, struct signature s,
                            uint32_t n, uint32_t at, int several, int check)
{
    const struct frame_template only = w->templates[at]; /* a copy, which stays in registers */
    const struct frame_template *t = several ? &w->templates[at] : &only;
    const struct pool *pool = lane->tx->pool;
    uint32_t stamp_at = w->stamp_at;
    uint16_t head = (uint16_t)(s.magic | s.stream << 8);
    /* 2^16 is 1 modulo 2^16 - 1: a number is the sum of its words, and the next one's is 1 more */
    uint32_t sum = (uint32_t)((head + s.time % SUMS + s.number % SUMS) % SUMS);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *frame = packet_data(pool, lane->packets[i]);
        memcpy(frame + stamp_at, &s, sizeof s);
        if (check == CHECK_SUM || (several && t->check == CHECK_SUM))
            check_sum(t, frame, sum);
        else if (check == CHECK_CRC || (several && t->check == CHECK_CRC))
            check_crc(t, frame, frame + stamp_at);
        s.number++;
        sum = sum + 1 < SUMS ? sum + 1 : 0;
        if (several) {
            at = at + 1 < w->n_templates ? at + 1 : 0;
            t = &w->templates[at];
        }
    }
}

static NOINLINE void sign(struct worker *w, struct lane *lane, uint32_t stream, uint32_t n,
                          uint32_t at)
{
    struct stream *st = &w->streams[stream];
    struct signature s = {SIGNATURE, (uint8_t)(w->first_stream + stream), st->next,
                          clock_ns(CLOCK_MONOTONIC) ^ w->secret};
    st->next += n;
    if (w->n_templates > 1)
        sign_all(w, lane, s, n, at, 1, CHECK_NONE);
    else if (w->templates->check == CHECK_SUM)
        sign_all(w, lane, s, n, 0, 0, CHECK_SUM);
    else if (w->templates->check == CHECK_CRC)
        sign_all(w, lane, s, n, 0, 0, CHECK_CRC);
    else
        sign_all(w, lane, s, n, 0, 0, CHECK_NONE);
}

/* The next n packets of all workers' common sequence. Returns the first one's template. */
static NOINLINE uint32_t copy_templates(struct worker *w, struct lane *lane, uint32_t n)
{
    uint64_t turn = __atomic_fetch_add(w->turn, n, __ATOMIC_RELAXED);
    uint32_t first = (uint32_t)(turn % w->n_templates), at = first;
    for (uint32_t i = 0; i < n; i++) {
        const struct frame_template *t = &w->templates[at];
        lane->packets[i].length = (uint16_t)t->length;
        memcpy(packet_data(lane->tx->pool, lane->packets[i]), t->frame, t->length);
        at = at + 1 < w->n_templates ? at + 1 : 0;
    }
    return first;
}

/* Takes buffers for up to n packets, within the job's budget. */
static INLINE void lane_fill(struct worker *w, struct lane *lane, uint32_t stream, uint32_t n)
{
    uint32_t index[BURST_MAX], taken = stack_take(w->stack, index, n), first = 0;
    uint16_t length = (uint16_t)w->templates->length;
    n = (uint32_t)worker_claim(w, taken);
    for (uint32_t i = n; i < taken; i++)
        stack_give(w->stack, index[i]);
    for (uint32_t i = 0; i < n; i++)
        lane->packets[i] = (struct packet){index[i], colour(index[i]), length};
    if (w->n_templates > 1)
        first = copy_templates(w, lane, n);
    if (w->stamp_at)
        sign(w, lane, stream, n, first);
    w->offered += n;
    lane_hold(lane, n);
}

/* A burst for each lane, up to the packet whose turn is at `until`. Returns the packets moved;
 * `waiting` counts those that waited for room. */
static INLINE uint32_t send_round(struct worker *w, uint64_t until, uint64_t *waiting)
{
    uint32_t moved = 0;
    *waiting = 0;
    for (uint32_t i = 0; i < w->n_lanes; i++) {
        struct lane *lane = &w->lanes[i];
        if (lane->from == lane->held) {
            uint64_t ahead = until - w->offered;
            lane_fill(w, lane, i, (uint32_t)(ahead < w->burst ? ahead : w->burst));
        }
        *waiting += lane->held - lane->from;
        moved += lane_send(lane);
    }
    if (w->guest)
        moved += measure_round(w->guest);
    return moved;
}

/* Sends what was due before the end and is not sent yet, because this thread did not run or the
 * ring was full for a moment: as long as the ring takes it, and for GRACE_NS at most. The rest is
 * unsent. Without a rate nothing is due, and what waits counts as not begun. */
static NOINLINE void finish(struct worker *w)
{
    uint64_t now = ticks(), grace = clock_ns(CLOCK_THREAD_CPUTIME_ID) + GRACE_NS;
    uint64_t owed = w->ending == END_DEADLINE && w->total ? w->total : due(w, now), held;
    do {
        send_round(w, w->rate > 0 ? owed : w->offered, &held);
        held = 0;
        for (uint32_t i = 0; i < w->n_lanes; i++)
            held += w->lanes[i].held - w->lanes[i].from;
        if (!held && (w->offered >= owed || (w->budget && !load_relaxed(w->budget))))
            break;
        (void)worker_continue(w); /* Python may want us to pause */
    } while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < grace);
    if (w->rate <= 0)
        w->offered -= held;
    else if (owed > w->offered)
        w->offered += worker_claim(w, owed - w->offered);
}

void loop_generate(struct worker *w)
{
    if (w->n_templates == 1)
        fill_buffers(w, w->lanes[0].tx->pool);
    w->start = ticks();
    if (w->seconds > 0)
        w->deadline = w->start + (uint64_t)(w->seconds * (double)w->ticks_hz);
    while (worker_continue(w)) {
        uint64_t waiting, until = w->rate > 0 ? due(w, ticks()) : UINT64_MAX;
        uint32_t moved = send_round(w, until, &waiting);
        if (moved || (w->rate > 0 && !waiting)) /* a paced worker between two packets isn't idle */
            worker_busy(w);
        else
            worker_idle(w);
    }
    finish(w);
    w->end = ticks();
    for (uint32_t i = 0; i < w->n_lanes; i++) {
        struct lane *lane = &w->lanes[i];
        stack_give_packets(w->stack, lane->packets + lane->from, lane->held - lane->from);
        lane_hold(lane, 0);
    }
}
