/* SPDX-License-Identifier: Apache-2.0
 *
 * The writer of a capture file that keeps packets in memory until there is a trigger: then those
 * of some time before it are written, and those that follow. Packets are told apart by their own
 * times. Fences as in fastpath.h. */
#ifndef USPNET_PCAP_HOLD_H
#define USPNET_PCAP_HOLD_H
#include "loops/filter.h"
#include "rings/pcap/pcap.h"

// [python]
struct pcap_held {
    struct pcap_ring *ring;
    uint32_t most;    /* chunks that may be held */
    uint32_t passed;  /* packets later than those asked for came */
    uint64_t lost_ns; /* the latest time of packets that were discarded to make room */
    uint64_t settled; /* the position up to which records may be earlier than those asked for */
};

struct pcap_hold {
    struct pcap_shared *shared;
    struct filter *on;            /* what triggers; NULL: only the parent does */
    uint64_t before_ns, after_ns; /* UINT64_MAX: no limit */
    uint64_t from_ns, until_ns;   /* the first and last time that is asked for */
    uint64_t newest_ns;
    uint32_t seen;  /* there was a packet, whose time may be 0 */
    uint32_t apart; /* by the caller: queues may be at different times */
    uint32_t triggered;
    uint32_t waits; /* by peek: what is to be discarded lies behind records that were taken only */
    uint32_t n;
    struct pcap_held rings[64]; /* of PCAP_RINGS */
};

/* Looks for a trigger in new records. Without one, discards the oldest where too many are held. */
void pcap_hold_look(struct pcap_hold *h);
/* As pcap_peek() of a ring: records that are to be written now. Discards those before them that
 * are not asked for, but only once those are in the file that were taken before: if that fails,
 * all behind them count as not written. */
uint32_t pcap_hold_peek(struct pcap_hold *h, uint32_t ring, uint8_t **from);
/* As pcap_sleep(). `rings`: all, of which the last is the command's own. */
uint32_t pcap_hold_sleep(struct pcap_hold *h, struct pcap_ring *rings, uint32_t n);
/* Discards what is held when no trigger can come any more. */
void pcap_hold_end(struct pcap_hold *h);
// [c]

#endif
