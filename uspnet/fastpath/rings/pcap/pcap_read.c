// SPDX-License-Identifier: Apache-2.0
/* pcap, source: copies each packet of a capture file into a pool buffer. */
#include "pcap_parts.h"

#include <sys/timerfd.h>

enum { SKIPS = 4096 }; /* blocks without a packet that one burst may skip */

void pcap_rewind(struct pcap_source *s)
{
    if (s->pass++ == 0)
        s->single = s->sections == 1;
    s->at = s->begin;
    keep_order(); /* at the end, `number` still tells that there were packets */
    s->number = 0;
    s->sections = 0;
    s->n_interfaces = 0;
}

/* At the end of the file: rewinds if it is to be read again, unless the whole pass had no packet.
 * Returns whether the next pass begins now. */
static __attribute__((noinline)) int starts_again(struct pcap_source *s)
{
    int again = s->loop != PCAP_ONCE && s->number > 0;
    if (again)
        pcap_rewind(s);
    if (again && s->loop == PCAP_FOREVER) {
        s->clock.last_ns = UINT64_MAX; /* whatever comes next is far back */
        return 1;
    }
    s->clock.begun = 0; /* the next pass has no due time yet */
    store_release(&s->q.ended, 1);
    return 0;
}

/* --- the file's own timing ------------------------------------------------------------------ */

/* Is it too early for this packet? Then `due` is set, and the packet is parsed again later. */
static int too_early(struct pcap_source *s, uint64_t ns)
{
    uint64_t due = timing_due(&s->clock, ns, s->now);
    if (due > s->now) {
        s->due = due;
        return 1;
    }
    s->due = 0;
    timing_pass(&s->clock, ns, due);
    return 0;
}

int pcap_timer(void) { return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK); }

/* Sets the timer to the due time of the next packet. */
int pcap_arm(struct queue *q, int on)
{
    struct pcap_source *s = (struct pcap_source *)q;
    struct itimerspec when = {0};
    if (!on)
        return 0;
    if (s->passed_over)
        return 1;
    if (!s->due)
        return 0;
    if (clock_ns(CLOCK_MONOTONIC) >= s->due)
        return 1;
    when.it_value.tv_sec = (time_t)(s->due / 1000000000);
    when.it_value.tv_nsec = (long)(s->due % 1000000000);
    timerfd_settime(s->timer_fd, TFD_TIMER_ABSTIME, &when, NULL);
    return 0;
}

/* --- the packets ---------------------------------------------------------------------------- */

/* Drops a packet: a handle can't describe a packet that is empty or longer than a buffer, and other
 * link types than Ethernet can't be sent. Returns 0: there is none at `at`, but zeros, since the
 * file was truncated. */
static __attribute__((noinline)) int leave_out(struct pcap_source *s, uint64_t at, enum step step,
                                               const struct found *f)
{
    if (load_acquire(&s->q.fault) == FAULT_MEMORY) {
        s->at = at;
        return 0;
    }
    s->number++;
    if (step == STEP_FOREIGN) {
        s->foreign++;
        queue_drop(&s->q, DROP_NOT_ETHERNET, 1);
    } else if (is_truncated(f) && s->when_truncated == PCAP_SKIP) {
        s->truncated++;
        queue_drop(&s->q, DROP_TRUNCATED, 1);
    } else {
        queue_drop(&s->q, f->length ? DROP_TOO_LONG : DROP_TOO_SHORT, 1);
    }
    return 1;
}

/* Counts a malformed record as a dropped packet; a file of unknown format has no records. */
static void count_malformed(struct pcap_source *s)
{
    int length = s->why == PCAP_CUT || s->why == PCAP_LENGTH;
    if (s->format != PCAP_UNKNOWN)
        queue_drop(&s->q, length ? DROP_BAD_LENGTH : DROP_BAD_RECORD, 1);
}

/* Handles a step without a packet. Returns whether to parse on now. */
static int look_again(struct pcap_source *s, enum step step)
{
    switch (step) {
    case STEP_FAULT:
        count_malformed(s);
        queue_fault(&s->q, FAULT_MALFORMED);
        store_release(&s->q.ended, 1); /* earlier packets are still delivered */
        return 0;
    case STEP_END:
        return starts_again(s);
    case STEP_WAIT: /* options of this burst's packets are in the window */
        return !s->holding && pcap_fill(s);
    default:
        return step != STEP_HOLD;
    }
}

/* A packet of which the file has only a part, or that was empty on the wire: is it delivered? If it
 * is to be padded, its length is noted. */
static __attribute__((noinline)) int takes_part(struct pcap_source *s, const struct found *f,
                                                uint32_t room)
{
    uint32_t length = found_length(s, f);
    if (!f->length || length > room || (is_truncated(f) && s->when_truncated == PCAP_SKIP))
        return 0;
    s->truncated += (uint32_t)is_truncated(f);
    if (length > f->front + f->length) {
        if (!s->padding)
            memset(s->padded, 0, sizeof s->padded);
        s->padding = 1;
        s->padded[s->holding] = (uint16_t)length;
    }
    return 1;
}

/* Pads those packets of a burst for which that was noted. Returns the bytes added. */
static __attribute__((noinline)) uint64_t pad(struct pcap_source *s, struct packet *p, uint32_t n)
{
    uint64_t added = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t more = s->padded[i] ? s->padded[i] - p[i].length : 0;
        memset(packet_data(s->q.pool, p[i]) + p[i].length, 0, more);
        p[i].length = (uint16_t)(p[i].length + more);
        added += more;
    }
    return added;
}

/* Finds the next packet that can be delivered; 0: none in this burst. */
static inline int find(struct pcap_source *s, uint32_t room, uint32_t *skips, struct found *f)
{
    for (;;) {
        uint64_t before = s->at;
        enum step step = pcap_step(s, f);
        if (likely(step == STEP_PACKET)) {
            uint32_t length = f->front + f->length;
            if (unlikely(s->timing) && too_early(s, f->ns)) {
                s->at = before;
                return 0;
            }
            int whole = f->wire - 1 < f->length; /* and neither is 0 */
            if (likely(whole ? length <= room : takes_part(s, f, room))) {
                s->number++;
                return 1;
            }
            if (!leave_out(s, before, step, f))
                return 0;
        } else if (step == STEP_FOREIGN) {
            if (!leave_out(s, before, step, f))
                return 0;
        } else if (!look_again(s, step)) {
            return 0;
        }
        if (++*skips >= SKIPS) {
            s->passed_over = 1;
            return 0;
        }
    }
}

static inline void copy(const struct pcap_source *s, struct packet p, const struct found *f)
{
    uint8_t *to = packet_data(s->q.pool, p) + f->front;
    uint64_t room = s->size - (uint64_t)(f->data - s->base);
    uint64_t space = s->q.pool->size - p.offset - f->front;
    if (unlikely(f->front))
        memcpy(to - f->front, f->header, sizeof f->header);
    pcap_copy(to, f->data, f->length, room < space ? room : space);
}

/* Stores the packet's metadata. */
static void note(struct pcap_source *s, uint32_t at, struct found *f)
{
    s->q.stamps[at] = f->ns;
    if (unlikely(f->ns == STAMP_UNKNOWN) && s->timeless++ == 0)
        s->timeless_first = s->number;
    if (s->q.origins) {
        s->q.origins[at] = f->origin;
        s->q.origins[at].length = f->wire + least(f->front, UINT32_MAX - f->wire);
    }
}

uint32_t pcap_rx(struct queue *q, struct packet *packets, uint32_t n)
{
    struct pcap_source *s = (struct pcap_source *)q;
    uint32_t index[BURST_MAX], taken, got = 0, skips = 0;
    uint32_t room = pool_room(q->pool);
    uint64_t bytes = 0;
    struct found f;
    if (unlikely(load_relaxed(&q->ended) || load_relaxed(&q->fault)))
        return 0;
    if (unlikely(s->timing))
        s->now = clock_ns(CLOCK_MONOTONIC);
    f.origin.kept = 0;
    taken = stack_take(q->stack, index, n);
    s->holding = s->padding = s->passed_over = 0;
    if (likely(pcap_is_plain(s)))
        got = pcap_take_plain(s, index, packets, taken, least(room, PCAP_LONGEST), &bytes);
    while (got < taken && find(s, room, &skips, &f)) {
        struct packet p = {index[got], cache_offset(index[got]), (uint16_t)(f.front + f.length)};
        s->holding = got + 1;
        keep_order();
        copy(s, p, &f);
        if (q->stamps)
            note(s, got, &f);
        bytes += p.length;
        packets[got++] = p;
    }
    if (unlikely(s->padding))
        bytes += pad(s, packets, got);
    if (unlikely(load_acquire(&q->fault) ==
                 FAULT_MEMORY)) { /* the file was truncated; zeros were read instead */
        queue_drop(q, DROP_BAD_LENGTH, got + 1);
        got = 0;
        bytes = 0;
    }
    if (unlikely(holds_pages(s)))
        pcap_give_back(s);
    if (unlikely(s->timing))
        q->wake_fd = s->live && !s->due ? s->stream_fd : s->timer_fd;
    for (uint32_t i = got; i < taken; i++)
        stack_give(q->stack, index[i]);
    queue_count(q, got, bytes);
    keep_order();
    s->holding = 0;
    return got;
}
