// SPDX-License-Identifier: Apache-2.0
/* filter: packet filters, by machine code or by the interpreter. What is out of range rejects the
 * packet: a load behind its end as in every BPF machine, and an instruction that is none. */
#include "filter.h"
#include "code.h"
#include "worker.h"

#include <endian.h>

/* linux/bpf_common.h */
enum { CLASS = 0x07, LD = 0, LDX = 1, ST = 2, STX = 3, ALU = 4, JMP = 5, RET = 6, MISC = 7 };
enum { SIZE = 0x18, SIZE_W = 0x00, SIZE_H = 0x08, SIZE_B = 0x10 };
enum { MODE = 0xE0, IMM = 0x00, ABS = 0x20, IND = 0x40, MEM = 0x60, LEN = 0x80, MSH = 0xA0 };
enum { OP = 0xF0, SOURCE_X = 0x08, RET_A = 0x10, TXA = 0x80, WORDS = 16 };
enum { ADD = 0, SUB = 0x10, MUL = 0x20, DIV = 0x30, OR = 0x40, AND = 0x50 };
enum { LSH = 0x60, RSH = 0x70, NEG = 0x80, MOD = 0x90, XOR = 0xA0 };
enum { JA = 0, JEQ = 0x10, JGT = 0x20, JGE = 0x30, JSET = 0x40 };

/* All that works on it is inlined, so that it lies in the CPU's registers. */
struct machine {
    const uint8_t *data;
    uint32_t length, wire;
    uint32_t a, x, words[WORDS];
};

/* Loads a number of the packet. Returns 0 if it lies behind its end. */
static INLINE int load(const struct machine *m, uint32_t size, uint64_t at, uint32_t *to)
{
    uint32_t bytes = size == SIZE_W ? 4 : size == SIZE_H ? 2 : 1, four;
    uint16_t two;
    if (at + bytes > m->length)
        return 0;
    if (bytes == 4) {
        memcpy(&four, m->data + at, 4);
        *to = be32toh(four);
    } else if (bytes == 2) {
        memcpy(&two, m->data + at, 2);
        *to = be16toh(two);
    } else {
        *to = m->data[at];
    }
    return 1;
}

/* LD and LDX. Returns 0: the packet is rejected. */
static INLINE int fetch(const struct machine *m, const struct filter_step *s, uint32_t *to)
{
    switch (s->code & MODE) {
    case IMM:
        *to = s->value;
        return 1;
    case MEM:
        *to = m->words[s->value % WORDS];
        return 1;
    case LEN:
        *to = m->wire;
        return 1;
    case ABS:
        return load(m, s->code & SIZE, s->value, to);
    case IND:
        return load(m, s->code & SIZE, (uint64_t)s->value + m->x, to);
    case MSH: /* the length of an IPv4 header */
        if (!load(m, SIZE_B, s->value, to))
            return 0;
        *to = (*to & 15) * 4;
        return 1;
    default:
        return 0;
    }
}

/* Returns 0: the packet is rejected. */
static INLINE int compute(struct machine *m, uint32_t op, uint32_t by)
{
    switch (op) {
    case ADD:
        m->a += by;
        return 1;
    case SUB:
        m->a -= by;
        return 1;
    case MUL:
        m->a *= by;
        return 1;
    case DIV:
        m->a = by ? m->a / by : 0;
        return by != 0;
    case MOD:
        m->a = by ? m->a % by : 0;
        return by != 0;
    case OR:
        m->a |= by;
        return 1;
    case AND:
        m->a &= by;
        return 1;
    case XOR:
        m->a ^= by;
        return 1;
    case LSH:
        m->a = by < 32 ? m->a << by : 0;
        return 1;
    case RSH:
        m->a = by < 32 ? m->a >> by : 0;
        return 1;
    case NEG:
        m->a = -m->a;
        return 1;
    default:
        return 0;
    }
}

/* Returns how many steps to skip. */
static INLINE uint32_t jump(const struct machine *m, const struct filter_step *s, uint32_t with)
{
    switch (s->code & OP) {
    case JA: /* libpcap makes loops by it */
        return s->value;
    case JEQ:
        return m->a == with ? s->if_true : s->if_false;
    case JGT:
        return m->a > with ? s->if_true : s->if_false;
    case JGE:
        return m->a >= with ? s->if_true : s->if_false;
    default:
        return m->a & with ? s->if_true : s->if_false;
    }
}

int filter_interpret(const struct filter *f, const uint8_t *data, uint32_t length, uint32_t wire)
{
    struct machine m = {.data = data, .length = length, .wire = wire};
    uint32_t n = least(f->n, FILTER_STEPS), back = 0, skip;
    for (uint32_t at = 0; at < n; at++) {
        const struct filter_step *s = &f->steps[at];
        uint32_t operand = s->code & SOURCE_X ? m.x : s->value;
        int going = 1;
        switch (s->code & CLASS) {
        case LD:
            going = fetch(&m, s, &m.a);
            break;
        case LDX:
            going = fetch(&m, s, &m.x);
            break;
        case ST:
            m.words[s->value % WORDS] = m.a;
            break;
        case STX:
            m.words[s->value % WORDS] = m.x;
            break;
        case ALU:
            going = compute(&m, s->code & OP, operand);
            break;
        case JMP:
            skip = jump(&m, s, operand);
            going = !(skip >> 31) || back++ < FILTER_JUMPS_BACK;
            at += skip;
            break;
        case RET:
            return (s->code & RET_A ? m.a : s->value) != 0;
        default:
            *(s->code & TXA ? &m.a : &m.x) = s->code & TXA ? m.x : m.a;
        }
        if (!going)
            return 0;
    }
    return 0;
}

typedef uint32_t native_fn(const uint8_t *data, uint32_t wire, uint32_t length);

/* Returns the machine code, or NULL: there is none, or this process may not run it. */
static inline native_fn *native(struct filter *f)
{
    const uint8_t *code = load_relaxed(&f->code); /* once: others may write it */
    int known = code_known(code);
    uint32_t way = known ? FILTER_NATIVE : FILTER_INTERPRETED;
    if (unlikely(f->way != way))
        f->way = way;
    return known ? (native_fn *)(uintptr_t)code : NULL;
}

static inline int accepts(const struct filter *f, native_fn *run, const uint8_t *data,
                          uint32_t length, uint32_t wire)
{
    return run ? run(data, wire, length) != 0 : filter_interpret(f, data, length, wire);
}

int filter_accepts(struct filter *f, const uint8_t *data, uint32_t length, uint32_t wire)
{
    return accepts(f, native(f), data, length, wire);
}

uint64_t filter_burst(struct filter *f, const struct queue *rx, const struct burst *b, uint32_t n)
{
    native_fn *run = native(f);
    uint64_t found = 0;
    for (uint32_t i = 0; i < n; i++) {
        struct packet p = b->packets[i];
        const uint8_t *data = packet_data(rx->pool, p);
        found |= (uint64_t)accepts(f, run, data, p.length, burst_wire(rx, b, i)) << i;
    }
    return found;
}
