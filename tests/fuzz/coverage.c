// SPDX-License-Identifier: Apache-2.0
/* gcc's coverage, in the form that libFuzzer reads: gcc calls __sanitizer_cov_trace_pc() in each
 * basic block, libFuzzer wants an array of counters. Comparisons go to libFuzzer as they are, which
 * learns magic numbers from them. All names are hidden: AddressSanitizer exports stubs of them. */
#include <stdint.h>

#define HIDDEN __attribute__((visibility("hidden")))

enum { SLOTS = 1 << 13 };
static uint8_t counters[SLOTS];
static uintptr_t table[2 * SLOTS]; /* address and flags of each; libFuzzer prints them, no more */

static void (*compare[4])(uint64_t, uint64_t);
static void (*compare_constant[4])(uint64_t, uint64_t);
static void (*choose)(uint64_t, uint64_t *);

/* Called once. functions: libFuzzer's, in the order of NAMES in pcap.py. */
void coverage_begin(void *const *functions)
{
    ((void (*)(uint8_t *, uint8_t *))functions[0])(counters, counters + SLOTS);
    ((void (*)(uintptr_t *, uintptr_t *))functions[1])(table, table + 2 * SLOTS);
    for (int i = 0; i < 4; i++) {
        compare[i] = (void (*)(uint64_t, uint64_t))functions[2 + i];
        compare_constant[i] = (void (*)(uint64_t, uint64_t))functions[6 + i];
    }
    choose = (void (*)(uint64_t, uint64_t *))functions[10];
}

HIDDEN void __sanitizer_cov_trace_pc(void)
{
    /* Relative to this library, so that the slot is the same in each run. */
    uintptr_t at = (uintptr_t)__builtin_return_address(0) - (uintptr_t)coverage_begin;
    uint8_t *slot = &counters[(at * 0x9E3779B97F4A7C15u) >> 51];
    *slot += *slot < UINT8_MAX;
}

#define COMPARE(bytes, number, type)                                                               \
    HIDDEN void __sanitizer_cov_trace_cmp##bytes(type a, type b)                                   \
    {                                                                                              \
        if (compare[number])                                                                       \
            compare[number](a, b);                                                                 \
    }                                                                                              \
    HIDDEN void __sanitizer_cov_trace_const_cmp##bytes(type a, type b)                             \
    {                                                                                              \
        if (compare_constant[number])                                                              \
            compare_constant[number](a, b);                                                        \
    }
COMPARE(1, 0, uint8_t)
COMPARE(2, 1, uint16_t)
COMPARE(4, 2, uint32_t)
COMPARE(8, 3, uint64_t)

/* Of floating point, which libFuzzer has no use for. */
HIDDEN void __sanitizer_cov_trace_cmpf(float a, float b) { (void)a, (void)b; }
HIDDEN void __sanitizer_cov_trace_cmpd(double a, double b) { (void)a, (void)b; }

HIDDEN void __sanitizer_cov_trace_switch(uint64_t value, uint64_t *cases)
{
    if (choose)
        choose(value, cases);
}
