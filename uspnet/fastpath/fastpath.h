/* SPDX-License-Identifier: Apache-2.0
 *
 * The fast path's contract: packet handles, the pool and queues. worker.h has who moves packets.
 *
 * Everything above the "[c]" fence is read twice: by the compiler, and by cffi as the declarations
 * that Python sees (build.py). So it holds plain enums, structs and prototypes, and nothing else.
 * Python fills these structs once, before the workers start; the loops then run without it.
 */
#ifndef USPNET_FASTPATH_H
#define USPNET_FASTPATH_H
#include <stddef.h>
#include <stdint.h>

// [python]
enum { BURST_MAX = 64, CACHE_LINE = 64, CACHE_OFFSETS = 8 };
enum { FRAME_SHORTEST = 14 }; /* bytes of an Ethernet header */

/* A packet handle: 8 bytes that name a piece of one buffer. Bursts are arrays of them. */
struct packet {
    uint32_t index;  /* of the buffer in its pool */
    uint16_t offset; /* of the first byte in the buffer */
    uint16_t length; /* of the Ethernet frame in bytes, without FCS */
};

/* Packet memory: equal buffers in one shared mapping. Read-only once made. */
struct pool {
    uint8_t *base;
    uint32_t size;  /* bytes a buffer */
    uint32_t count; /* buffers */
};

/* A worker's free buffers, last in first out so that the warmest is used next. */
struct stack {
    uint32_t top; /* free[0] … free[top - 1] are free */
    uint32_t room;
    uint32_t *free;
};

/* Why a packet that entered a job leaves by no port. Those before DROP_ERRORS count as `dropped`
 * under the kernel's names, the others as `errors`. Python takes the names from here. */
enum drop_reason {
    DROP_NO_ROOM,      /* good, but a ring or the pool was full */
    DROP_DOWN,         /* good, but the interface was down, or the peer away */
    DROP_PEER_LEFT,    /* handed to a ring whose other side never took it */
    DROP_NOT_ETHERNET, /* of another link type than the port's */
    DROP_NOT_IP,       /* for an interface that takes nothing else */
    DROP_JOINED,       /* several frames joined by the kernel, which can't be cut apart here */
    DROP_FILTERED,     /* not wanted: a filter or a rule said so */
    DROP_POLICED,      /* beyond the rate that was asked for */
    DROP_NO_ROUTE,     /* no port leads to where it goes */
    DROP_ERRORS,
    DROP_TOO_LONG = DROP_ERRORS, /* longer than a buffer, or than the other side takes */
    DROP_TOO_SHORT,              /* shorter than an Ethernet header, or than a device can send */
    DROP_BAD_LENGTH, /* a length that does not fit the memory the packet is said to be in */
    DROP_BAD_CHAIN,  /* pieces without a first or a last one, or an empty one */
    DROP_BAD_SLOT,   /* in a buffer or region that the other side does not have */
    DROP_BAD_FRAME,  /* marked by the device: a CRC, symbol or carrier error */
    DROP_BAD_CHECKSUM,
    DROP_BAD_RECORD, /* of a capture file: it can't be understood */
    DROP_REFUSED,    /* by the kernel or the device, which did not say more */
    DROP_REASONS
};

/* One queue's counters, in memory that other processes may read. Written by the owner alone.
 * Each dropped packet is in `drops` once, and in one of `errors` and `dropped`. */
struct counters {
    uint64_t packets, bytes;
    uint64_t errors;    /* sum of drops[DROP_ERRORS …] */
    uint64_t dropped;   /* sum of drops[… DROP_ERRORS - 1] */
    uint64_t missed;    /* lost before they reached us, as the other side counts it */
    uint64_t stalled;   /* packets that found the ring full at their first try */
    uint64_t doorbells; /* times the other side had to be woken */
    uint64_t sleeps;
    uint64_t drops[32];   /* by enum drop_reason */
    uint64_t copied;      /* packets that left here and were made of others in this job */
    uint64_t reserved[7]; /* to whole pairs of cache lines: the prefetcher takes them together */
};

enum fault {
    FAULT_NONE,
    FAULT_PEER,
    FAULT_MEMORY,
    FAULT_MALFORMED,
    FAULT_IO,
    FAULT_GONE,
    FAULT_RING
};

/* What a capture file says of a packet beside its bytes and its time. */
struct origin {
    uint32_t length;        /* on the wire, of a packet that was cut short; 0: the handle's */
    uint32_t kept;          /* what follows is set: it goes from pcapng to pcapng as it is */
    uint64_t time;          /* in units of its interface */
    const uint8_t *options; /* of its block; there until the source's next burst */
    uint32_t option_bytes;
    uint32_t interface; /* its number in the section */
    uint32_t swapped;   /* the options are not in our byte order */
    uint32_t losses;    /* before this packet, of an obsolete block; UINT32_MAX: none said */
};

/* One receive or transmit ring. The ring's own struct begins with this one.
 *
 * burst: receive fills up to n handles, in buffers taken from `stack`, and the caller owns them;
 * transmit takes the first k of n handles, returns k, and gives their buffers back to `stack`
 * when the other side is done. Neither blocks. */
struct queue {
    uint32_t (*burst)(struct queue *q, struct packet *packets, uint32_t n);
    int (*arm)(struct queue *q, int on); /* ask for wake-ups; nonzero: there is work right now */
    void (*flush)(struct queue *q);      /* hand over what is held back for a fuller batch */
    struct pool *pool;
    struct stack *stack;
    struct counters *counters;
    /* A loop's arrays beside its handles, or NULL. */
    uint64_t *stamps; /* ns since 1970; STAMP_UNKNOWN */
    struct origin *origins;
    int32_t wake_fd;   /* becomes ready when there may be work; -1: none */
    uint32_t lossless; /* this source loses nothing by waiting (a file) */
    uint32_t closed;   /* set by Python: there is no ring behind this queue right now */
    uint32_t fault;    /* enum fault, set once by the ring */
    uint32_t ended;    /* this source has no more packets */
    int32_t sys_errno; /* of the system call behind FAULT_IO */
};

/* Queues that a peer's memory stands behind survive its truncation: guard.c. */
int guard_install(void);
int guard_add(void *start, uint64_t size, uint32_t *fault);
void guard_remove(void *start);
void *guard_map(int fd, uint64_t size, uint32_t *fault);
void guard_unmap(void *start, uint64_t size);
// [c]

#include "cpu.h"

#include <string.h>

#define DROP_NONE DROP_REASONS   /* nothing is wrong with the packet */
#define STAMP_UNKNOWN UINT64_MAX /* also of times that don't fit: before 1970 and after 2554 */

static inline uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* --- packets ------------------------------------------------------------------------------- */

static inline uint8_t *packet_data(const struct pool *pool, struct packet p)
{
    return pool->base + (uint64_t)p.index * pool->size + p.offset;
}

/* Where a packet starts in its buffer. Equal buffers of a power of two would put every header
 * into the same few cache sets; eight colours spread them. */
static inline uint16_t cache_offset(uint32_t index)
{
    return (uint16_t)((index % CACHE_OFFSETS) * CACHE_LINE);
}

/* The longest frame that fits behind any colour. */
static inline uint32_t pool_room(const struct pool *pool)
{
    return pool->size - (CACHE_OFFSETS - 1) * CACHE_LINE;
}

/* --- free buffers ------------------------------------------------------------------------- */

static inline uint32_t stack_take(struct stack *s, uint32_t *index, uint32_t n)
{
    n = least(n, s->top);
    s->top -= n;
    memcpy(index, s->free + s->top, n * sizeof *index);
    return n;
}

static inline void stack_give(struct stack *s, uint32_t index) { s->free[s->top++] = index; }

static inline void stack_give_all(struct stack *s, const uint32_t *index, uint32_t n)
{
    memcpy(s->free + s->top, index, n * sizeof *index);
    s->top += n;
}

/* `restrict` lets the compiler copy several indices at once. */
static inline void stack_give_packets(struct stack *s, const struct packet *restrict p, uint32_t n)
{
    uint32_t *restrict free = s->free + s->top;
    for (uint32_t i = 0; i < n; i++)
        free[i] = p[i].index;
    s->top += n;
}

/* --- ring arithmetic: positions run freely and wrap; only differences count -------------------
 * The side we fill: reserve slots, fill them, submit. The side we drain: peek, use, release. */

static inline uint32_t ring_reserve(uint16_t next, uint16_t clean, uint32_t slots, uint32_t n)
{
    return least(n, slots - (uint16_t)(next - clean));
}

/* Is `at` inside [from, to], counted forward? What a peer writes must pass this. */
static inline int ring_within(uint16_t from, uint16_t at, uint16_t to)
{
    return (uint16_t)(at - from) <= (uint16_t)(to - from);
}

/* --- queues ------------------------------------------------------------------------------- */

static inline uint32_t queue_burst(struct queue *q, struct packet *p, uint32_t n)
{
    return likely(!load_acquire(&q->closed)) ? q->burst(q, p, n) : 0;
}

static inline void queue_count(struct queue *q, uint32_t packets, uint64_t bytes)
{
    q->counters->packets += packets;
    q->counters->bytes += bytes;
}

/* Counts n packets of the queue as dropped for one reason. */
static __attribute__((cold, noinline, unused)) void queue_drop(struct queue *q,
                                                               enum drop_reason reason, uint64_t n)
{
    q->counters->drops[reason] += n;
    if (reason < DROP_ERRORS)
        q->counters->dropped += n;
    else
        q->counters->errors += n;
}

/* Drops a packet that nobody else holds. */
static __attribute__((cold, noinline, unused)) void queue_refuse(struct queue *q, uint32_t index,
                                                                 enum drop_reason reason)
{
    queue_drop(q, reason, 1);
    stack_give(q->stack, index);
}

/* Transmit: why a frame that is not `shortest` to `longest` bytes long is refused. */
static inline enum drop_reason tx_wrong_length(uint32_t length, uint32_t shortest)
{
    return length < shortest ? DROP_TOO_SHORT : DROP_TOO_LONG;
}

/* Receive: why a frame of that length is refused; it may be more than its buffer has room for. */
static inline enum drop_reason rx_wrong_length(const struct pool *pool, uint32_t length)
{
    if (length < FRAME_SHORTEST)
        return DROP_TOO_SHORT;
    return length > pool_room(pool) ? DROP_BAD_LENGTH : DROP_TOO_LONG;
}

static inline void queue_fault(struct queue *q, enum fault fault)
{
    if (!load_relaxed(&q->fault))
        store_release(&q->fault, (uint32_t)fault);
}

#endif
