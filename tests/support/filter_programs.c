// SPDX-License-Identifier: Apache-2.0
/* Random filters, run by the interpreter and by libpcap's: valid programs of all instructions on
 * packets that end where their memory does, and steps of any bits, which must end and read nothing
 * else. Built with sanitizers by tests/packets/test_filter_programs.py. Usage: SEED PROGRAMS */
#include "loops/filter.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

enum { NEG = 0x80, LSH = 0x60, RSH = 0x70, WORDS = 16 };

typedef unsigned judge_fn(const void *, const unsigned char *, unsigned, unsigned);

static const uint16_t loads[] = {0x00, 0x01, 0x20, 0x28, 0x30, 0x40, 0x48,
                                 0x50, 0x60, 0x61, 0x80, 0x81, 0xB1};
static const uint32_t edges[] = {0,          14,         31,         60,         255,
                                 0x7FFFFFFB, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFC, 0xFFFFFFFF};
static uint64_t state;

static uint32_t chance(uint32_t below)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (uint32_t)(state >> 32) % below;
}

static struct filter_step jump(uint32_t left, uint32_t value)
{
    struct filter_step s = {.code = (uint16_t)(5 | chance(5) << 4 | chance(2) << 3),
                            .if_true = (uint8_t)chance(left),
                            .if_false = (uint8_t)chance(left),
                            .value = value};
    if (s.code == 5 || s.code == 13) /* JA */
        s = (struct filter_step){.code = 5, .value = chance(left)};
    return s;
}

static struct filter_step compute(uint32_t value)
{
    uint16_t op = (uint16_t)(chance(11) << 4), from_x = op == NEG ? 0 : (uint16_t)(chance(2) << 3);
    if (op == LSH || op == RSH)
        value %= 32; /* beyond that, libpcap's is undefined */
    return (struct filter_step){.code = 4 | op | from_x, .value = value ? value : 1};
}

static struct filter_step draw(uint32_t left)
{
    uint32_t value = chance(5) ? 1 + chance(70) : edges[chance(sizeof edges / sizeof *edges)];
    uint16_t code;
    switch (chance(6)) {
    case 0:
    case 1:
        code = loads[chance(sizeof loads / sizeof *loads)];
        if (code == 0x60 || code == 0x61)
            value %= WORDS;
        return (struct filter_step){.code = code, .value = value};
    case 2:
        return compute(value);
    case 3:
        if (left > 1)
            return jump(left - 1, value);
        return compute(value);
    case 4:
        return (struct filter_step){.code = (uint16_t)(2 + chance(2)), .value = value % WORDS};
    default:
        return (struct filter_step){.code = chance(2) ? 7 : 0x87};
    }
}

static void make(struct filter *f)
{
    uint32_t n = 2 + chance(28);
    f->n = WORDS + n + 1;
    for (uint32_t i = 0; i < WORDS; i++) /* libpcap's leaves them as they were */
        f->steps[i] = (struct filter_step){.code = 2, .value = i};
    for (uint32_t i = 0; i < n; i++)
        f->steps[WORDS + i] = draw(n - i);
    f->steps[WORDS + n] = (struct filter_step){.code = 0x16};
}

static void scramble(struct filter *f)
{
    f->n = chance(60);
    for (uint32_t i = 0; i < f->n; i++)
        f->steps[i] = (struct filter_step){(uint16_t)chance(65536), (uint8_t)chance(256),
                                           (uint8_t)chance(256), chance(UINT32_MAX)};
}

int main(int count, char **words)
{
    static struct filter f;
    void *library = dlopen("libpcap.so.0.8", RTLD_NOW);
    judge_fn *judge = library ? (judge_fn *)dlsym(library, "bpf_filter") : NULL;
    uint64_t programs = count > 2 ? strtoull(words[2], NULL, 10) : 0, accepted = 0;
    if (!judge)
        return 2;
    state = strtoull(words[1], NULL, 10) + 1;
    for (uint64_t i = 0; i < programs; i++) {
        uint32_t length = chance(81), wire = length + chance(2) * chance(100);
        uint8_t *data = malloc(length);
        for (uint32_t at = 0; at < length; at++)
            data[at] = (uint8_t)chance(chance(2) ? 4 : 256);
        make(&f);
        if (filter_interpret(&f, data, length, wire) != (judge(f.steps, data, wire, length) != 0)) {
            printf("program %llu differs\n", (unsigned long long)i);
            return 1;
        }
        accepted += (uint64_t)filter_interpret(&f, data, length, wire);
        scramble(&f);
        filter_accepts(&f, data, length, wire);
        free(data);
    }
    printf("accepted %llu\n", (unsigned long long)accepted);
    return 0;
}
