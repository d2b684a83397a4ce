/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers and what every loop shares. A loop is `loops/<name>.c`: a struct of its own that begins
 * with `struct worker`, and `loop_<name>`, which runs until `worker_continue` says no.
 * Above the "[c]" fence as in fastpath.h: what Python sees, too.
 */
#ifndef USPNET_WORKER_H
#define USPNET_WORKER_H
#include "fastpath.h"

// [python]
enum poll_mode { POLL_BUSY, POLL_ADAPTIVE, POLL_SLEEP };
enum ending { RUNNING, END_STOPPED, END_DEADLINE, END_COUNT, END_SOURCE };

/* Packet handles, and what travels beside them where somebody asks for it. */
struct burst {
    struct packet packets[64];
    uint64_t stamps[64];
    struct origin origins[64];
};

/* A transmit queue, and the packets of a lane that wait for room in it. */
struct exit {
    struct queue *tx;
    uint32_t from, held; /* burst.packets[from … held - 1] */
    uint32_t tried;      /* these packets were refused before */
    struct burst burst;
};

/* A receive queue, and the exits that its packets may leave by. No receive queue: packets are
 * made here. No exits: they end here. */
struct lane {
    struct queue *rx;
    struct exit *exits;
    uint32_t n_exits;
    struct burst received; /* before they are given to one of several exits */
};

/* What every loop needs. Python fills it before the thread starts. */
struct worker {
    uint32_t stop;   /* set by Python, read once a round */
    uint32_t pause;  /* set by Python: touch nothing until it is 0 again */
    uint32_t paused; /* set by the worker when it has seen that */
    uint32_t poll;   /* enum poll_mode */
    uint32_t burst;  /* packets a burst, 1 … BURST_MAX */
    uint32_t ending; /* enum ending, set by the loop */
    int32_t wake_fd; /* eventfd by which Python ends a sleep */
    uint32_t n_lanes;
    struct lane *lanes;
    struct stack *stack;
    uint64_t *budget;    /* packets left to handle, shared by a job's workers; may be NULL */
    uint64_t deadline;   /* ticks; 0: none */
    uint64_t spin;       /* ticks without work before an adaptive worker sleeps */
    uint64_t idle_since; /* ticks; 0: not idle */
    uint64_t in_vain;    /* sleeps in a row that were ended by a call, and for no work */
    uint64_t start, end; /* ticks at the loop's first and last round */
    uint64_t first;      /* ticks when the first packets had moved; 0: none yet */
    uint64_t ticks_hz;
};

uint64_t ticks_now(void);
int kick_install(int number); /* so that the signal ends a system call; 0, or errno */
// [c]

/* A fresh burst of n packets at the exit, none sent yet. */
static inline void exit_hold(struct exit *e, uint32_t n)
{
    e->from = e->tried = 0;
    e->held = n;
}

static inline uint32_t exit_left(const struct exit *e) { return e->held - e->from; }

/* Sends what the exit holds and returns how many were taken. The rest found the ring full. */
static inline uint32_t exit_send(struct exit *e)
{
    uint32_t n = exit_left(e);
    uint32_t sent = queue_burst(e->tx, e->burst.packets + e->from, n);
    e->from += sent;
    if (unlikely(sent < n) && !e->tried) {
        e->tried = 1;
        e->tx->counters->stalled += n - sent;
    }
    return sent;
}

int worker_continue(struct worker *w);
void worker_idle(struct worker *w);
uint64_t worker_claim(struct worker *w, uint64_t n);

static inline void worker_busy(struct worker *w)
{
    if (unlikely(!w->first))
        w->first = ticks();
    w->idle_since = 0;
}

#endif
