/* SPDX-License-Identifier: Apache-2.0
 *
 * Watched queues: copies of the packets that pass a queue of a running job, or that are dropped
 * there, go through a ring in shared memory to another process, `uspnet capture --job`. That may
 * hang, end, or write anything there: what finds no room is counted, and the job goes on. A queue
 * that nobody watches is as it was: a watch takes the place of its burst function. Fences as in
 * fastpath.h. */
#ifndef USPNET_WATCH_H
#define USPNET_WATCH_H
#include "fastpath.h"

// [python]
enum { WATCH_RING = 4 << 20, WATCH_HEAD = 4096 }; /* bytes of a ring, and of what is before it */
enum { WATCH_PASSED = 255, WATCH_SKIP = 254 };    /* instead of an enum drop_reason */

/* Before the records, in the memory of both processes. Positions are free-running, in bytes. */
struct watch_shared {
    uint64_t tail;   /* by the job: all before it is whole records */
    uint64_t missed; /* by the job: packets for which there was no room */
    uint64_t pad0[14];
    uint64_t head; /* by the watcher: all before it was taken */
    uint64_t pad1[15];
};

/* A packet. The bytes that were kept of it follow; the next record begins at a multiple of 16. */
struct watch_record {
    uint64_t ns;     /* since 1970 */
    uint32_t length; /* on the wire */
    uint16_t kept;   /* bytes */
    uint8_t reason;  /* enum drop_reason; WATCH_PASSED: it was not dropped; WATCH_SKIP: no packet,
                        the next record is at the start of the ring */
    uint8_t unused;
};

/* The job's side, of one queue. Only the worker of the queue uses it. */
struct watch {
    uint32_t (*burst)(struct queue *q, struct packet *packets, uint32_t n); /* the queue's own */
    struct watch_shared *shared;
    uint8_t *records;
    uint64_t size;    /* bytes of them, a power of two */
    uint64_t next;    /* where the next record goes */
    uint64_t taken;   /* the watcher's position when it was last looked at */
    uint32_t longest; /* bytes to keep of a packet, at most */
    uint32_t sends;   /* it is a transmit queue */
    uint32_t drops;   /* dropped packets are of interest, not those that pass */
};

/* In the place of the burst function of a queue with a watch. */
uint32_t watch_burst(struct queue *q, struct packet *packets, uint32_t n);
/* Shows n packets that are dropped for this reason, and are not freed yet. */
void watch_drops(struct queue *q, uint32_t reason, const struct packet *packets, uint32_t n);

/* The watcher's side: a receive ring. */
struct watched_note {
    const uint8_t *options; /* of pcapng, for the packet's block */
    uint32_t bytes;
};

struct watched_queue {
    struct queue q;
    struct watch_shared *shared;
    const uint8_t *records;
    uint64_t size;
    uint64_t next;      /* record to read */
    uint64_t missed;    /* counted so far */
    uint32_t over;      /* by Python: the job adds nothing more */
    uint32_t noted;     /* packets go to a pcapng file, with the notes */
    uint32_t interface; /* their number there */
    uint32_t n_notes;
    struct watched_note *notes; /* one for each reason, and a last one of what was not dropped */
};

uint32_t watched_rx(struct queue *q, struct packet *packets, uint32_t n);
// [c]

static inline uint64_t pad16(uint64_t n) { return (n + 15) & ~15ull; }

#endif
