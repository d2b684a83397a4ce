// SPDX-License-Identifier: Apache-2.0
/* generate: sends one frame repeatedly, or several in turn, as fast as the rings accept them or
 * when they are due. */
#include "measure.h"
#include "pace.h"

// [python]
struct generate_loop {
    struct worker w;
    const struct frame_template *templates;
    uint32_t n_templates;
    uint32_t n_order;      /* packets of a cycle */
    const uint32_t *order; /* template of each packet of a cycle; NULL: templates in turn */
    uint32_t stamp_at;     /* offset of the 18-byte signature in every frame; 0: none */
    uint64_t *turn;        /* packets begun by all workers; only with several templates */
    uint64_t secret;       /* random for each run; XORed with the time in a signature */
    struct pace *pace;     /* when packets are due; NULL: as soon as there is room */
    double seconds;        /* of the run; 0: no limit */
    uint64_t offered;
    struct stream *streams; /* one for each lane; sequence numbers continue */
    uint32_t first_stream;  /* number of streams[0] */
    struct field *fields;   /* list of what varies from packet to packet; may be NULL */
    struct measure_loop *inline_receiver; /* runs in this thread; may be NULL */
};
void loop_generate(struct worker *w);
// [c]

/* The common path is inlined into one function; rare cases are calls. */
#define INLINE inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))

enum {
    GRACE_NS = 20000000, /* CPU time of this thread */
    SUMS = 0xffff,       /* Internet checksums are sums modulo this (RFC 1071) */
};

/* Must buffers be written for each packet? A single template without fields is written once into
 * every free buffer, and stays there. */
static inline int copies(const struct generate_loop *g) { return g->n_templates > 1 || g->fields; }

/* The template of a packet, by its place in the cycle. */
static inline const struct frame_template *template_at(const struct generate_loop *g, uint32_t at)
{
    return &g->templates[g->order ? g->order[at] : at];
}

static void fill_buffers(struct generate_loop *g, const struct pool *pool)
{
    for (uint32_t i = 0; i < g->w.stack->top; i++) {
        uint32_t index = g->w.stack->free[i];
        struct packet p = {index, cache_offset(index), (uint16_t)g->templates->length};
        memcpy(packet_data(pool, p), g->templates->frame, g->templates->length);
    }
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

/* Writes stream, sequence number and time into each packet, and updates its checksum. Compiled
 * once for each case that `sign` distinguishes. */
static INLINE void sign_all(const struct generate_loop *g, const struct exit *e, struct signature s,
                            uint32_t n, uint32_t at, int several, int check)
{
    const struct frame_template only = *g->templates; /* a copy, to be kept in registers */
    const struct frame_template *t = several ? template_at(g, at) : &only;
    const struct pool *pool = e->tx->pool;
    uint32_t stamp_at = g->stamp_at;
    uint16_t head = (uint16_t)(s.magic | s.stream << 8);
    /* modulo 2^16 - 1, a number is the sum of its 16-bit words, and its successor is 1 more */
    uint32_t sum = (uint32_t)((head + s.time % SUMS + s.number % SUMS) % SUMS);
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *frame = packet_data(pool, e->burst.packets[i]);
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

static NOINLINE void sign(struct generate_loop *g, struct exit *e, uint32_t stream, uint32_t n,
                          uint32_t at)
{
    struct stream *st = &g->streams[stream];
    struct signature s = {SIGNATURE, (uint8_t)(g->first_stream + stream), st->next,
                          clock_ns(CLOCK_MONOTONIC) ^ g->secret};
    st->next += n;
    if (g->n_templates > 1)
        sign_all(g, e, s, n, at, 1, CHECK_NONE);
    else if (g->templates->check == CHECK_SUM)
        sign_all(g, e, s, n, 0, 0, CHECK_SUM);
    else if (g->templates->check == CHECK_CRC)
        sign_all(g, e, s, n, 0, 0, CHECK_CRC);
    else if (g->templates->check == CHECK_ADD)
        sign_all(g, e, s, n, 0, 0, CHECK_ADD);
    else
        sign_all(g, e, s, n, 0, 0, CHECK_NONE);
}

/* Reserves the next n packets of the sequence shared by all workers. Returns the place of the first
 * in the cycle. */
static NOINLINE uint32_t copy_templates(struct generate_loop *g, struct exit *e, uint32_t n)
{
    uint64_t turn = __atomic_fetch_add(g->turn, n, __ATOMIC_RELAXED);
    uint32_t first = (uint32_t)(turn % g->n_order), at = first;
    for (uint32_t i = 0; i < n; i++) {
        const struct frame_template *t = template_at(g, at);
        e->burst.packets[i].length = (uint16_t)t->length;
        memcpy(packet_data(e->tx->pool, e->burst.packets[i]), t->frame, t->length);
        at = at + 1 < g->n_order ? at + 1 : 0;
    }
    for (struct field *f = g->fields; f; f = f->next)
        f->apply(f, e->tx->pool, e->burst.packets, n);
    return first;
}

/* Takes buffers for up to n packets, within the job's budget. */
static INLINE void exit_fill(struct generate_loop *g, struct exit *e, uint32_t stream, uint32_t n,
                             int paced)
{
    uint32_t index[BURST_MAX], taken = stack_take(g->w.stack, index, n), first = 0;
    uint16_t length = (uint16_t)g->templates->length;
    n = (uint32_t)worker_claim(&g->w, taken);
    for (uint32_t i = n; i < taken; i++)
        stack_give(g->w.stack, index[i]);
    for (uint32_t i = 0; i < n; i++)
        e->burst.packets[i] = (struct packet){index[i], cache_offset(index[i]), length};
    if (paced)
        pace_take(g->pace, e->burst.stamps, n);
    if (copies(g))
        first = copy_templates(g, e, n);
    if (g->stamp_at)
        sign(g, e, stream, n, first);
    g->offered += n;
    exit_hold(e, n);
}

/* Sends what an exit holds. Returns the packets sent. */
static INLINE uint32_t send_held(struct generate_loop *g, struct exit *e, int paced)
{
    uint32_t from = e->from, sent;
    uint64_t handed = paced && exit_left(e) ? ticks() - g->w.start : 0;
    sent = exit_send(e);
    if (paced)
        pace_record(g->pace, e->burst.stamps + from, sent, handed);
    return sent;
}

/* Sends a burst on each lane: with `paced`, of packets that are due `elapsed` ticks after the
 * start. Returns the packets moved; `waiting` counts those that wait for room. */
static INLINE uint32_t send_round(struct generate_loop *g, uint64_t elapsed, uint64_t *waiting,
                                  int paced)
{
    uint32_t moved = 0;
    *waiting = 0;
    for (uint32_t i = 0; i < g->w.n_lanes; i++) {
        struct exit *e = g->w.lanes[i].exits;
        if (e->from == e->held) {
            uint32_t n = paced ? pace_ready(g->pace, elapsed, g->w.burst) : g->w.burst;
            exit_fill(g, e, i, n, paced);
        }
        *waiting += exit_left(e);
        moved += send_held(g, e, paced);
    }
    if (g->inline_receiver)
        moved += measure_round(g->inline_receiver);
    return moved;
}

static NOINLINE uint32_t send_due(struct generate_loop *g, uint64_t elapsed, uint64_t *waiting)
{
    return send_round(g, elapsed, waiting, 1);
}

/* Sends what the exits hold, and nothing new. */
static void send_last(struct generate_loop *g)
{
    for (uint32_t i = 0; i < g->w.n_lanes; i++)
        send_held(g, g->w.lanes[i].exits, 0);
    if (g->inline_receiver)
        measure_round(g->inline_receiver);
}

/* Sends what was due before the end and was delayed, because the thread did not run or the ring was
 * full: while the ring accepts packets, for GRACE_NS at most. The rest counts as unsent. Without a
 * pace, nothing is due, and packets that wait count as not begun. */
static NOINLINE void finish(struct generate_loop *g)
{
    uint64_t elapsed = g->w.ending == END_DEADLINE ? PACE_ALL : ticks() - g->w.start;
    uint64_t held, grace = clock_ns(CLOCK_THREAD_CPUTIME_ID) + GRACE_NS;
    do {
        if (g->pace)
            send_due(g, elapsed, &held);
        else
            send_last(g);
        held = 0;
        for (uint32_t i = 0; i < g->w.n_lanes; i++)
            held += exit_left(g->w.lanes[i].exits);
        if (!held && !(g->pace && pace_ready(g->pace, elapsed, 1) &&
                       (!g->w.budget || load_relaxed(g->w.budget))))
            break;
        (void)worker_continue(&g->w); /* pauses if Python asks for it */
    } while (clock_ns(CLOCK_THREAD_CPUTIME_ID) < grace);
    if (g->pace)
        g->offered += worker_claim(&g->w, pace_rest(g->pace, elapsed));
    else
        g->offered -= held;
}

static void run_paced(struct generate_loop *g)
{
    struct worker *w = &g->w;
    uint64_t waiting;
    pace_begin(g->pace, w->ticks_hz);
    while (worker_continue(w)) {
        uint64_t now = ticks();
        pace_look(g->pace, now);
        uint32_t moved = send_due(g, now - w->start, &waiting);
        if (!moved && waiting) {
            worker_idle(w);
            continue;
        }
        worker_busy(w); /* also between two packets */
        if (!moved && !g->inline_receiver)
            pace_await(g->pace, w);
    }
}

static void run_unpaced(struct generate_loop *g)
{
    uint64_t waiting;
    while (worker_continue(&g->w)) {
        if (send_round(g, 0, &waiting, 0))
            worker_busy(&g->w);
        else
            worker_idle(&g->w);
    }
}

void loop_generate(struct worker *w)
{
    struct generate_loop *g = (struct generate_loop *)w;
    if (!copies(g))
        fill_buffers(g, w->lanes[0].exits->tx->pool);
    worker_begin(w);
    if (g->seconds > 0)
        w->deadline = w->start + (uint64_t)(g->seconds * (double)w->ticks_hz);
    if (g->pace)
        run_paced(g);
    else
        run_unpaced(g);
    finish(g);
    w->end = ticks();
    if (g->pace)
        pace_add_up(g->pace, w->end);
    for (uint32_t i = 0; i < w->n_lanes; i++) {
        struct exit *e = w->lanes[i].exits;
        stack_give_packets(w->stack, e->burst.packets + e->from, exit_left(e));
        exit_hold(e, 0);
    }
}
