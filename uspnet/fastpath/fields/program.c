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
    uint32_t only_at;         /* offset of 8 bytes */
    uint64_t only, only_mask; /* what is in them, in memory order, in its packets; 0: in all */
};
void field_program(struct field *f, const struct pool *pool, struct packet *p, uint32_t n);
// [c]

_Static_assert(sizeof(((struct program_step *)0)->factors) / sizeof(uint32_t) == PROGRAM_CHECKS,
               "cffi reads no enum in a declaration of an array");

/* A random number below `count` from 64 random bits (Lemire 2019; the bias is count / 2^64). */
static inline uint64_t below(uint64_t bits, uint64_t count)
{
    return (uint64_t)((unsigned __int128)bits * count >> 64);
}

/* A sum of 16-bit words, less a multiple of 2^16 - 1. What is not 0 does not become 0. */
static inline uint64_t fold(uint64_t sum) { return (sum & UINT16_MAX) + (sum >> 16); }

/* index[i] = (at + i * jump) % count, which begins again once at most: without branches. */
static void choose_evenly(uint32_t at, uint32_t jump, uint32_t count, uint64_t *index, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint32_t next = at + i * jump, again = next - count; /* wraps if it is not past the end */
        index[i] = next < again ? next : again;
    }
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
    if (x->every == 1 && x->count && x->count <= INT32_MAX && jump * BURST_MAX <= x->count) {
        choose_evenly((uint32_t)at, (uint32_t)jump, (uint32_t)x->count, index, n);
        return;
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
    uint64_t state = x->seed + (number + 1) * GOLDEN, jump = stride * GOLDEN, count = x->count;
    if (x->kind == CHOICE_TURN) {
        choose_in_turn(x, number, stride, index, n);
    } else if (x->kind == CHOICE_RANDOM && count) {
        UNROLL
        for (uint32_t i = 0; i < n; i++, state += jump)
            index[i] = below(splitmix(state), count);
    } else if (x->kind == CHOICE_RANDOM) {
        for (uint32_t i = 0; i < n; i++, state += jump)
            index[i] = splitmix(state);
    } else {
        for (uint32_t i = 0; i < n; i++, state += jump) {
            uint64_t bits = splitmix(state), row = (bits >> 32) * count >> 32;
            const struct program_alias *a = &x->alias[row];
            index[i] = (uint32_t)bits < a->threshold ? row : a->other;
        }
    }
}

/* A step's values of a burst as words in memory order, and their 16-bit words' sums. */
struct words {
    union {
        uint32_t narrow[BURST_MAX]; /* values of up to 4 bytes */
        uint64_t wide[BURST_MAX];
    };
    uint32_t halves[BURST_MAX]; /* less than 2^18 */
};

static void make_narrow(const struct program_step *s, const uint64_t *index, struct words *w,
                        uint32_t n)
{
    uint32_t low = (uint32_t)(s->low >> 32), step = (uint32_t)(s->step >> 32);
    if (s->values)
        for (uint32_t i = 0; i < n; i++)
            memcpy(&w->narrow[i], &s->values[index[i]], sizeof w->narrow[i]);
    else
        for (uint32_t i = 0; i < n; i++)
            w->narrow[i] = htobe32(low + (uint32_t)index[i] * step);
    for (uint32_t i = 0; i < n; i++) /* a word of 32 bits counts as its halves */
        w->halves[i] = (w->narrow[i] & UINT16_MAX) + (w->narrow[i] >> 16);
}

static void make_wide(const struct program_step *s, const uint64_t *index, struct words *w,
                      uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        uint64_t word = s->values ? s->values[index[i]] : htobe64(s->low + index[i] * s->step);
        w->wide[i] = word;
        w->halves[i] = (uint32_t)fold((word & UINT32_MAX) + (word >> 32));
    }
}

/* Writes `bytes` bytes, a constant, of words in memory order. */
static INLINE void write_bytes(const struct program_step *s, uint8_t *const *data,
                               const struct words *w, uint32_t n, uint32_t bytes)
{
    const uint8_t *from = (const uint8_t *)w;
    uint32_t size = bytes > 4 ? 8 : 4, at = s->at;
    if (!s->mask) {
        UNROLL
        for (uint32_t i = 0; i < n; i++)
            memcpy(data[i] + at, from + (size_t)i * size, bytes);
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *to = data[i] + at;
        uint64_t word = 0, old = 0;
        memcpy(&word, from + (size_t)i * size, bytes);
        memcpy(&old, to, bytes);
        word |= old & ~s->mask;
        memcpy(to, &word, bytes);
    }
}

static void write_words(const struct program_step *s, uint8_t *const *data, const struct words *w,
                        uint32_t n)
{
    switch (s->bytes) {
    case 1:
        write_bytes(s, data, w, n, 1);
        break;
    case 2:
        write_bytes(s, data, w, n, 2);
        break;
    case 3:
        write_bytes(s, data, w, n, 3);
        break;
    case 4:
        write_bytes(s, data, w, n, 4);
        break;
    case 5:
        write_bytes(s, data, w, n, 5);
        break;
    case 6:
        write_bytes(s, data, w, n, 6);
        break;
    case 7:
        write_bytes(s, data, w, n, 7);
        break;
    case 8:
        write_bytes(s, data, w, n, 8);
        break;
    }
}

/* Adds a step's words to a checksum's sums: less than 2^18 of 2^32, so that many steps fit. */
static void add_up(uint32_t *sums, const struct words *w, uint64_t factor, uint32_t n)
{
    if (factor == 1)
        for (uint32_t i = 0; i < n; i++)
            sums[i] += w->halves[i];
    else if (factor)
        for (uint32_t i = 0; i < n; i++)
            sums[i] += (uint32_t)fold(fold(w->halves[i] * factor));
}

/* Updates a checksum. Sums that are folded twice are 1 to 2^16 - 1. */
static void correct(const struct program_check *c, uint8_t *const *data, const uint32_t *sums,
                    uint32_t n)
{
    uint32_t folded[BURST_MAX], rest = c->rest ? c->rest : UINT16_MAX, at = c->at;
    uint16_t zero = c->zero;
    for (uint32_t i = 0; i < n; i++) {
        uint32_t sum = sums[i] + rest;
        sum = (sum & UINT16_MAX) + (sum >> 16);
        folded[i] = (sum & UINT16_MAX) + (sum >> 16);
    }
    UNROLL
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *to = data[i] + at;
        uint16_t check;
        memcpy(&check, to, sizeof check);
        check = (uint16_t)~fold(folded[i] + (uint16_t)~check);
        check = check ? check : zero;
        memcpy(to, &check, sizeof check);
    }
}

uint64_t program_choice(const struct field *f, uint32_t index, uint64_t turn)
{
    const struct program_field *g = (const struct program_field *)f;
    uint64_t chosen;
    choose(&g->indexes[index], g->first + turn * g->stride, g->stride, &chosen, 1);
    return chosen;
}

/* Keeps the data of the packets that the program is for. Returns how many; `kept`: their places. */
static uint32_t keep(const struct program_field *g, uint8_t **data, uint32_t *kept, uint32_t n)
{
    uint64_t word, m = 0;
    for (uint32_t i = 0; i < n; i++) {
        memcpy(&word, data[i] + g->only_at, sizeof word);
        kept[m] = i;
        data[m] = data[i];
        m += (word & g->only_mask) == g->only;
    }
    return (uint32_t)m;
}

void field_program(struct field *f, const struct pool *pool, struct packet *p, uint32_t n)
{
    struct program_field *g = (struct program_field *)f;
    uint64_t index[BURST_MAX], number = g->first + g->next * g->stride;
    uint32_t sums[PROGRAM_CHECKS][BURST_MAX], kept[BURST_MAX], all = n;
    const struct program_step *s = g->steps;
    uint8_t *data[BURST_MAX];
    struct words w;
    for (uint32_t i = 0; i < n; i++)
        data[i] = packet_data(pool, p[i]);
    n = g->only_mask ? keep(g, data, kept, n) : n;
    for (uint32_t c = 0; c < g->n_checks; c++)
        memset(sums[c], 0, n * sizeof *sums[c]);
    for (uint32_t x = 0; x < g->n_indexes; x++) {
        choose(&g->indexes[x], number, g->stride, index, all);
        for (uint32_t i = 0; i < n && g->only_mask; i++)
            index[i] = index[kept[i]];
        for (uint32_t i = 0; i < g->indexes[x].shared; i++, s++) {
            if (s->bytes > 4)
                make_wide(s, index, &w, n);
            else
                make_narrow(s, index, &w, n);
            write_words(s, data, &w, n);
            for (uint32_t c = 0; c < g->n_checks; c++)
                add_up(sums[c], &w, s->factors[c], n);
        }
    }
    for (uint32_t c = 0; c < g->n_checks; c++)
        correct(&g->checks[c], data, sums[c], n);
    g->next += all;
}
