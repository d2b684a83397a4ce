// SPDX-License-Identifier: Apache-2.0
/* When packets are due (pace.h). Due times follow from a packet's number and, for Poisson, from the
 * ones before: no clock is read for them. */
#include "pace.h"

#include "splitmix.h"

enum {
    STALLS_A_SECOND = 100000, /* a round of more than 10 µs is a stall */
    COUNTED_MAX = 1 << 22,    /* Poisson: packets that are counted one by one */
    NS_A_SECOND = 1000000000,
};

static const double TICKS_MAX = 0x1p63, LN2 = 0.693147180559945309417;

/* By way of a signed number, to which the CPU converts with one instruction. */
static uint64_t to_ticks(double ticks)
{
    return ticks < TICKS_MAX ? (uint64_t)(int64_t)ticks : PACE_ALL;
}

/* -ln of a random number in (0, 1]: `bits` + 1, times 2^-64. The mantissa's logarithm is the series
 * of 2 artanh, to 1e-8; the same on every machine. */
static double exponential(uint64_t bits)
{
    uint32_t zeros = bits ? (uint32_t)__builtin_clzll(bits) : 63;
    double mantissa = ((double)(bits << zeros >> 11) + 1) * 0x1p-52; /* above 1, at most 2 */
    double s = (mantissa - 1) / (mantissa + 1), square = s * s, sum = 0;
    for (int odd = 15; odd > 0; odd -= 2)
        sum = sum * square + 1.0 / odd;
    return (zeros + 1) * LN2 - 2 * s * sum;
}

static void fill_poisson(struct pace *p)
{
    double hz = (double)p->ticks_hz, mean = hz * p->size * p->n_workers / p->steps->rate;
    double limit = p->seconds > 0 ? p->seconds * hz : TICKS_MAX;
    uint64_t burst = (p->made + p->size - 1) / p->size; /* that have begun */
    uint32_t in = (uint32_t)(p->made % p->size);
    if (!p->made)
        p->last = p->steps->begins * hz;
    for (uint32_t i = 0; i < PACE_TABLE; i++) {
        if (!in)
            p->last += exponential(splitmix(p->seed + ++burst * GOLDEN)) * mean;
        p->due[i] = p->last < limit ? to_ticks(p->last) : PACE_NEVER;
        in = in + 1 < p->size ? in + 1 : 0;
    }
}

/* When packet 0 of a step would be due, in ticks: before the step begins, if the last packet of the
 * one before was begun and is not due yet. */
static double step_zero(const struct pace_step *s, double hz)
{
    return (s->begins - s->carry / s->rate) * hz;
}

/* Most tables: all in one step, no bursts. Returns 0 for others. */
static int fill_evenly(struct pace *p, const struct pace_step *s, int is_last, uint64_t first)
{
    double hz = (double)p->ticks_hz, gap = hz / s->rate, begins = step_zero(s, hz);
    uint64_t after = first + (uint64_t)PACE_TABLE * p->n_workers, k = first + 1 - s->before;
    if (first < s->before || after > p->total || !(is_last || after <= s[1].before) ||
        begins + (double)(after - s->before) * gap >= TICKS_MAX)
        return 0;
    for (uint32_t i = 0; i < PACE_TABLE; i++, k += p->n_workers)
        p->due[i] = (uint64_t)(int64_t)(begins + (double)(int64_t)k * gap);
    return 1;
}

static void fill_steps(struct pace *p)
{
    uint64_t first = (p->made / p->size * p->n_workers + p->number) * p->size;
    uint32_t in = (uint32_t)(p->made % p->size), step = p->step < p->n_steps ? p->step : 0;
    const struct pace_step *s = &p->steps[step], *end = p->steps + p->n_steps;
    double hz = (double)p->ticks_hz, gap = hz / s->rate, begins = step_zero(s, hz);
    if (p->size == 1 && fill_evenly(p, s, s + 1 == end, first))
        return;
    for (uint32_t i = 0; i < PACE_TABLE; i++) {
        while (s + 1 < end && first + p->size > s[1].before) {
            s++;
            begins = step_zero(s, hz);
            gap = hz / s->rate;
        }
        uint64_t k = first + p->size - s->before;
        p->due[i] = first + in < p->total ? to_ticks(begins + (double)k * gap) : PACE_NEVER;
        if (++in == p->size) {
            in = 0;
            first += (uint64_t)p->n_workers * p->size;
        }
    }
    p->step = (uint32_t)(s - p->steps);
}

/* How many of the next packets are due `elapsed` ticks after the start: up to `most`, and up to the
 * end of the table. */
uint32_t pace_ready(struct pace *p, uint64_t elapsed, uint32_t most)
{
    uint32_t n = 0, left;
    if (unlikely(p->at >= PACE_TABLE)) {
        if (p->poisson)
            fill_poisson(p);
        else
            fill_steps(p);
        p->made += PACE_TABLE;
        p->at = 0;
    }
    left = PACE_TABLE - p->at;
    most = most < left ? most : left;
    if (most && p->due[p->at + most - 1] <= elapsed)
        return most;
    while (n < most && p->due[p->at + n] <= elapsed)
        n++;
    return n;
}

/* Packets of this worker that are due until then, not poisson. */
static uint64_t due_until(const struct pace *p, uint64_t elapsed)
{
    const struct pace_step *s = p->steps, *end = s + p->n_steps;
    double seconds = (double)elapsed / (double)p->ticks_hz;
    uint64_t all = p->total, bursts, mine;
    while (s + 1 < end && s[1].begins <= seconds)
        s++;
    if (seconds < s->begins) { /* the first step */
        all = 0;
    } else if (elapsed < PACE_ALL) {
        uint64_t due = s->before + to_ticks((seconds - s->begins) * s->rate + s->carry);
        if (s + 1 < end && due > s[1].before)
            due = s[1].before;
        due -= due % p->size;
        all = due < p->total ? due : p->total;
    }
    bursts = all / p->size;
    mine = (bursts + p->n_workers - 1 - p->number) / p->n_workers * p->size;
    return mine + (bursts % p->n_workers == p->number ? all % p->size : 0);
}

/* Passes over all packets that are due until then; returns how many. Of very many of a Poisson
 * process the rest is counted by the mean. */
uint64_t pace_rest(struct pace *p, uint64_t elapsed)
{
    uint64_t counted = 0;
    double end = (double)elapsed, hz = (double)p->ticks_hz;
    if (!p->poisson) {
        uint64_t taken = p->made - (p->at < PACE_TABLE ? PACE_TABLE - p->at : 0);
        uint64_t now = pace_resume(p, taken, elapsed, 1);
        return now - taken;
    }
    for (uint32_t n = 1; n && counted < COUNTED_MAX; counted += n) {
        n = pace_ready(p, elapsed, PACE_TABLE);
        p->at += n;
    }
    if (p->seconds > 0 && end > p->seconds * hz)
        end = p->seconds * hz;
    if (counted >= COUNTED_MAX && end > p->last) {
        counted += to_ticks((end - p->last) / hz * p->steps->rate / p->n_workers);
        p->last = end;
    }
    return counted;
}

/* Another process goes on, after one that ended at any instruction, when `taken` packets had been
 * taken. `pass`: not with those that became due meanwhile, which would all be sent late and at
 * once. Returns how many packets are taken or passed over. */
uint64_t pace_resume(struct pace *p, uint64_t taken, uint64_t elapsed, int pass)
{
    if (p->poisson)
        return pass ? taken + pace_rest(p, elapsed) : taken;
    if (pass) {
        uint64_t due = due_until(p, elapsed);
        taken = due > taken ? due : taken;
    }
    p->made = taken;
    p->at = PACE_TABLE;
    p->step = 0;
    return taken;
}

/* A thread begins to run the loop, or goes on with it. */
void pace_begin(struct pace *p, uint64_t ticks_hz)
{
    p->ticks_hz = ticks_hz;
    p->stall = ticks_hz / STALLS_A_SECOND;
    p->looked = p->wall = ticks();
    p->cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
}

/* Adds up how long the loop ran, and for how much of that its thread had a CPU. */
void pace_add_up(struct pace *p, uint64_t now)
{
    uint64_t cpu = clock_ns(CLOCK_THREAD_CPUTIME_ID);
    p->passed_ns += (uint64_t)((double)(now - p->wall) * NS_A_SECOND / (double)p->ticks_hz);
    p->worked_ns += cpu - p->cpu;
    p->wall = now;
    p->cpu = cpu;
}

void pace_stall(struct pace *p, uint64_t now)
{
    uint64_t took = now - p->looked;
    p->stalls++;
    p->stalled += took;
    if (took > p->longest)
        p->longest = took;
    pace_add_up(p, now);
}

/* Nothing is due: waits for the next packet, or for one that `receiver`, whose loop runs in this
 * thread, gets (NULL: there is none). A sleep is no stall, but for what it takes too long. */
void pace_await(struct pace *p, struct worker *w, const struct worker *receiver)
{
    uint64_t next = p->at < PACE_TABLE ? p->due[p->at] : 0, began = ticks(), until, woke;
    until = next < PACE_ALL ? w->start + next : began + w->ticks_hz;
    if (receiver)
        worker_await_with(w, receiver, until);
    else
        worker_await(w, until);
    woke = ticks();
    if (w->poll != POLL_BUSY && until > began)
        pace_slept(p, began, woke < until ? woke : until);
}

/* The thread slept because nothing was due. */
void pace_slept(struct pace *p, uint64_t from, uint64_t to)
{
    if (to - from <= p->stall)
        return;
    p->wall += to - from;
    p->looked = to;
}
