// SPDX-License-Identifier: Apache-2.0
/* What every loop shares: when to end, and how to wait for work (worker.h). */
#include "worker.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

enum {
    SLEEP_MS = 100, /* the longest sleep */
    NAP_US = 50,    /* instead of a sleep, when a queue has no descriptor to wait on */
    LONG_NAP_US = 1000,
    SPURIOUS = 16,       /* consecutive wake-ups without work, after which naps are inserted */
    SPURIOUS_LONG = 256, /* … and long naps */
    SHORT_NAPS = 200,    /* while a thread waits for its turn, before it sleeps */
    SLEEPERS_MAX = 64,   /* queues that a worker can wait on by descriptor */
};

uint64_t ticks_now(void) { return ticks(); }

static void nothing(int number) { (void)number; }

/* Without SA_RESTART, and only if the signal has no handler: the process may not be ours. */
int kick_install(int number)
{
    struct sigaction old, ours = {.sa_handler = nothing};
    if (sigaction(number, NULL, &old))
        return errno;
    if (old.sa_handler != SIG_DFL && old.sa_handler != SIG_IGN)
        return 0;
    return sigaction(number, &ours, NULL) ? errno : 0;
}

static __thread uint32_t our_turn;

/* Between two rounds a worker holds no references: Python may change rings, queues and the
 * stack, or give the turn to another thread. The pause also delays a stop, since a loop's last
 * steps use them, too. */
static void worker_pause(struct worker *w)
{
    store_release(&w->paused, 1);
    while (load_acquire(&w->pause) || load_relaxed(&w->turn) != our_turn)
        usleep(NAP_US);
    store_release(&w->paused, 0);
}

/* The first access to a thread's own variable can allocate it, which the sandbox forbids later. */
void worker_take_turn(uint32_t turn) { our_turn = turn; }

/* Waits for the turn, and runs the loop to its end. Its turn comes soon, or when those of other
 * threads are over: Python wakes the worker then. It does so for the one that has the turn, too,
 * which has to find that out by itself. */
void worker_run_in_turn(struct worker *w, void (*loop)(struct worker *w))
{
    struct pollfd fd = {.fd = w->wake_fd, .events = POLLIN};
    for (uint32_t naps = 0; load_acquire(&w->turn) != our_turn; naps += naps < SHORT_NAPS)
        if (naps < SHORT_NAPS)
            usleep(NAP_US);
        else if (poll(&fd, 1, SLEEP_MS) > 0)
            usleep(LONG_NAP_US);
    loop(w);
    store_release(&w->done, our_turn);
}

/* A loop begins, or another thread goes on with it. */
void worker_begin(struct worker *w)
{
    if (!w->start)
        w->start = ticks();
}

/* Are there packets, already taken from the budget, that wait for room? */
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
    store_relaxed(&w->rounds, w->rounds + 1);
    if (unlikely(load_acquire(&w->pause)))
        worker_pause(w);
    if (unlikely(load_acquire(&w->stop))) {
        if (!w->ending) /* the loop may have set it */
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

/* Takes up to n packets from the job's budget. Returns how many were left. */
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

/* Have all sources ended, and is nothing waiting to be sent? */
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

/* Queues to wait on, and the events. */
struct waits {
    uint32_t n, nap; /* nap: a queue has no descriptor, or there are too many queues */
    struct queue *queues[SLEEPERS_MAX];
    short events[SLEEPERS_MAX];
};

/* Can packets still pass through the queue, now or later? */
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

/* A lane waits for room at exits with packets, or at all exits if it has no receive queue;
 * otherwise for packets. */
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

/* Enables or disables wake-ups of the queues waited on. Nonzero: there is work already. */
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

static void drain(const struct worker *w)
{
    uint64_t value;
    (void)!read(w->wake_fd, &value, sizeof value);
}

/* Sleeps until a descriptor of a queue of `of`, or of what runs with it, is ready, Python wakes the
 * worker, or `most_ms` are over. A peer can cause wake-ups without work; naps limit their rate. */
static void worker_sleep(struct worker *w, const struct worker *of, int most_ms)
{
    struct waits waits = {.n = 0};
    struct pollfd fds[SLEEPERS_MAX + 1] = {{.fd = w->wake_fd, .events = POLLIN}};
    int called;
    for (; of; of = of->also)
        for (uint32_t i = 0; i < of->n_lanes; i++)
            lane_await(&waits, &of->lanes[i]);
    if (waits.nap || !most_ms) {
        usleep(NAP_US);
        return;
    }
    for (uint32_t i = 0; i < waits.n; i++)
        fds[i + 1] = (struct pollfd){.fd = waits.queues[i]->wake_fd, .events = waits.events[i]};
    if (w->spurious > SPURIOUS)
        usleep(w->spurious > SPURIOUS_LONG ? LONG_NAP_US : NAP_US);
    called = arm(&waits, 1) || poll(fds, waits.n + 1, most_ms) > 0;
    arm(&waits, 0);
    w->spurious = called ? w->spurious + 1 : 0;
    if (fds[0].revents)
        drain(w);
}

/* Flushes all transmit queues. Nonzero: one has to be flushed again. */
static int flush(const struct worker *w)
{
    int waits = 0;
    for (uint32_t i = 0; i < w->n_lanes; i++)
        for (uint32_t j = 0; j < w->lanes[i].n_exits; j++) {
            struct queue *tx = w->lanes[i].exits[j].tx;
            if (tx->flush && !load_relaxed(&tx->closed))
                waits |= tx->flush(tx);
        }
    return waits;
}

/* Before `until`, in ticks, there is nothing to do. Spins, unless an idle worker is to sleep: an
 * adaptive one wakes early and spins for the rest. Python can wake a longer sleep. */
void worker_await(struct worker *w, uint64_t until)
{
    struct pollfd fd = {.fd = w->wake_fd, .events = POLLIN};
    uint64_t now = ticks(), early = w->poll == POLL_SLEEP ? 0 : w->spin, us;
    if (w->poll == POLL_BUSY || until <= now + early) {
        relax();
        return;
    }
    us = (uint64_t)((double)(until - now - early) / (double)w->ticks_hz * 1e6);
    if (flush(w))
        usleep(us < NAP_US ? (useconds_t)us : NAP_US);
    else if (w->also)
        worker_sleep(w, w->also, us < SLEEP_MS * 1000 ? (int)(us / 1000) : SLEEP_MS);
    else if (us < 1000)
        usleep((useconds_t)us);
    else if (poll(&fd, 1, us < SLEEP_MS * 1000 ? (int)(us / 1000) : SLEEP_MS) > 0)
        drain(w);
}

/* As worker_await, while the loop of `receiver` runs in this thread, too: an idle worker that is to
 * sleep wakes when packets come, and looks for them between shorter sleeps. An adaptive one spins,
 * or the time that it takes to wake would be in what is measured. */
void worker_await_with(struct worker *w, const struct worker *receiver, uint64_t until)
{
    uint64_t now = ticks(), ms;
    if (w->poll != POLL_SLEEP || until <= now) {
        relax();
        return;
    }
    ms = (uint64_t)((double)(until - now) / (double)w->ticks_hz * 1e3);
    if (flush(w))
        ms = 0;
    worker_sleep(w, receiver, ms < SLEEP_MS ? (int)ms : SLEEP_MS);
}

/* Begins to be idle, or goes on: flushes until nothing waits in the queues. Nonzero: some does. */
int worker_rest(struct worker *w)
{
    if (!w->idle_since) {
        w->idle_since = ticks();
        w->flush_at = w->idle_since;
        w->spurious = 0;
    }
    if (w->flush_at && ticks() >= w->flush_at)
        w->flush_at = flush(w) ? ticks() + w->ticks_hz / (1000000 / NAP_US) : 0;
    return w->flush_at != 0;
}

/* Spins or sleeps, after a round without work. Ends the loop when all sources have ended. */
void worker_idle(struct worker *w)
{
    int waits = worker_rest(w);
    if (sources_ended(w)) {
        w->ending = END_SOURCE;
        store_release(&w->stop, 1);
        return;
    }
    if (w->poll == POLL_BUSY || (w->poll == POLL_ADAPTIVE && ticks() - w->idle_since < w->spin))
        relax();
    else
        worker_sleep(w, w, waits ? 0 : SLEEP_MS);
}
