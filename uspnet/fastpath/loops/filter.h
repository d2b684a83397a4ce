/* SPDX-License-Identifier: Apache-2.0
 *
 * Packet filters: classic BPF programs, as libpcap compiles them (packets/filter.py checks them).
 * Reference: McCanne and Jacobson, The BSD Packet Filter, 1993. */
#ifndef USPNET_FILTER_H
#define USPNET_FILTER_H
#include "fastpath.h"

// [python]
enum { FILTER_STEPS = 4096 }; /* as in the kernel */

/* An instruction, as struct bpf_insn has it. */
struct filter_step {
    uint16_t code;
    uint8_t if_true, if_false; /* steps to skip */
    uint32_t value;
};

struct filter {
    uint32_t n;
    struct filter_step steps[4096];
};

/* Does the program accept these bytes of a packet that was `wire` bytes long? */
int filter_accepts(const struct filter *f, const uint8_t *data, uint32_t length, uint32_t wire);
// [c]

#endif
