// SPDX-License-Identifier: Apache-2.0
/* lpm: makes tables of prefixes (lpm.h). One walk over the sorted prefixes: those that end in a
 * node fill their part of it, over what shorter ones before them have filled; longer ones lie
 * together, and make a node of their own below it. */
#include "lpm.h"

enum { SLOTS = 1 << LPM_STRIDE };

/* Prefixes from one number to before another. */
struct run {
    uint32_t from, to;
};

struct making {
    struct lpm *t;
    const struct lpm_prefixes *p;
    uint32_t nodes, values;
};

/* Up to 32 bits of a prefix, from one on. */
static uint32_t bits_of(const struct lpm_prefixes *p, uint32_t i, uint32_t from, uint32_t bits)
{
    uint64_t word = from < 64 ? p->high[i] << from : p->low[i] << (from - 64);
    if (from > 0 && from < 64)
        word |= p->low[i] >> (64 - from);
    return (uint32_t)(word >> (64 - bits));
}

/* The end of the run of prefixes that begins here, and lies in the same part of a node. */
static uint32_t run_end(const struct lpm_prefixes *p, struct run all, uint32_t from, uint32_t bits)
{
    uint32_t part = bits_of(p, all.from, from, bits), i = all.from + 1;
    while (i < all.to && bits_of(p, i, from, bits) == part)
        i++;
    return i;
}

static void make_node(struct making *m, uint32_t number, struct run all, uint32_t from,
                      uint32_t value);

/* Gives a node its values: each that differs from the one before it. */
static void add_values(struct making *m, struct lpm_node *node, const uint32_t *values)
{
    uint32_t last = 0;
    for (uint32_t i = 0; i < SLOTS; i++) {
        if (node->inner >> i & 1 || (node->starts && values[i] == last))
            continue;
        node->starts |= 1ULL << i;
        last = values[i];
        if (m->values < m->t->n_values)
            m->t->values[m->values] = last;
        m->values++;
    }
}

/* Makes the node of the prefixes `all`, which are longer than `from` bits and have those in common.
 * `value`: what the longest one of up to so many bits has. */
static void make_node(struct making *m, uint32_t number, struct run all, uint32_t from,
                      uint32_t value)
{
    struct lpm_node node = {.values = m->values, .nodes = m->nodes};
    uint32_t values[SLOTS], end = from + LPM_STRIDE, below = m->nodes;
    struct run runs[SLOTS];
    for (uint32_t i = 0; i < SLOTS; i++)
        values[i] = value;
    while (all.from < all.to) {
        uint32_t i = all.from, at = bits_of(m->p, i, from, LPM_STRIDE), length = m->p->lengths[i];
        if (length > end) {
            runs[at] = (struct run){i, run_end(m->p, all, from, LPM_STRIDE)};
            node.inner |= 1ULL << at;
            all.from = runs[at].to;
            continue;
        }
        for (uint32_t k = 0; k < 1u << (end - length) && at + k < SLOTS; k++)
            values[at + k] = m->p->found[i];
        all.from++;
    }
    m->nodes += (uint32_t)__builtin_popcountll(node.inner);
    add_values(m, &node, values);
    if (number < m->t->n_nodes)
        m->t->nodes[number] = node;
    for (uint64_t left = node.inner; left; left &= left - 1) {
        uint32_t at = (uint32_t)__builtin_ctzll(left);
        make_node(m, below++, runs[at], end, values[at]);
    }
}

void lpm_build(struct lpm *t, const struct lpm_prefixes *p, uint32_t *used)
{
    struct making m = {.t = t, .p = p};
    struct run all = {0, p->n};
    for (uint32_t i = 0; i < t->n_direct; i++)
        t->direct[i] = LPM_VALUE;
    while (all.from < all.to) {
        uint32_t i = all.from, at = bits_of(p, i, 0, t->bits), length = p->lengths[i];
        if (length > t->bits) {
            uint32_t value = t->direct[at] & LPM_VALUE_MAX, number = m.nodes++;
            struct run run = {i, run_end(p, all, 0, t->bits)};
            t->direct[at] = number;
            make_node(&m, number, run, t->bits, value);
            all.from = run.to;
            continue;
        }
        for (uint32_t k = 0; k < 1u << (t->bits - length) && at + k < t->n_direct; k++)
            t->direct[at + k] = LPM_VALUE | p->found[i];
        all.from++;
    }
    used[0] = m.nodes;
    used[1] = m.values;
}

uint32_t lpm_look_up(const struct lpm *t, uint64_t high, uint64_t low)
{
    return lpm_find(t, high, low);
}

/* Looks addresses up one after the other: nanoseconds each. Their sum keeps the compiler honest. */
double lpm_time(const struct lpm *t, const uint64_t *high, const uint64_t *low, uint32_t n,
                uint32_t *sum)
{
    uint64_t begin = clock_ns(CLOCK_MONOTONIC);
    for (uint32_t i = 0; i < n; i++)
        *sum += lpm_find(t, high[i], low[i]);
    return (double)(clock_ns(CLOCK_MONOTONIC) - begin) / n;
}
