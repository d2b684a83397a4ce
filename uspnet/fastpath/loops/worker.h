/* SPDX-License-Identifier: Apache-2.0
 *
 * Workers, and what every loop shares. A loop is `loops/<name>.c`: a struct of its own that begins
 * with `struct worker`, and the function `loop_<name>`, which runs until worker_continue() returns
 * 0. Fences as in fastpath.h. */
#ifndef USPNET_WORKER_H
#define USPNET_WORKER_H
#include "fastpath.h"

// [python]
enum poll_mode { POLL_BUSY, POLL_ADAPTIVE, POLL_SLEEP };
enum ending { RUNNING, END_STOPPED, END_DEADLINE, END_COUNT, END_SOURCE };

/* Packet handles and their metadata, in parallel arrays. */
struct burst {
    struct packet packets[64];
    uint64_t stamps[64];
    struct origin origins[64];
};

/* A transmit queue, and the packets of a lane that wait for it. */
struct exit {
    struct queue *tx;
    uint32_t from, held; /* burst.packets[from … held - 1] */
    uint32_t tried;      /* counted as stalled already */
    struct burst burst;
};

/* A receive queue, and the exits that its packets may leave by. Without a receive queue, packets
 * are generated here; without exits, they are consumed here. */
struct lane {
    struct queue *rx;
    struct exit *exits;
    uint32_t n_exits;
    struct burst received; /* when there are several exits */
};

/* The state that every loop has. Python fills it before the thread starts. All that a loop needs to
 * go on lies in its struct: another thread, in another process, may take over between rounds. */
struct worker {
    uint32_t stop;   /* set by Python, read once a round */
    uint32_t pause;  /* set by Python: use no queue or stack until it is 0 again */
    uint32_t paused; /* set by the worker while it pauses */
    uint32_t poll;   /* enum poll_mode */
    uint32_t burst;  /* packets a burst, 1 … BURST_MAX */
    uint32_t ending; /* enum ending, set by the loop */
    int32_t wake_fd; /* eventfd by which Python wakes the worker */
    uint32_t n_lanes;
    struct lane *lanes;
    struct stack *stack;
    uint64_t *budget;    /* packets left to handle, shared by a job's workers; may be NULL */
    uint64_t deadline;   /* ticks; 0: none */
    uint64_t spin;       /* ticks without work before an adaptive worker sleeps */
    uint64_t idle_since; /* ticks; 0: not idle */
    uint64_t flush_at;   /* ticks; an idle worker flushes its queues then; 0: nothing waits */
    uint64_t rounds;     /* begun; the owner of a loop that hangs doesn't count on */
    uint64_t spurious;   /* consecutive wake-ups without work */
    uint64_t start, end; /* ticks at the loop's first and last round */
    uint64_t first;      /* ticks after the first packets moved; 0: none yet */
    uint64_t ticks_hz;
    uint32_t turn; /* which thread runs the loop, see process.h; 0: one of the command's process */
    uint32_t done; /* the turn in which the loop ended; 0: it has not, or it ran in turn 0 */
    const struct worker *also; /* runs in this thread: its work ends a sleep, too; or NULL */
};

uint64_t ticks_now(void);
int kick_install(int number); /* makes the signal interrupt system calls; returns 0 or an errno */
// [c]

/* How long packet i of a burst from this ring was on the wire. */
static inline uint32_t burst_wire(const struct queue *rx, const struct burst *b, uint32_t i)
{
    uint32_t wire = rx->origins ? b->origins[i].length : 0;
    return wire ? wire : b->packets[i].length;
}

/* The exit holds a new burst of n packets, none of them sent. */
static inline void exit_hold(struct exit *e, uint32_t n)
{
    e->from = e->tried = 0;
    e->held = n;
}

static inline uint32_t exit_left(const struct exit *e) { return e->held - e->from; }

/* Sends what the exit holds, as far as the ring has room. Returns how many were accepted. */
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

void worker_begin(struct worker *w);
int worker_continue(struct worker *w);
void worker_take_turn(uint32_t turn);
void worker_run_in_turn(struct worker *w, void (*loop)(struct worker *w));
int worker_rest(struct worker *w);
void worker_idle(struct worker *w);
void worker_await(struct worker *w, uint64_t until);
void worker_await_with(struct worker *w, const struct worker *receiver, uint64_t until);
uint64_t worker_claim(struct worker *w, uint64_t n);

static inline void worker_busy(struct worker *w)
{
    if (unlikely(!w->first))
        w->first = ticks();
    w->idle_since = 0;
}

#endif
