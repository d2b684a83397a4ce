/* SPDX-License-Identifier: Apache-2.0
 *
 * Pacing: when packets are due, in ticks since the start of the loop, and how late they were given
 * to their port. Fences as in fastpath.h.
 *
 * A run is steps of one rate each: packet k of a step, from 1 on, is due (k - carry) / rate after
 * the step begins. In bursts of `size`, all packets of a burst are due with its last one; burst b
 * is played by worker b % n_workers, so that the workers together play the rate and not each its
 * own. With `poisson`, each worker plays bursts with exponential gaps between them, of its share of
 * the rate: together they are a Poisson process of the whole rate. */
#ifndef USPNET_PACE_H
#define USPNET_PACE_H
#include "histogram.h"
#include "worker.h"

// [python]
enum { PACE_TABLE = 64 };

/* A part of a run. The last one has no end. */
struct pace_step {
    double begins;   /* seconds after the start */
    double rate;     /* packets a second of all workers */
    uint64_t before; /* packets of all workers that are due before it */
    double carry;    /* what the rates before it leave of a packet: 0 to 1 */
};

struct pace {
    const struct pace_step *steps;
    uint32_t n_steps;
    uint32_t size; /* packets of a burst, 1 or more */
    uint32_t number, n_workers;
    uint32_t poisson; /* one step */
    uint32_t at;      /* due[at] is the next packet's; PACE_TABLE: the table is used up */
    uint32_t step;    /* of the last packet in the table */
    uint64_t seed;    /* of this worker */
    uint64_t total;   /* packets of all workers; UINT64_MAX: any number */
    double seconds;   /* poisson: none is due after this time; 0: no limit */
    uint64_t ticks_hz;
    uint64_t made;    /* packets of this worker whose due times have been in the table */
    double last;      /* poisson: when the last of them is due, in ticks */
    uint64_t due[64]; /* ticks since the start; UINT64_MAX: never */

    /* What became of it, times in ticks where no unit is said. */
    uint64_t *late;                    /* HISTOGRAM_SLOTS counts: from due to given to the port */
    uint64_t stalls, stalled, longest; /* rounds of more than `stall`: number, sum, longest one */
    uint64_t stall;
    uint64_t looked;               /* at the last round's begin */
    uint64_t wall, cpu;            /* when both were added up last; cpu: ns of this thread */
    uint64_t passed_ns, worked_ns; /* time in the loop, and CPU time of its thread meanwhile */
};

void pace_begin(struct pace *p, uint64_t ticks_hz);
uint32_t pace_ready(struct pace *p, uint64_t elapsed, uint32_t most);
uint64_t pace_rest(struct pace *p, uint64_t elapsed);
uint64_t pace_resume(struct pace *p, uint64_t taken, uint64_t elapsed, int pass);
// [c]

_Static_assert(sizeof(((struct pace *)0)->due) / sizeof(uint64_t) == PACE_TABLE,
               "cffi reads no enum in a declaration of an array");

static const uint64_t PACE_NEVER = UINT64_MAX;
static const uint64_t PACE_ALL = UINT64_MAX - 1; /* a time at which all that is ever due is due */

void pace_add_up(struct pace *p, uint64_t now);
void pace_stall(struct pace *p, uint64_t now);
void pace_await(struct pace *p, struct worker *w, const struct worker *receiver);
void pace_slept(struct pace *p, uint64_t from, uint64_t to);

/* Takes the next n packets, which are ready; returns their due times in `due`. */
static inline void pace_take(struct pace *p, uint64_t *due, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        due[i] = p->due[p->at + i];
    p->at += n;
}

/* Counts how late n packets are that are given to their port now. Neighbours often share a slot. */
static inline void pace_record(struct pace *p, const uint64_t *due, uint32_t n, uint64_t elapsed)
{
    uint32_t last = 0, run = 0;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t slot = histogram_slot(elapsed > due[i] ? elapsed - due[i] : 0);
        if (slot != last) {
            p->late[last] += run;
            last = slot;
            run = 0;
        }
        run++;
    }
    p->late[last] += run;
}

/* A round begins. */
static inline void pace_look(struct pace *p, uint64_t now)
{
    if (unlikely(now - p->looked > p->stall))
        pace_stall(p, now);
    p->looked = now;
}

#endif
