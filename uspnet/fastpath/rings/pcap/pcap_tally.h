/* SPDX-License-Identifier: Apache-2.0
 *
 * What the packets of a capture file add up to, and how they came in bursts. Fences as in
 * fastpath.h. */
#ifndef USPNET_PCAP_TALLY_H
#define USPNET_PCAP_TALLY_H
#include "rings/pcap/pcap.h"

// [python]
enum { TALLY_SIZES = 10, TALLY_BINS = 256, BURST_WINDOWS = 6 };

/* The classes of sizes are those of tshark -z plen,tree: up to 19, 39, 79, … 5,119, and more. */
struct pcap_tally {
    uint64_t packets, bytes, captured; /* bytes on the wire, and in the file */
    uint64_t cut;                      /* packets of which the file has only a part */
    uint64_t timeless;                 /* without a time */
    uint64_t disordered;               /* with a time before that of the packet before */
    uint64_t first_ns, last_ns;        /* the earliest and the latest; if there is a time */
    uint64_t before_ns;
    uint32_t shortest, longest;
    uint64_t sizes[10];
    uint64_t bin_ns, bins_from_ns; /* the time of each bin doubles as the file grows longer */
    uint64_t bin_packets[256], bin_bytes[256];
    uint64_t of_interface[1024], cut_of_interface[1024];
};

struct pcap_arrival {
    uint64_t ns, number;
    uint32_t bytes; /* on layer 1 */
    uint32_t unused;
};

/* The time from which on a packet is in the window: `ns` before the last one, exclusively. */
struct pcap_window {
    uint64_t ns;
    uint64_t tail;           /* the oldest arrival in it */
    uint64_t packets, bytes; /* in it now */
    uint64_t most_packets;
    uint64_t most_bytes, at_ns, first, last; /* the most, with the time and number of its packets */
    uint32_t lost;                           /* there was no memory for it: unknown */
    uint32_t unused;
};

/* Packets in a row with no gap longer than `gap_ns`. */
struct pcap_run {
    uint64_t packets, bytes, from_ns, to_ns, first;
};

/* A time before that of the packet before counts as that. Bytes are those of layer 1: with FCS,
 * preamble and gap, and at least 84. */
struct pcap_bursts {
    struct pcap_arrival *ring;
    uint64_t slots, most_slots; /* powers of two */
    uint64_t head;              /* arrivals so far */
    uint64_t now_ns;
    struct pcap_window windows[6];
    uint64_t gap_ns;
    struct pcap_run run, longest;
    uint64_t link_bps;                 /* 0: no link */
    uint64_t wait_ps, longest_wait_ps; /* until the link has sent all that came */
    uint64_t queue_at_ns, queue_number;
};

/* Moves the arrivals into a larger ring. */
void pcap_bursts_move(struct pcap_bursts *b, struct pcap_arrival *ring, uint64_t slots);
// [c]

struct found;
/* Counts a packet. */
void pcap_tally(struct pcap_tally *t, const struct found *f, uint32_t interface);
/* Lets time pass. Returns 0: the ring needs more room, else there is some. */
int pcap_bursts_ready(struct pcap_bursts *b, uint64_t ns);
void pcap_bursts_add(struct pcap_bursts *b, uint64_t ns, uint32_t wire, uint64_t number);

#endif
