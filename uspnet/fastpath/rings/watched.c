// SPDX-License-Identifier: Apache-2.0
/* A watched queue, the watcher's side (watch.h). The job may be another user's, and may write
 * anything at any time: each field is read once. */
#include "watch.h"

typedef uint64_t __attribute__((may_alias)) shared64;

static struct watch_record record_at(const uint8_t *at)
{
    const volatile shared64 *from = (const volatile shared64 *)at;
    const uint64_t words[2] = {from[0], from[1]};
    struct watch_record r;
    memcpy(&r, words, sizeof r);
    return r;
}

_Static_assert(sizeof(struct watch_record) == 16, "what record_at() reads");

/* Counts what the job could not add, so that it is in this capture's account. */
static void count_missed(struct watched_queue *w)
{
    uint64_t missed = load_relaxed(&w->shared->missed);
    if (likely(missed == w->missed))
        return;
    queue_drop(&w->q, DROP_NO_ROOM, missed - w->missed);
    w->missed = missed;
}

static void set_origin(const struct watched_queue *w, struct origin *o, struct watch_record r)
{
    uint32_t note = least(r.reason, w->n_notes - 1);
    *o = (struct origin){.length = r.length > r.kept ? r.length : r.kept,
                         .kept = w->noted,
                         .time = r.ns,
                         .options = w->notes[note].options,
                         .option_bytes = w->notes[note].bytes,
                         .interface = w->interface,
                         .losses = UINT32_MAX};
}

/* Takes a record as packet i of the burst. Returns 0 if there is no buffer. */
static int take(struct watched_queue *w, struct packet *packets, uint32_t i, struct watch_record r,
                const uint8_t *data)
{
    struct queue *q = &w->q;
    uint32_t index;
    if (!stack_take(q->stack, &index, 1))
        return 0;
    packets[i] = (struct packet){index, cache_offset(index), r.kept};
    memcpy(packet_data(q->pool, packets[i]), data, r.kept);
    if (q->stamps)
        q->stamps[i] = r.ns;
    if (q->origins)
        set_origin(w, &q->origins[i], r);
    return 1;
}

static int fits(struct queue *q, uint32_t kept)
{
    if (likely(kept >= FRAME_SHORTEST && kept <= pool_room(q->pool)))
        return 1;
    queue_drop(q, tx_wrong_length(kept, FRAME_SHORTEST), 1);
    return 0;
}

/* Reads records from `w->next` on. Returns packets, and in *to the position behind them; sets a
 * fault at what can't be a record. */
static uint32_t read_records(struct watched_queue *w, uint64_t tail, struct packet *packets,
                             uint32_t n, uint64_t *to)
{
    uint64_t at = w->next;
    uint32_t done = 0;
    while (done < n && at != tail) {
        uint64_t place = at & (w->size - 1), here = w->size - place, left = tail - at, bytes;
        const uint8_t *from = w->records + place;
        struct watch_record r = {.reason = WATCH_SKIP};
        if (left <= w->size && left % 16 == 0)
            r = record_at(from);
        bytes = r.reason == WATCH_SKIP ? here : pad16(sizeof r + r.kept);
        if (bytes > here || bytes > left || left > w->size) {
            queue_fault(&w->q, FAULT_PEER);
            break;
        }
        if (r.reason != WATCH_SKIP && fits(&w->q, r.kept)) {
            if (!take(w, packets, done, r, from + sizeof r))
                break;
            done++;
        }
        at += bytes;
    }
    *to = at;
    return done;
}

uint32_t watched_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct watched_queue *w = (struct watched_queue *)q;
    uint32_t over = load_acquire(&w->over), done; /* before the tail, which is the last one then */
    uint64_t tail = load_acquire(&w->shared->tail), bytes = 0, at;
    if (unlikely(q->fault))
        return 0;
    count_missed(w);
    done = read_records(w, tail, packets, n, &at);
    for (uint32_t i = 0; i < done; i++)
        bytes += packets[i].length;
    queue_count(q, done, bytes);
    keep_order();
    w->next = at;
    store_release(&w->shared->head, at);
    if (unlikely(over && at == tail))
        store_release(&q->ended, 1);
    return done;
}
