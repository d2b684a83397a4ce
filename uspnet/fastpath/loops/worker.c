// SPDX-License-Identifier: Apache-2.0
/* What every loop shares: when to end, how to wait for work, and a latency histogram's scale. */
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <unistd.h>

enum {
    SLEEP_MS = 100, /* a sleeper looks round at least this often */
    NAP_US = 50,    /* where a queue has no descriptor to wait on */
    LONG_NAP_US = 1000,
    IN_VAIN = 16,       /* calls in a row, and no work: naps between them */
    LONG_IN_VAIN = 256, /* … and long ones */
    SLEEPERS_MAX = 64,  /* queues a worker waits on by descriptor */
    SUBSLOTS = 32,      /* histogram slots an octave: values are within 3 % */
};

uint64_t ticks_now(void) { return ticks(); }

/* Between two rounds a worker holds nothing: Python may change rings, queues and the stack. It
 * waits for Python even when it is to stop: its last steps touch them too. */
static void worker_pause(struct worker *w)
{
    store_release(&w->paused, 1);
    while (load_acquire(&w->pause))
        usleep(NAP_US);
    store_release(&w->paused, 0);
}

/* Packets already taken from the budget that still wait for room. */
static int holding(const struct worker *w)
{
    for (uint32_t i = 0; i < w->n_lanes; i++)
        if (w->lanes[i].from < w->lanes[i].held)
            return 1;
    return 0;
}

int worker_continue(struct worker *w)
{
    if (unlikely(load_acquire(&w->pause)))
        worker_pause(w);
    if (unlikely(load_acquire(&w->stop))) {
        w->ending = END_STOPPED;
    } else if (unlikely(w->budget && load_relaxed(w->budget) == 0) && !holding(w)) {
        w->ending = END_COUNT;
    } else if (unlikely(w->deadline && ticks() >= w->deadline)) {
        w->ending = END_DEADLINE;
    } else {
        return 1;
    }
    return 0;
}

/* Takes up to n packets from the job's budget; what it returns may be handled. */
uint64_t worker_claim(struct worker *w, uint64_t n)
{
    uint64_t left, claimed;
    if (!w->budget)
        return n;
    left = load_relaxed(w->budget);
    do {
        claimed = left < n ? left : n;
    } while (!__atomic_compare_exchange_n(w->budget, &left, left - claimed, 1, __ATOMIC_RELAXED,
                                          __ATOMIC_RELAXED));
    return claimed;
}

/* Every source has ended: nothing will ever arrive again. */
static int sources_ended(const struct worker *w)
{
    uint32_t sources = 0;
    for (uint32_t i = 0; i < w->n_lanes; i++) {
        const struct lane *lane = &w->lanes[i];
        if (!lane->rx)
            continue;
        sources++;
        if (!load_relaxed(&lane->rx->ended) || lane->from < lane->held)
            return 0;
    }
    return sources > 0;
}

/* A lane waits for room in tx when it holds packets or has no source, else for packets in rx. */
static struct queue *awaited(const struct lane *lane, short *events)
{
    int full = !lane->rx || lane->from < lane->held;
    *events = full ? POLLOUT : POLLIN;
    return full ? lane->tx : lane->rx;
}

/* Is anything to be had from the queue, later if not now? */
static int is_open(const struct queue *q)
{
    return !load_relaxed(&q->ended) && !load_relaxed(&q->gate);
}

/* What a sleeper waits on. Returns 0 when a queue has no descriptor: then we nap. */
static nfds_t sleepers(const struct worker *w, struct pollfd *fds)
{
    nfds_t n = 0;
    fds[n++] = (struct pollfd){.fd = w->wake_fd, .events = POLLIN};
    for (uint32_t i = 0; i < w->n_lanes; i++) {
        short events;
        const struct queue *q = awaited(&w->lanes[i], &events);
        if (!is_open(q))
            continue;
        if (q->wake_fd < 0 || n > SLEEPERS_MAX)
            return 0;
        fds[n++] = (struct pollfd){.fd = q->wake_fd, .events = events};
    }
    return n;
}

/* Has the queues that we wait for wake us, or do so no more. Nonzero: there is work right now. */
static int arm(struct worker *w, int on)
{
    for (uint32_t i = 0; i < w->n_lanes; i++) {
        short events;
        struct queue *q = awaited(&w->lanes[i], &events);
        if (!is_open(q))
            continue;
        if (q->arm && q->arm(q, on) && on)
            return 1;
        q->counters->sleeps += on;
    }
    return 0;
}

/* Sleeps until a queue's descriptor is ready, Python wakes us, or it is time to look round. Whoever
 * calls again and again when there is no work, as a peer can, is heard after a nap. */
static void worker_sleep(struct worker *w)
{
    struct pollfd fds[SLEEPERS_MAX + 1];
    nfds_t n = sleepers(w, fds);
    int called;
    if (!n) {
        usleep(NAP_US);
        return;
    }
    if (w->in_vain > IN_VAIN)
        usleep(w->in_vain > LONG_IN_VAIN ? LONG_NAP_US : NAP_US);
    called = arm(w, 1) || poll(fds, n, SLEEP_MS) > 0;
    arm(w, 0);
    w->in_vain = called ? w->in_vain + 1 : 0;
    if (fds[0].revents) {
        uint64_t value;
        (void)!read(w->wake_fd, &value, sizeof value);
    }
}

static void flush(struct worker *w)
{
    for (uint32_t i = 0; i < w->n_lanes; i++) {
        struct queue *tx = w->lanes[i].tx;
        if (tx && tx->flush && !load_relaxed(&tx->gate))
            tx->flush(tx);
    }
}

/* Called after a round without work. */
void worker_idle(struct worker *w)
{
    uint64_t now = ticks();
    if (!w->idle_since) {
        w->idle_since = now;
        w->in_vain = 0;
        flush(w);
    }
    if (sources_ended(w)) {
        w->ending = END_SOURCE;
        store_release(&w->stop, 1);
        return;
    }
    if (w->poll == POLL_BUSY || (w->poll == POLL_ADAPTIVE && now - w->idle_since < w->spin))
        relax();
    else
        worker_sleep(w);
}

uint32_t histogram_slot(uint64_t ns)
{
    uint32_t octave, slot;
    if (ns < SUBSLOTS)
        return (uint32_t)ns;
    octave = 63 - (uint32_t)__builtin_clzll(ns) - 4; /* 1 for 32 … 63 */
    slot = octave * SUBSLOTS + (uint32_t)(ns >> (octave - 1)) - SUBSLOTS;
    return least(slot, HISTOGRAM_SLOTS - 1);
}

uint64_t histogram_floor(uint32_t slot)
{
    uint32_t octave = slot / SUBSLOTS;
    if (octave == 0)
        return slot;
    return (uint64_t)(slot % SUBSLOTS + SUBSLOTS) << (octave - 1);
}
