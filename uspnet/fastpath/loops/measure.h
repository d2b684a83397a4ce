/* SPDX-License-Identifier: Apache-2.0
 *
 * measure: loss, duplicates, order and latency of received packets, by their signatures or, without
 * signatures, by their content. Fences as in fastpath.h. */
#ifndef USPNET_MEASURE_H
#define USPNET_MEASURE_H
#include "answer.h"
#include "flow_order.h"
#include "histogram.h"
#include "lost.h"

// [python]
/* A hash table of templates: frames without signatures are recognized by all that follows their MAC
 * addresses. */
struct lookup {
    const struct frame_template *templates;
    uint32_t *slots; /* number of a template, plus 1; 0: free */
    uint32_t mask;   /* slots less 1; slots are a power of two, and never all used */
    uint64_t received;
};

struct measure_loop {
    struct worker w;
    struct stream *streams;
    uint32_t n_streams;
    uint32_t stamp_at;  /* offset of the 18-byte signature in every frame */
    uint32_t n_offsets; /* others, where frames of other streams have theirs */
    const uint32_t *offsets;
    uint64_t unsigned_packets; /* received packets of others */
    uint64_t secret;           /* random for each run; XORed with the time in a signature */
    uint64_t began;            /* CLOCK_MONOTONIC in ns: older signatures are invalid */
    struct lookup *lookup;     /* the templates, without signatures; else NULL */
    struct answer *answer;     /* to packets of others that ask for addresses; may be NULL */
    struct losses *losses;     /* NULL: they are only counted */
    struct flow_order *order;  /* within each flow; NULL: it is not asked for */
    uint32_t writes;           /* lost packets, by the last exit of the first lane */
};

void loop_measure(struct worker *w);
void lookup_add(struct lookup *l, uint32_t number);
// [c]

uint32_t measure_round(struct measure_loop *m);

#endif
