// SPDX-License-Identifier: Apache-2.0
/* Lost packets (lost.h): found by their numbers, and made once more. */
#include "lost.h"

#include "generate.h"

/* After the end: without a packet that the file takes, and in all. */
static const uint64_t PATIENCE_NS = 1000000000, WRITING_NS = 4000000000;

/* --- the sender's side --------------------------------------------------------------------- */

/* Logs what n signed packets were made from, the first of which is at `place` of the cycle. */
void generate_log(struct generate_loop *g, struct exit *e, uint32_t stream, uint32_t n,
                  uint32_t place)
{
    struct sent_log *log = &g->logs[stream];
    uint64_t number = g->streams[stream].next - n, turn = log->turn ? *log->turn - n : 0;
    __atomic_thread_fence(__ATOMIC_RELEASE); /* `next` moves on before what it overwrites here */
    for (uint32_t i = 0; i < n; i++) {
        struct signature s;
        uint64_t at = (number + i) & (log->room - 1);
        memcpy(&s, packet_data(e->tx->pool, e->burst.packets[i]) + g->stamp_at, sizeof s);
        log->times[at] = s.time ^ g->secret;
        log->turns[at] = turn + i;
        log->places[at] = place;
        place = place + 1 < g->n_order ? place + 1 : 0;
    }
}

/* --- losses -------------------------------------------------------------------------------- */

static uint64_t lasted(const struct loss *l)
{
    return l->after > l->before ? l->after - l->before : 0; /* clocks, and packets, may step back */
}

/* The number of the loss that ends now. One of another stream may be about to end again. */
static uint64_t next_row(const struct losses *l)
{
    uint64_t row = l->made;
    for (uint32_t i = 0; i < l->n_streams; i++)
        if (l->streams[i].packets && l->streams[i].row > row)
            row = l->streams[i].row;
    return row + 1;
}

static void end_loss(struct losses *l, uint32_t stream, uint64_t after, uint32_t ended)
{
    struct stream_losses *s = &l->streams[stream];
    struct loss row = {s->first, s->packets, s->before, after, stream, ended};
    if (!s->packets)
        return;
    if (!s->row)
        s->row = next_row(l);
    if (s->row <= LOSSES_KEPT)
        l->rows[s->row - 1] = row;
    if (s->row == 1 || lasted(&row) > lasted(&l->longest[l->which])) {
        l->longest[!l->which] = row;
        keep_order();
        l->which = !l->which;
    }
    keep_order();
    l->made = s->row > l->made ? s->row : l->made;
    keep_order();
    s->packets = 0;
}

static uint64_t *mark_of(const struct stream_losses *s, uint64_t number)
{
    return &s->marks[(number & (s->log->room - 1)) / 64];
}

/* Marks numbers to be written, or not to be. */
static void put_marks(struct stream_losses *s, uint64_t from, uint64_t to, int lost)
{
    while (from < to) {
        uint64_t bits = 64 - from % 64, mask;
        bits = bits < to - from ? bits : to - from;
        mask = UINT64_MAX >> (64 - bits) << from % 64;
        *mark_of(s, from) = lost ? *mark_of(s, from) | mask : *mark_of(s, from) & ~mask;
        from += bits;
    }
}

/* What can't be written any more: the log has forgotten it. */
static void give_up(struct stream_losses *s, uint64_t until)
{
    uint64_t all = s->written + s->log->room;
    put_marks(s, s->written, until < all ? until : all, 0);
    keep_order();
    s->written = until;
}

static void mark(struct stream_losses *s, uint64_t from, uint64_t to)
{
    if (to - s->written > s->log->room)
        give_up(s, to - s->log->room);
    put_marks(s, from > s->written ? from : s->written, to, 1);
}

/* The numbers from `from`, which is decided next, up to `to` are lost. */
static void count_lost(struct stream_losses *s, uint64_t from, uint64_t to)
{
    if (!s->packets) {
        s->first = from;
        s->row = 0;
        s->lost_before = s->lost;
        keep_order();
    }
    s->packets = to - s->first;
    s->lost = s->lost_before + s->packets;
    if (s->log)
        mark(s, from, to);
}

static void decide(struct losses *l, uint32_t stream, const struct stream *received, uint64_t to)
{
    struct stream_losses *s = &l->streams[stream];
    uint64_t n = s->decided, known = to < received->next ? to : received->next;
    if (n < known && known - n > WINDOW)
        n = known - WINDOW; /* what a process has left that died may say anything */
    while (n < known) {
        uint64_t word = received->seen[n % WINDOW / 64], many = 1;
        if (word == UINT64_MAX && n % 64 == 0 && n + 64 <= known)
            many = 64;
        if (word >> n % 64 & 1) {
            end_loss(l, stream, s->times[n % WINDOW], 1);
            s->before = s->times[(n + many - 1) % WINDOW];
        } else {
            count_lost(s, n, n + 1);
        }
        n += many;
        keep_order();
        s->decided = n;
    }
    if (n < to)
        count_lost(s, n, to);
    keep_order();
    s->decided = to;
}

/* Makes room in the window for a number beyond it. Returns 0 for one before it, or that was never
 * sent. */
NOINLINE int losses_advance(struct losses *l, uint32_t stream, const struct stream *received,
                            uint64_t number)
{
    struct stream_losses *s = &l->streams[stream];
    if (number < s->decided || number >= load_relaxed(&s->sender->next))
        return 0;
    decide(l, stream, received, (number / DECIDED_AT_ONCE + 1) * DECIDED_AT_ONCE - WINDOW);
    return 1;
}

/* --- the packets --------------------------------------------------------------------------- */

/* Moves on to the next packet to be written. Returns 0 if there is none. */
static int find_next(struct stream_losses *s)
{
    if (s->written < s->decided && s->decided - s->written > s->log->room)
        give_up(s, s->decided - s->log->room); /* the file has stalled, or a process has died */
    while (s->written < s->decided) {
        uint64_t left = *mark_of(s, s->written) >> s->written % 64;
        uint64_t step = left ? (uint64_t)__builtin_ctzll(left) : 64 - s->written % 64;
        if (s->written + step >= s->decided)
            step = s->decided - s->written;
        s->written += step;
        if (left && s->written < s->decided)
            return 1;
    }
    return 0;
}

/* Has the log forgotten the next packet to be written, or will it soon? Ask this after the log was
 * read: `next` moves on before what it overwrites. */
static int is_forgotten(const struct stream_losses *s)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
    return load_relaxed(&s->sender->next) + BURST_MAX - s->written > s->log->room;
}

/* Moves on to one that it has not. Returns 0 if there is none. */
static NOINLINE int skip_forgotten(struct stream_losses *s)
{
    uint64_t until = load_relaxed(&s->sender->next) + BURST_MAX - s->log->room;
    give_up(s, until < s->decided ? until : s->decided);
    return find_next(s);
}

/* The stream whose next packet was sent first. Those of several streams are in order once all that
 * were sent meanwhile are decided, so this waits for as long as the log allows it. */
static struct stream_losses *next_stream(struct losses *l, int last)
{
    struct stream_losses *first = NULL;
    uint64_t earliest = 0;
    for (uint32_t i = 0; i < l->n_streams; i++) {
        struct stream_losses *s = &l->streams[i];
        if (!find_next(s) || (is_forgotten(s) && !skip_forgotten(s)))
            continue;
        uint64_t time = s->log->times[s->written & (s->log->room - 1)];
        if (!first || time < earliest) {
            first = s;
            earliest = time;
        }
        last |= l->n_streams == 1 || s->decided - s->written > s->log->room / 2;
    }
    return last ? first : NULL;
}

static void count_flow(struct sent_traffic *from, const struct field *fields, uint64_t turn)
{
    uint64_t flow = program_choice(fields, from->flow_index, turn);
    if (flow < from->n_flows)
        from->by_flow[flow]++;
}

/* Makes the packet as it was sent, and moves on. Returns 0 if the log has forgotten it. */
static int make(struct losses *l, struct stream_losses *s, const struct pool *pool,
                struct packet *p, uint64_t *stamp)
{
    const struct sent_log *log = s->log;
    struct sent_traffic *from = s->traffic;
    uint64_t number = s->written, at = number & (log->room - 1), time = log->times[at];
    uint64_t turn = log->turns[at];
    uint32_t place = log->places[at] % from->n_order;
    uint32_t which = from->order ? from->order[place] : place;
    const struct frame_template *t = &from->templates[which];
    uint8_t *frame = packet_data(pool, *p);
    int forgotten = is_forgotten(s);
    *mark_of(s, number) &= ~(1ull << number % 64);
    s->written++;
    if (forgotten)
        return 0;
    p->length = (uint16_t)t->length;
    memcpy(frame, t->frame, t->length);
    for (uint32_t i = 0; i < s->n_turns; i++)
        *s->turns[i] = turn;
    for (struct field *f = s->fields; f; f = f->next)
        f->apply(f, pool, p, 1);
    sign_again(t, frame, from->stamp_at,
               (struct signature){SIGNATURE, (uint8_t)(s - l->streams), number, time ^ l->secret});
    *stamp = time + l->epoch;
    from->by_template[which]++;
    if (from->by_flow && s->fields)
        count_flow(from, s->fields, turn);
    return 1;
}

/* The file's queue is the last exit of the first lane. */
static struct exit *file_of(struct worker *w) { return &w->lanes->exits[w->lanes->n_exits - 1]; }

/* Hands up to a burst of packets to the file. Returns 0 when nothing is left to be done. */
NOINLINE int losses_write(struct losses *l, struct worker *w, int last)
{
    struct exit *e = file_of(w);
    struct stream_losses *s;
    uint32_t n = 0, index;
    if (!exit_left(e)) {
        while (n < w->burst && (s = next_stream(l, last)) && stack_take(w->stack, &index, 1)) {
            e->burst.packets[n] = (struct packet){index, cache_offset(index), 0};
            if (make(l, s, e->tx->pool, &e->burst.packets[n], &e->burst.stamps[n]))
                n++;
            else
                stack_give(w->stack, index);
        }
        exit_hold(e, n);
    }
    e->tx->stamps = e->burst.stamps + e->from;
    return exit_left(e) && (exit_send(e) || exit_left(e));
}

/* Nothing more comes. */
void losses_finish(struct losses *l, struct worker *w, const struct stream *received)
{
    uint64_t now = clock_ns(CLOCK_MONOTONIC), moved = now, end = now + WRITING_NS;
    uint64_t ends = load_relaxed(&l->ends);
    struct exit *e;
    for (uint32_t i = 0; i < l->n_streams; i++) {
        uint64_t sent = load_relaxed(&l->streams[i].sender->next);
        if (sent > l->streams[i].decided)
            decide(l, i, &received[i], sent);
        end_loss(l, i, ends ? ends : now, 0);
    }
    if (!l->streams->log)
        return;
    e = file_of(w);
    for (uint32_t left = 0; losses_write(l, w, 1); left = exit_left(e)) {
        now = clock_ns(CLOCK_MONOTONIC);
        if (exit_left(e) != left || !left)
            moved = now;
        if (now - moved > PATIENCE_NS || now > end)
            break;
        (void)worker_continue(w); /* pauses if Python asks for it */
    }
    stack_give_packets(w->stack, e->burst.packets + e->from, exit_left(e));
    exit_hold(e, 0);
}
