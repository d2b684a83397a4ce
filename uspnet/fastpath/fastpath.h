/* SPDX-License-Identifier: Apache-2.0
 *
 * The layers of the fast path, from the bottom up:
 *   handle  8 bytes for a packet: buffer index, offset, length. What loops and rings pass around.
 *   pool    packet memory: buffers of one size in a mapping that devices and peers share.
 *   stack   the free buffers of one worker; no other thread uses it.
 *   queue   the interface of a ring to a loop: burst(), where to take and return buffers, counters.
 *   ring    one descriptor format (rings/…): checks what the other side wrote, makes handles of it.
 *   loop    what a worker runs (loops/…): receive a burst, decide, send it, until told to stop.
 * Python fills the structs before the workers start, and reads the counters meanwhile. A loop calls
 * only queue->burst, ->arm and ->flush; a ring calls no loop, and no Python code runs per packet.
 *
 * The part between "// [python]" and "// [c]" is compiled, and also given to cffi as declarations
 * (build.py): it holds only enums, structs and prototypes. The rest is for C alone. */
#ifndef USPNET_FASTPATH_H
#define USPNET_FASTPATH_H
#include "counters.h"

#include <stddef.h>

// [python]
enum { BURST_MAX = 64, CACHE_LINE = 64, CACHE_OFFSETS = 8 };
enum { FRAME_SHORTEST = 14 }; /* bytes of an Ethernet header */

/* A packet handle. Bursts are arrays of them. */
struct packet {
    uint32_t index;  /* of the buffer in its pool */
    uint16_t offset; /* of the first byte in the buffer */
    uint16_t length; /* of the Ethernet frame in bytes, without FCS */
};

/* Packet memory: buffers of one size in one shared mapping. Constant while a job runs. */
struct pool {
    uint8_t *base;
    uint32_t size;  /* bytes a buffer */
    uint32_t count; /* buffers */
};

/* A worker's free buffers, last in first out: the latest one is most likely still in the cache. */
struct stack {
    uint32_t top;  /* free[0] … free[top - 1] are free */
    uint32_t room; /* entries of `free` */
    uint32_t *free;
};

/* Why a ring can't go on. Python raises it as an error (port.py, Queue.fault). */
enum fault {
    FAULT_NONE,
    FAULT_PEER,      /* the peer set a ring index out of range */
    FAULT_MEMORY,    /* shared memory or a mapped file was truncated: SIGBUS, see guard.c */
    FAULT_MALFORMED, /* the file can't be parsed any further */
    FAULT_IO,        /* a system call failed: sys_errno */
    FAULT_GONE,      /* the device or interface was removed */
    FAULT_RING       /* the device returned a buffer that it did not own */
};

/* Metadata of a packet from a capture file. */
struct origin {
    uint32_t length;        /* original length on the wire; 0: the same as the handle's */
    uint32_t kept;          /* the fields below are set, to be copied from pcapng to pcapng */
    uint64_t time;          /* in units of its interface */
    const uint8_t *options; /* of its block; valid until the source's next burst */
    uint32_t option_bytes;
    uint32_t interface; /* its number in the section */
    uint32_t swapped;   /* the options are in the other byte order */
    uint32_t losses;    /* drops count of an obsolete Packet Block; UINT32_MAX: unknown */
};

struct watch; /* rings/watch.h */

/* One receive or transmit ring. The ring's own struct begins with this one. Who fills which field:
 *
 *   field                     set by                                        when
 *   burst, flush              the port's make_queue                         once
 *   arm, wake_fd              make_queue; memif: when a peer connects       once a connection
 *   pool, stack, counters     Port.queue (port.py)                          once, before start
 *   stamps, origins           Worker (jobs/worker.py); moved by a loop      before the start
 *   lossless, patient         make_queue of a source that can wait          once
 *   closed                    the port; a ring whose interface goes down    at any time
 *   fault, sys_errno, ended   the ring; Python resets fault                 once
 *   watch                     Python, and then burst, too: jobs/watching.py while loops pause
 *
 * burst, receive: fills up to n handles with buffers from `stack`, which the caller then owns.
 * burst, transmit: accepts the first k of n handles and returns k; their buffers return to `stack`
 * when the other side has finished with them. Neither blocks. */
struct queue {
    uint32_t (*burst)(struct queue *q, struct packet *packets, uint32_t n);
    int (*arm)(struct queue *q, int on); /* enable wake-ups; nonzero: there is work already */
    int (*flush)(struct queue *q); /* publish what waits; nonzero: some of it still does; or NULL */
    struct pool *pool;
    struct stack *stack;
    struct counters *counters;
    uint64_t *stamps;       /* parallel to the handles: ns since 1970, or STAMP_UNKNOWN; or NULL */
    struct origin *origins; /* parallel to the handles; or NULL */
    int32_t wake_fd;        /* readable when there may be work; -1: none */
    uint32_t lossless;      /* a source that can wait without losing packets (a file) */
    uint32_t patient;       /* a source that waits for its only exit, while that is up (TAP) */
    uint32_t closed;        /* no ring is attached, or the interface is down: bursts move nothing */
    uint32_t fault;         /* enum fault */
    uint32_t ended;         /* this source has no more packets */
    int32_t sys_errno;      /* of the system call behind FAULT_IO */
    struct watch *watch;    /* another process sees packets of this queue; NULL: none does */
};

/* guard.c: queues on a peer's memory survive its truncation. */
int guard_install(void);
int guard_add(void *start, uint64_t size, uint32_t *fault);
void guard_remove(void *start);
void *guard_map(int fd, uint64_t size, uint32_t *fault);
void guard_unmap(void *start, uint64_t size);
// [c]
int guard_zeros(void *start, uint64_t size, uint32_t *fault);

#include "cpu.h"

#include <string.h>

#define DROP_NONE DROP_REASONS   /* the packet is valid */
#define STAMP_UNKNOWN UINT64_MAX /* also for times before 1970 and after 2554 */

static inline uint32_t least(uint32_t a, uint32_t b) { return a < b ? a : b; }

/* --- packets ------------------------------------------------------------------------------- */

static inline uint8_t *packet_data(const struct pool *pool, struct packet p)
{
    return pool->base + (uint64_t)p.index * pool->size + p.offset;
}

/* Cache colouring: the offset of a packet in its buffer. Without it, buffers of a power of two put
 * all headers into the same few cache sets. */
static inline uint16_t cache_offset(uint32_t index)
{
    return (uint16_t)((index % CACHE_OFFSETS) * CACHE_LINE);
}

/* The longest frame that fits at any cache offset, and whose length fits a packet handle. */
static inline uint32_t pool_room(const struct pool *pool)
{
    uint32_t room = pool->size - (CACHE_OFFSETS - 1) * CACHE_LINE;
    return room < UINT16_MAX ? room : UINT16_MAX;
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

/* Is there room for n more? What the worker process has left may say anything. */
static inline int stack_has_room(const struct stack *s, uint32_t n)
{
    return s->top <= s->room && n <= s->room - s->top;
}

/* The same as stack_give(), outside of loops: what there is no room for is not given back. */
static inline void stack_return(struct stack *s, uint32_t index)
{
    if (stack_has_room(s, 1))
        stack_give(s, index);
}

/* The same as stack_take() of one, outside of loops: none where more are said to be than can be. */
static inline uint32_t stack_fetch(struct stack *s, uint32_t *index)
{
    return stack_has_room(s, 0) ? stack_take(s, index, 1) : 0;
}

/* Returns the buffers of n handles. `restrict` lets the compiler vectorize the loop. */
static inline void stack_give_packets(struct stack *s, const struct packet *restrict p, uint32_t n)
{
    uint32_t *restrict free = s->free + s->top;
    for (uint32_t i = 0; i < n; i++)
        free[i] = p[i].index;
    s->top += n;
}

/* --- ring arithmetic: positions are free-running counters; only differences count ------------- */

/* Slots that may be filled, at most n: `clean` is the oldest position still in use. */
static inline uint32_t ring_reserve(uint16_t next, uint16_t clean, uint32_t slots, uint32_t n)
{
    return least(n, slots - (uint16_t)(next - clean));
}

/* Is `at` in [from, to], modulo 2^16? Validates a position that the peer wrote. */
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

/* Counts n packets as dropped. */
static __attribute__((cold, noinline, unused)) void queue_drop(struct queue *q,
                                                               enum drop_reason reason, uint64_t n)
{
    q->counters->drops[reason] += n;
    if (reason < DROP_ERRORS)
        q->counters->dropped += n;
    else
        q->counters->errors += n;
}

void watch_drops(struct queue *q, uint32_t reason, const struct packet *packets, uint32_t n);

/* Counts n packets as dropped whose buffers are not freed yet. */
static __attribute__((cold, noinline, unused)) void
queue_drop_packets(struct queue *q, enum drop_reason reason, const struct packet *p, uint32_t n)
{
    if (q->watch)
        watch_drops(q, reason, p, n);
    queue_drop(q, reason, n);
}

/* Drops one packet and frees its buffer. */
static __attribute__((cold, noinline, unused)) void queue_refuse(struct queue *q, uint32_t index,
                                                                 enum drop_reason reason)
{
    queue_drop(q, reason, 1);
    stack_give(q->stack, index);
}

/* The same for a whole packet. */
static __attribute__((cold, noinline, unused)) void
queue_refuse_packet(struct queue *q, struct packet p, enum drop_reason reason)
{
    queue_drop_packets(q, reason, &p, 1);
    stack_give(q->stack, p.index);
}

/* Transmit: the reason for a frame whose length is out of range. */
static inline enum drop_reason tx_wrong_length(uint32_t length, uint32_t shortest)
{
    return length < shortest ? DROP_TOO_SHORT : DROP_TOO_LONG;
}

/* Receive: the reason for a frame whose length is out of range, or more than a buffer can hold. */
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
