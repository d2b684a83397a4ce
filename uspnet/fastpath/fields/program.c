// SPDX-License-Identifier: Apache-2.0
/* program: steps that each write a value of up to 8 bytes into a packet, and the Internet checksums
 * that follow (RFC 1624). A packet's values depend on its number alone: nothing else is kept from
 * burst to burst, and several workers play disjoint parts of one sequence. */
#include "loops/template.h"
#include "splitmix.h"

#include <endian.h>

// [python]
enum { PROGRAM_CHECKS = 8 }; /* checksums that a program can update */
enum choice { CHOICE_TURN, CHOICE_RANDOM, CHOICE_ALIAS };

/* Walker's alias method: row i is chosen if 32 random bits are below `threshold`, else `other`. */
struct program_alias {
    uint32_t threshold, other;
};

/* Which of `count` values a packet gets. Several steps may share one, and move together. */
struct program_index {
    uint32_t kind;   /* enum choice */
    uint32_t shared; /* steps that it decides about: the next so many */
    uint64_t count;  /* 0: 2^64 */
    uint64_t every;  /* TURN: packets in a row that get the same value, 1 or more */
    uint64_t seed;   /* RANDOM, ALIAS */
    const struct program_alias *alias; /* ALIAS: `count` rows */
};

struct program_step {
    const uint64_t *values; /* by index, as words in memory order; NULL: low + index * step */
    uint64_t low, step;     /* its `bytes` bytes are the most significant ones */
    uint64_t mask;          /* what is written of `bytes` bytes, in memory order; 0: all of them */
    uint32_t at;            /* offset in the frame */
    uint32_t bytes;         /* 1 … 8 */
    /* What the value's 16-bit words count for in each checksum, modulo 2^16 - 1; 0: nothing. */
    uint32_t factors[8];
};

struct program_check {
    uint32_t at;   /* offset of the checksum in the frame */
    uint16_t rest; /* takes what the template has in place of the values out of the sum */
    uint16_t zero; /* what is sent for a checksum of 0 */
};

struct program_field {
    struct field f;
    uint64_t next;          /* packets written */
    uint64_t first, stride; /* packet n of this worker has the number first + n * stride */
    const struct program_index *indexes;
    const struct program_step *steps;
    const struct program_check *checks;
    uint32_t n_indexes, n_steps, n_checks;
};
void field_program(struct field *f, const struct pool *pool, struct packet *p, uint32_t n);
// [c]

#define INLINE inline __attribute__((always_inline))

enum { SUMS = 0xffff }; /* Internet checksums are sums modulo this (RFC 1071) */

_Static_assert(sizeof(((struct program_step *)0)->factors) / sizeof(uint32_t) == PROGRAM_CHECKS,
               "cffi reads no enum in a declaration of an array");

/* A random number below `count` from 64 random bits (Lemire 2019; the bias is count / 2^64). */
static inline uint64_t below(uint64_t bits, uint64_t count)
{
    return count ? (uint64_t)((unsigned __int128)bits * count >> 64) : bits;
}

/* index[i] = (number + i * stride) / every % count, without a division for each packet. */
static void choose_in_turn(const struct program_index *x, uint64_t number, uint64_t stride,
                           uint64_t *index, uint32_t n)
{
    uint64_t at = number / x->every, rest = number % x->every;
    uint64_t jump = stride / x->every, more = stride % x->every;
    if (x->count) {
        at %= x->count;
        jump %= x->count;
    }
    for (uint32_t i = 0; i < n; i++) {
        index[i] = at;
        uint64_t left = x->count - at, by = jump; /* `left`: to the first value again */
        rest += more;
        if (rest >= x->every) {
            rest -= x->every;
            by++;
        }
        at = x->count && by >= left ? by - left : at + by;
    }
}

static void choose(const struct program_index *x, uint64_t number, uint64_t stride, uint64_t *index,
                   uint32_t n)
{
    uint64_t state = x->seed + (number + 1) * GOLDEN, jump = stride * GOLDEN;
    if (x->kind == CHOICE_TURN) {
        choose_in_turn(x, number, stride, index, n);
    } else if (x->kind == CHOICE_RANDOM) {
        for (uint32_t i = 0; i < n; i++, state += jump)
            index[i] = below(splitmix(state), x->count);
    } else {
        for (uint32_t i = 0; i < n; i++, state += jump) {
            uint64_t bits = splitmix(state), row = (bits >> 32) * x->count >> 32;
            const struct program_alias *a = &x->alias[row];
            index[i] = (uint32_t)bits < a->threshold ? row : a->other;
        }
    }
}

/* Writes `bytes` bytes, a constant, of words in memory order. */
static INLINE void write_bytes(const struct program_step *s, uint8_t *const *data,
                               const uint64_t *words, uint32_t n, uint32_t bytes, int masked)
{
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *to = data[i] + s->at;
        uint64_t word = words[i], old = 0;
        if (masked) {
            memcpy(&old, to, bytes);
            word |= old & ~s->mask;
        }
        memcpy(to, &word, bytes);
    }
}

static void write_words(const struct program_step *s, uint8_t *const *data, const uint64_t *words,
                        uint32_t n)
{
    switch (s->bytes * 2 + !!s->mask) {
    case 2:
        write_bytes(s, data, words, n, 1, 0);
        break;
    case 3:
        write_bytes(s, data, words, n, 1, 1);
        break;
    case 4:
        write_bytes(s, data, words, n, 2, 0);
        break;
    case 5:
        write_bytes(s, data, words, n, 2, 1);
        break;
    case 6:
        write_bytes(s, data, words, n, 3, 0);
        break;
    case 7:
        write_bytes(s, data, words, n, 3, 1);
        break;
    case 8:
        write_bytes(s, data, words, n, 4, 0);
        break;
    case 9:
        write_bytes(s, data, words, n, 4, 1);
        break;
    case 10:
        write_bytes(s, data, words, n, 5, 0);
        break;
    case 11:
        write_bytes(s, data, words, n, 5, 1);
        break;
    case 12:
        write_bytes(s, data, words, n, 6, 0);
        break;
    case 13:
        write_bytes(s, data, words, n, 6, 1);
        break;
    case 14:
        write_bytes(s, data, words, n, 7, 0);
        break;
    case 15:
        write_bytes(s, data, words, n, 7, 1);
        break;
    case 16:
        write_bytes(s, data, words, n, 8, 0);
        break;
    case 17:
        write_bytes(s, data, words, n, 8, 1);
        break;
    }
}

/* Makes words in memory order of a step's values, and adds them to the checksums' sums. */
static void evaluate(const struct program_step *s, const uint64_t *index, uint64_t *words,
                     uint64_t sums[][BURST_MAX], uint32_t n_checks, uint32_t n)
{
    uint64_t halves[BURST_MAX]; /* sums of 32-bit words are sums of 16-bit words, too */
    for (uint32_t i = 0; i < n; i++) {
        words[i] = s->values ? s->values[index[i]] : htobe64(s->low + index[i] * s->step);
        halves[i] = (words[i] & UINT32_MAX) + (words[i] >> 32);
    }
    for (uint32_t c = 0; c < n_checks; c++) {
        uint64_t factor = s->factors[c];
        for (uint32_t i = 0; factor == 1 && i < n; i++)
            sums[c][i] += halves[i];
        for (uint32_t i = 0; factor > 1 && i < n; i++) /* < 2^33 * 2^16: many steps fit */
            sums[c][i] += halves[i] * factor;
    }
}

static void correct(const struct program_check *c, uint8_t *const *data, const uint64_t *sums,
                    uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *to = data[i] + c->at;
        uint16_t check;
        memcpy(&check, to, sizeof check);
        uint32_t rest = (uint32_t)((sums[i] + c->rest + (uint16_t)~check) % SUMS);
        check = rest ? (uint16_t)~rest : c->zero;
        memcpy(to, &check, sizeof check);
    }
}

void field_program(struct field *f, const struct pool *pool, struct packet *p, uint32_t n)
{
    struct program_field *g = (struct program_field *)f;
    uint64_t index[BURST_MAX], words[BURST_MAX], sums[PROGRAM_CHECKS][BURST_MAX];
    uint64_t number = g->first + g->next * g->stride;
    const struct program_step *s = g->steps;
    uint8_t *data[BURST_MAX];
    for (uint32_t i = 0; i < n; i++)
        data[i] = packet_data(pool, p[i]);
    for (uint32_t c = 0; c < g->n_checks; c++)
        memset(sums[c], 0, n * sizeof *sums[c]);
    for (uint32_t x = 0; x < g->n_indexes; x++) {
        choose(&g->indexes[x], number, g->stride, index, n);
        for (uint32_t i = 0; i < g->indexes[x].shared; i++, s++) {
            evaluate(s, index, words, sums, g->n_checks, n);
            write_words(s, data, words, n);
        }
    }
    for (uint32_t c = 0; c < g->n_checks; c++)
        correct(&g->checks[c], data, sums[c], n);
    g->next += n;
}
