/* SPDX-License-Identifier: Apache-2.0
 *
 * Longest prefix match, for IPv4 and IPv6. Addresses are 128 bits, in two words of host order;
 * those of IPv4 are the highest 32 of them. The first bits index an array; below it, each node
 * decides on six bits, and has neighbors with the same value only once: a trie of popcounts.
 * Reference: "Poptrie", SIGCOMM 2015. */
#ifndef USPNET_LPM_H
#define USPNET_LPM_H
#include "cpu.h"

// [python]
enum { LPM_STRIDE = 6, LPM_LEVELS = 20, LPM_VALUE_MAX = 0x7FFFFFFF };

struct lpm_node {
    uint64_t inner;  /* by six bits: whether a node follows */
    uint64_t starts; /* by six bits: where none does, whether the value is a new one */
    uint32_t nodes;  /* the number of the first node that follows */
    uint32_t values; /* the number of the first value */
};

struct lpm {
    uint32_t *direct; /* by the first bits: a value, with LPM_VALUE set, or a node's number */
    struct lpm_node *nodes;
    uint32_t *values;
    uint32_t n_direct, n_nodes, n_values;
    uint32_t bits; /* the first ones: six times so many are left, 1 to 31 */
};

/* Prefixes in the order of their addresses, and those of one address by length, whose further bits
 * are 0. No two are the same. */
struct lpm_prefixes {
    const uint64_t *high, *low;
    const uint8_t *lengths;
    const uint32_t *found; /* what a look-up returns */
    uint32_t n;
};

/* Writes the table, as far as it has room; `direct` it must have. Sets used[0] and used[1] to the
 * nodes and values that there are in all. A look-up of what no prefix covers returns 0. */
void lpm_build(struct lpm *t, const struct lpm_prefixes *p, uint32_t *used);
uint32_t lpm_look_up(const struct lpm *t, uint64_t high, uint64_t low);
double lpm_time(const struct lpm *t, const uint64_t *high, const uint64_t *low, uint32_t n,
                uint32_t *sum);
// [c]

#define LPM_VALUE (LPM_VALUE_MAX + 1u)

/* Bring what a look-up reads first, and then what it reads next, into the cache. */
static inline void lpm_fetch_direct(const struct lpm *t, uint64_t high)
{
    __builtin_prefetch(&t->direct[high >> 1 >> (63 - (t->bits & 31))]);
}

static inline void lpm_fetch_node(const struct lpm *t, uint64_t high)
{
    uint64_t first = high >> 1 >> (63 - (t->bits & 31));
    uint32_t entry = first < t->n_direct ? t->direct[first] : LPM_VALUE;
    if (!(entry & LPM_VALUE))
        __builtin_prefetch(&t->nodes[entry]);
}

/* Whatever the table has in it: returns what was given for a prefix, or any number. */
static inline uint32_t lpm_find(const struct lpm *t, uint64_t high, uint64_t low)
{
    uint32_t bits = t->bits & 31, entry;
    uint64_t first = high >> 1 >> (63 - bits);
    if (unlikely(first >= t->n_direct))
        return 0;
    entry = t->direct[first];
    high = high << bits | low >> 1 >> (63 - bits);
    low <<= bits;
    for (uint32_t level = 0; !(entry & LPM_VALUE); level++) {
        uint64_t upto = (2ULL << (high >> 58)) - 1;
        const struct lpm_node *node = &t->nodes[entry];
        if (unlikely(entry >= t->n_nodes || level == LPM_LEVELS))
            return 0;
        if (!(node->inner >> (high >> 58) & 1)) {
            uint32_t at = node->values + (uint32_t)__builtin_popcountll(node->starts & upto) - 1;
            return likely(at < t->n_values) ? t->values[at] : 0;
        }
        entry = node->nodes + (uint32_t)__builtin_popcountll(node->inner & upto) - 1;
        entry &= LPM_VALUE_MAX;
        high = high << LPM_STRIDE | low >> (64 - LPM_STRIDE);
        low <<= LPM_STRIDE;
    }
    return entry & LPM_VALUE_MAX;
}

#endif
