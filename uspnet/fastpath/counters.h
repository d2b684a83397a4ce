/* SPDX-License-Identifier: Apache-2.0
 *
 * What becomes of packets: counters, and the reasons of drops. Fences as in fastpath.h. */
#ifndef USPNET_COUNTERS_H
#define USPNET_COUNTERS_H
#include <stdint.h>

// [python]
/* Why a packet that entered a job leaves by no port. Reasons before DROP_ERRORS are summed in
 * `dropped`, the others in `errors` (names of rtnl_link_stats64). Loops decide on DROP_FILTERED to
 * DROP_NO_ROUTE. Python's names come from here. */
enum drop_reason {
    DROP_NO_ROOM,      /* the transmit ring, the pool or the disk was full */
    DROP_DOWN,         /* the interface was down, or no peer was connected */
    DROP_PEER_LEFT,    /* put into a ring; the peer or device never took it */
    DROP_NOT_ETHERNET, /* the link type is not Ethernet */
    DROP_NOT_IP,       /* neither IPv4 nor IPv6, for an interface without link-layer headers */
    DROP_JOINED,      /* several frames merged by the kernel (GRO), which can't be segmented here */
    DROP_FILTERED,    /* rejected by a filter or a rule */
    DROP_POLICED,     /* beyond a rate limit */
    DROP_SAME_PORT,   /* its destination is behind the port that it came from */
    DROP_LINK_LOCAL,  /* to what bridges (01:80:c2:00:00:01 to 0f) or routers do not forward */
    DROP_BAD_SOURCE,  /* its source address is missing, zero, a group's, or not to be forwarded */
    DROP_LOSS,        /* at random, as asked: fwd --loss */
    DROP_IMPAIR_FULL, /* it was to be delayed, and as many as may wait did so: fwd --limit */
    DROP_QUEUE_FULL,  /* the queue of the bottleneck was full: fwd --queue */
    DROP_CODEL,       /* by CoDel, since the queue of the bottleneck did not get shorter */
    DROP_DUPLICATE,   /* the same as one shortly before: capture --dedup */
    DROP_BEYOND_FIRST, /* behind those of its flow that were wanted: capture --first */
    DROP_NOT_ROUTED,   /* neither IPv4 nor IPv6, or behind a VLAN tag: a router forwards no other */
    DROP_OTHER_HOST,   /* to another MAC address than the router's */
    DROP_BAD_HEADER,   /* its IP header is truncated or malformed, or the checksum of it is wrong */
    DROP_TO_ROUTER,    /* to an address of the router itself */
    DROP_TTL_EXPIRED,  /* its TTL or hop limit does not reach any further */
    DROP_NO_NEIGHBOR,  /* the MAC address of the next hop is not known */
    DROP_NO_ROUTE,     /* no port for its destination */
    DROP_DEVICE_RESET, /* in flight when the device was reset or left; may have been sent */
    DROP_WORKER_LOST,  /* in flight when the worker process died; may have been sent */
    DROP_TRUNCATED,    /* a file has only a part of it, and it was to be skipped then */
    DROP_ENDED,        /* it was delayed, or a segment of a packet, when the run ended */
    DROP_UNTRIGGERED,  /* held in memory, and no trigger asked for it: capture --pre-trigger */
    DROP_ERRORS,
    DROP_TOO_LONG = DROP_ERRORS, /* longer than a buffer, or than the port can send */
    DROP_TOO_SHORT,              /* shorter than an Ethernet header, or than the port can send */
    DROP_BAD_LENGTH,   /* the length is 0 or exceeds the memory that it is said to be in */
    DROP_BAD_CHAIN,    /* the first or last piece is missing, or a piece is empty */
    DROP_BAD_SLOT,     /* the descriptor names a buffer or region that is not its own */
    DROP_BAD_FRAME,    /* the device reports a CRC, symbol or carrier error */
    DROP_BAD_CHECKSUM, /* the IPv4, TCP or UDP checksum is wrong, or can't be completed */
    DROP_BAD_RECORD,   /* a record of a capture file is malformed */
    DROP_REFUSED,      /* the kernel or the device refused it and gave no reason */
    DROP_REASONS       /* how many there are */
};

/* One queue's counters, in memory that other processes may read; only its worker writes them.
 * A packet is in `packets` or in exactly one of `drops`. */
struct counters {
    uint64_t packets, bytes;
    uint64_t errors;    /* sum of drops[DROP_ERRORS …] */
    uint64_t dropped;   /* sum of drops[… DROP_ERRORS - 1] */
    uint64_t missed;    /* lost before they reached the ring, by the device's or peer's count */
    uint64_t stalled;   /* packets that found the transmit ring full at their first try */
    uint64_t doorbells; /* doorbell writes, wake-ups of the peer, or transmit system calls */
    uint64_t sleeps;    /* times that a worker slept on this queue */
    uint64_t drops[40]; /* by enum drop_reason */
    uint64_t copied;    /* transmit: copies of packets made by the loop (mirroring) */
    /* By a port's first queue: times that its device was reset or away, and how long in all; and
     * what the kernel counts of the port besides. */
    uint64_t interruptions, interrupted_ns;
    uint64_t statistics[8];
    uint64_t reserved[5]; /* up to pairs of cache lines, which the prefetcher loads together */
};
// [c]

#endif
