// SPDX-License-Identifier: Apache-2.0
/* Signatures (template.h) in the packets of the generate loop, and the checksums over them. */
#include "generate.h"

enum {
    SUMS = 0xffff, /* Internet checksums are sums modulo this (RFC 1071) */
    NS_A_SECOND = 1000000000,
    READINGS = 4, /* of both clocks, at most */
};

/* Modulo 2^16 - 1, a number is the sum of its 16-bit words, and its successor is 1 more. */
static inline uint32_t signature_sum(struct signature s)
{
    uint16_t head = (uint16_t)(s.magic | s.stream << 8);
    return (uint32_t)((head + s.time % SUMS + s.number % SUMS) % SUMS);
}

static inline uint16_t turn(uint16_t word) { return (uint16_t)(word << 8 | word >> 8); }

/* The Internet checksum of a frame with a signature whose sum is given; `base` is the sum of all
 * else. */
static inline void check_sum(const struct frame_template *t, uint8_t *frame, uint32_t base,
                             uint32_t sum)
{
    uint32_t rest = sum + base < SUMS ? sum + base : sum + base - SUMS;
    uint16_t check = rest ? (uint16_t)~rest : t->zero;
    if (unlikely(t->turned))
        check = turn(check);
    memcpy(frame + t->check_at, &check, sizeof check);
}

/* The same, where the template has zeros for a signature, and fields have updated its checksum. */
static inline void add_sum(const struct frame_template *t, uint8_t *frame, uint32_t sum)
{
    uint16_t check;
    memcpy(&check, frame + t->check_at, sizeof check);
    check = (uint16_t)~check; /* 0 … 2^16 - 1: the latter is 0, too */
    check_sum(t, frame, (unlikely(t->turned) ? turn(check) : check) % SUMS, sum);
}

/* A CRC is linear: the contribution of each byte is independent of the others. */
static void check_crc(const struct frame_template *t, uint8_t *frame, const uint8_t *signature)
{
    uint32_t crc = t->base;
    for (uint32_t i = 0; i < SIGNATURE_BYTES; i++)
        crc ^= t->crc[i * 256 + signature[i]];
    memcpy(frame + t->check_at, &crc, sizeof crc);
}

/* Turns times at which n packets are due, in ticks since the start, into ns of CLOCK_MONOTONIC.
 * Both clocks are read for each burst: over a whole run, their rates differ by too much. A thread
 * that is taken off its CPU between the two readings reads them again. */
static void due_times(const struct generate_loop *g, const uint64_t *due, uint64_t *times,
                      uint32_t n)
{
    uint64_t before, now_ns, hz = g->w.ticks_hz, together = hz >> 19; /* about 2 µs */
    uint32_t readings = 0;
    do {
        before = ticks();
        now_ns = clock_ns(CLOCK_MONOTONIC);
    } while (unlikely(ticks() - before > together) && ++readings < READINGS);
    uint64_t elapsed = before - g->w.start;
    double ns = (double)NS_A_SECOND / (double)hz;
    for (uint32_t i = 0; i < n; i++) {
        uint64_t ago = elapsed > due[i] ? elapsed - due[i] : 0;
        times[i] = now_ns - (uint64_t)(int64_t)((double)(int64_t)ago * ns);
    }
}

/* Writes stream, sequence number and time into each packet, and updates its checksum. `times`: of
 * each packet, or NULL, if all have the time of `s`. Compiled once for each case that `sign`
 * distinguishes. */
static INLINE void sign_all(const struct generate_loop *g, const struct exit *e, struct signature s,
                            const uint64_t *times, uint32_t n, uint32_t at, int several, int check)
{
    const struct frame_template only = *g->templates; /* a copy, to be kept in registers */
    const struct frame_template *t = several ? template_at(g, at) : &only;
    const struct pool *pool = e->tx->pool;
    uint32_t stamp_at = g->stamp_at;
    uint32_t sum = signature_sum(s);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *frame = packet_data(pool, e->burst.packets[i]);
        if (times) {
            s.time = times[i] ^ g->secret;
            sum = signature_sum(s);
        }
        memcpy(frame + stamp_at, &s, sizeof s);
        if (check == CHECK_SUM || (several && t->check == CHECK_SUM))
            check_sum(t, frame, t->base, sum);
        else if (check == CHECK_CRC || (several && t->check == CHECK_CRC))
            check_crc(t, frame, frame + stamp_at);
        else if (check == CHECK_ADD || (several && t->check == CHECK_ADD))
            add_sum(t, frame, sum);
        s.number++;
        sum = sum + 1 < SUMS ? sum + 1 : 0;
        if (several) {
            at = at + 1 < g->n_order ? at + 1 : 0;
            t = template_at(g, at);
        }
    }
}

static INLINE void sign(const struct generate_loop *g, const struct exit *e, struct signature s,
                        const uint64_t *times, uint32_t n, uint32_t at)
{
    if (g->n_templates > 1)
        sign_all(g, e, s, times, n, at, 1, CHECK_NONE);
    else if (g->templates->check == CHECK_SUM)
        sign_all(g, e, s, times, n, 0, 0, CHECK_SUM);
    else if (g->templates->check == CHECK_CRC)
        sign_all(g, e, s, times, n, 0, 0, CHECK_CRC);
    else if (g->templates->check == CHECK_ADD)
        sign_all(g, e, s, times, n, 0, 0, CHECK_ADD);
    else
        sign_all(g, e, s, times, n, 0, 0, CHECK_NONE);
}

static NOINLINE void sign_due(const struct generate_loop *g, const struct exit *e,
                              struct signature s, uint32_t n, uint32_t at)
{
    uint64_t times[BURST_MAX];
    due_times(g, e->burst.stamps, times, n);
    sign(g, e, s, times, n, at);
}

/* Signs one packet, which may have been sent already, as it was then. */
void sign_again(const struct frame_template *t, uint8_t *frame, uint32_t stamp_at,
                struct signature s)
{
    uint32_t sum = signature_sum(s);
    memcpy(frame + stamp_at, &s, sizeof s);
    if (t->check == CHECK_SUM)
        check_sum(t, frame, t->base, sum);
    else if (t->check == CHECK_CRC)
        check_crc(t, frame, frame + stamp_at);
    else if (t->check == CHECK_ADD)
        add_sum(t, frame, sum);
}

/* Signs the packets that an exit holds, the first of which is at place `at` of the cycle: with the
 * times at which they are due or, without a pace, with the time of the burst. */
void generate_sign(struct generate_loop *g, struct exit *e, uint32_t stream, uint32_t n,
                   uint32_t at)
{
    struct stream *st = &g->streams[stream];
    struct signature s = {SIGNATURE, (uint8_t)(g->first_stream + stream), st->next, 0};
    st->next += n;
    if (g->pace && !g->dry) {
        sign_due(g, e, s, n, at);
        return;
    }
    s.time = clock_ns(CLOCK_MONOTONIC) ^ g->secret;
    sign(g, e, s, NULL, n, at);
}
