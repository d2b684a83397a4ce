/* SPDX-License-Identifier: Apache-2.0
 *
 * Looking into a capture file without a pool: its packets stay where they are, and are shown, or
 * counted by those of `tally`, `flows`, `bursts`, `slices` and `columns` that are set. Fences as in
 * fastpath.h. */
#ifndef USPNET_PCAP_LOOK_H
#define USPNET_PCAP_LOOK_H
#include "loops/filter.h"
#include "rings/pcap/pcap_columns.h"
#include "rings/pcap/pcap_flows.h"
#include "rings/pcap/pcap_tally.h"

// [python]
enum { LOOK_LINKS = 16 };

/* Why pcap_look() has returned. */
enum look_halt {
    LOOK_STEPS, /* it has made as many steps as it was to, or `seen` is full */
    LOOK_END,   /* of the file, or of the packets that are `left` to be accepted */
    LOOK_WAIT,  /* the stream has nothing now */
    LOOK_FAULT, /* the file can't be parsed any further */
    LOOK_LINK,  /* `link_type` has no filter yet; the packet is parsed again */
    LOOK_BLOCK, /* a block without a packet: `block` */
    LOOK_ROOM   /* flows or bursts need more memory; the packet is parsed again */
};

/* A packet; `data` is valid until the next call. */
struct pcap_seen {
    const uint8_t *data;
    uint32_t length, wire; /* bytes in the file and on the wire, without FCS */
    uint64_t ns;           /* since 1970; STAMP_UNKNOWN */
    uint64_t number;       /* in the file, from 1 on */
    uint32_t interface;    /* counted through all sections */
    uint32_t link_type;
};

/* A block, or a classic file's header, whose `type` is 0. */
struct pcap_block {
    const uint8_t *at;
    uint32_t bytes, type, swapped;
};

/* Packets `first` to `last`, and the flows that they belong to. */
struct pcap_slice {
    uint64_t first, last;
    uint64_t bytes; /* on the wire, of all flows */
    struct pcap_flows flows;
};

struct pcap_look {
    struct pcap_source *source;
    uint32_t halt;      /* enum look_halt */
    uint32_t filtered;  /* each link type needs a filter */
    uint64_t left;      /* packets to accept still */
    uint32_t blocks;    /* return at each block */
    uint32_t link_type; /* with LOOK_LINK */
    struct pcap_block block;
    uint32_t interfaces; /* of the sections before this one */
    uint32_t section;    /* the number of this one */

    uint32_t n_links;
    uint32_t links[16];
    struct filter *filters[16]; /* of each of them */

    struct pcap_tally *tally;
    struct pcap_flows *flows;
    struct pcap_bursts *bursts;
    struct pcap_slice *slices;
    uint32_t n_slices;
    struct pcap_columns *columns;
};

/* Parses up to `steps` records or blocks, for up to n packets that are accepted. Returns how many
 * there are; `seen` may be NULL. */
uint32_t pcap_look(struct pcap_look *l, struct pcap_seen *seen, uint32_t n, uint32_t steps);
// [c]

#endif
