// SPDX-License-Identifier: Apache-2.0
/* What every loop shares: when to end, and how to wait for work. */
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

enum {
    SLEEP_MS = 100, /* a sleeper looks round at least this often */
    NAP_US = 50,    /* where a queue has no descriptor to wait on */
    LONG_NAP_US = 1000,
    IN_VAIN = 16,       /* calls in a row, and no work: naps between them */
    LONG_IN_VAIN = 256, /* … and long ones */
    SLEEPERS_MAX = 64,  /* queues a worker waits on by descriptor */
};

uint64_t ticks_now(void) { return ticks(); }

static void nothing(int number) { (void)number; }

/* Without SA_RESTART, and only where nobody else handles the signal: we are a guest here. */
int kick_install(int number)
{
    struct sigaction old, ours = {.sa_handler = nothing};
    if (sigaction(number, NULL, &old))
        return errno;
    if (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN)
        return 0;
    return sigaction(number, &ours, NULL) ? errno : 0;
}

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
        for (uint32_t j = 0; j < w->lanes[i].n_exits; j++)
            if (exit_left(&w->lanes[i].exits[j]))
                return 1;
    return 0;
}

int worker_continue(struct worker *w)
{
    if (unlikely(load_acquire(&w->pause)))
        worker_pause(w);
    if (unlikely(load_acquire(&w->stop))) {
        if (!w->ending) /* it may have stopped itself */
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
        if (!w->lanes[i].rx)
            continue;
        sources++;
        if (!load_relaxed(&w->lanes[i].rx->ended))
            return 0;
    }
    return sources > 0 && !holding(w);
}

/* Queues that somebody waits for, and for what. */
struct waits {
    uint32_t n, nap; /* nap: one has no descriptor, or there are too many */
    struct queue *queues[SLEEPERS_MAX];
    short events[SLEEPERS_MAX];
};

/* Is anything to be had from the queue, later if not now? */
static int is_open(const struct queue *q)
{
    return !load_relaxed(&q->ended) && !load_relaxed(&q->closed);
}

static void await(struct waits *s, struct queue *q, short events)
{
    if (!is_open(q))
        return;
    if (s->n == SLEEPERS_MAX) {
        s->nap = 1;
        return;
    }
    s->nap |= q->wake_fd < 0;
    s->queues[s->n] = q;
    s->events[s->n++] = events;
}

/* A lane waits for room at the exits where it holds packets, or has no source; else for packets. */
static void lane_await(struct waits *s, const struct lane *lane)
{
    int full = 0;
    for (uint32_t i = 0; i < lane->n_exits; i++) {
        if (lane->rx && !exit_left(&lane->exits[i]))
            continue;
        await(s, lane->exits[i].tx, POLLOUT);
        full = 1;
    }
    if (!full && lane->rx)
        await(s, lane->rx, POLLIN);
}

/* Has the queues that we wait for wake us, or do so no more. Nonzero: there is work right now. */
static int arm(const struct waits *s, int on)
{
    for (uint32_t i = 0; i < s->n; i++) {
        struct queue *q = s->queues[i];
        if (q->arm && q->arm(q, on) && on)
            return 1;
        q->counters->sleeps += (uint32_t)on;
    }
    return 0;
}

/* Sleeps until a queue's descriptor is ready, Python wakes us, or it is time to look round. Whoever
 * calls again and again when there is no work, as a peer can, is heard after a nap. */
static void worker_sleep(struct worker *w)
{
    struct waits waits = {.n = 0};
    struct pollfd fds[SLEEPERS_MAX + 1] = {{.fd = w->wake_fd, .events = POLLIN}};
    int called;
    for (uint32_t i = 0; i < w->n_lanes; i++)
        lane_await(&waits, &w->lanes[i]);
    if (waits.nap) {
        usleep(NAP_US);
        return;
    }
    for (uint32_t i = 0; i < waits.n; i++)
        fds[i + 1] = (struct pollfd){.fd = waits.queues[i]->wake_fd, .events = waits.events[i]};
    if (w->in_vain > IN_VAIN)
        usleep(w->in_vain > LONG_IN_VAIN ? LONG_NAP_US : NAP_US);
    called = arm(&waits, 1) || poll(fds, waits.n + 1, SLEEP_MS) > 0;
    arm(&waits, 0);
    w->in_vain = called ? w->in_vain + 1 : 0;
    if (fds[0].revents) {
        uint64_t value;
        (void)!read(w->wake_fd, &value, sizeof value);
    }
}

static void flush(struct worker *w)
{
    for (uint32_t i = 0; i < w->n_lanes; i++)
        for (uint32_t j = 0; j < w->lanes[i].n_exits; j++) {
            struct queue *tx = w->lanes[i].exits[j].tx;
            if (tx->flush && !load_relaxed(&tx->closed))
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
