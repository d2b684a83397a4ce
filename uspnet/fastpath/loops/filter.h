/* SPDX-License-Identifier: Apache-2.0
 *
 * Packet filters: classic BPF programs, as libpcap compiles them (packets/filter/ checks them), run
 * by an interpreter, or as the machine code that packets/filter/native.py has made of them.
 * Reference: McCanne and Jacobson, The BSD Packet Filter, 1993. */
#ifndef USPNET_FILTER_H
#define USPNET_FILTER_H
#include "fastpath.h"

// [python]
enum { FILTER_STEPS = 4096 };      /* as in the kernel */
enum { FILTER_JUMPS_BACK = 4096 }; /* a loop that takes more rejects the packet */

/* An instruction, as struct bpf_insn has it. */
struct filter_step {
    uint16_t code;
    uint8_t if_true, if_false; /* steps to skip */
    uint32_t value;
};

/* What a loop has run so far. */
enum filter_way { FILTER_NOT_RUN, FILTER_NATIVE, FILTER_INTERPRETED };

struct filter {
    uint32_t n;
    uint32_t way;        /* enum filter_way: written by loops */
    const uint8_t *code; /* the same as machine code, see code.h; or NULL */
    struct filter_step steps[4096];
};

/* Does the program accept these bytes of a packet that was `wire` bytes long? */
int filter_accepts(struct filter *f, const uint8_t *data, uint32_t length, uint32_t wire);
/* The same by the interpreter. */
int filter_interpret(const struct filter *f, const uint8_t *data, uint32_t length, uint32_t wire);
// [c]

struct burst;

/* Which of the first n packets of a burst from this ring does the program accept? A bit each. */
uint64_t filter_burst(struct filter *f, const struct queue *rx, const struct burst *b, uint32_t n);

#endif
