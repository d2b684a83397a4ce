/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop that replays files, one after another (replay.c) or merged by time (merge.c). Fences as
 * in fastpath.h. */
#ifndef USPNET_REPLAY_H
#define USPNET_REPLAY_H
#include "forward.h"
#include "measure.h"
#include "template.h"
#include "timing.h"

// [python]
/* What was read ahead of a file that is merged with others. */
struct merge_side {
    uint32_t from, held; /* its lane's received.packets[from … held - 1]; of length 0: skipped */
    uint64_t first;      /* a bit for each of them: it leaves by the first of two exits */
    uint64_t time;       /* of the one at `from` in ns; where it has none, that of the one before */
    uint32_t timed;      /* `time` is a packet's */
    uint16_t counted[64]; /* their lengths as they were received, before they were rewritten */
};

struct replay_loop {
    struct forward_loop f;
    uint64_t begun, all;       /* files, each counted once a pass; UINT64_MAX: without end */
    uint32_t empty;            /* files in a row that gave no packet */
    uint32_t a_packet, a_byte; /* what a packet costs, and each of its bytes: packets, or bits */
    uint32_t least;            /* bytes that the shortest one costs: it is padded */
    double rate;               /* cost a second; 0: no limit */
    uint64_t spent, taken;     /* cost of the packets so far, and their number */
    struct field *fields;      /* list of what is rewritten in packets; may be NULL */
    struct field *breaks;      /* makes those wrong that are sent; may be NULL */
    struct filter *only;       /* packets that it rejects are skipped; may be NULL */
    struct filter *first;      /* of two exits: what it accepts leaves by the first one */

    struct merge_side *sides; /* of each lane, to merge files by time; NULL: one after another */
    struct timing clock;      /* of merged files, in ticks; else it is that of the rings */
    uint64_t next;            /* ticks at which the next merged packet is due; 0: not known */
    uint64_t turning; /* what `begun` will be when all merged files have begun again, or 0 */
    uint32_t waiting; /* a file that is merged may have a packet, but not yet */

    /* What comes in by the ports is answered by this thread: they run in it. */
    struct measure_loop *receivers[2];
    uint32_t n_receivers;
};
void loop_replay(struct worker *w);
// [c]

/* replay.c. due: how many packets the rate allows now. choose: skips packets that the filter
 * rejects, and returns how many are left. rewrite: leaves those that can't be rewritten with a
 * length of 0, skipped, and returns how many. spoil: makes packets wrong, from this one of a burst
 * on. take: counts what packets cost. */
uint32_t replay_due(const struct replay_loop *r);
uint32_t replay_choose(struct replay_loop *r, struct queue *rx, struct burst *b, uint32_t n);
uint32_t replay_rewrite(struct replay_loop *r, struct queue *rx, struct burst *b, uint32_t n);
void replay_spoil(const struct replay_loop *r, struct queue *rx, struct burst *b, uint32_t from,
                  uint32_t n);
void replay_take(struct replay_loop *r, const struct packet *p, uint32_t n);

/* merge.c. begin: has the packets that are due wait for the exits of the first lane; 0: there was
 * nothing to do. holds: were packets read ahead? abandon: uncounts and frees them. */
uint32_t merge_begin(struct replay_loop *r);
int merge_holds(const struct replay_loop *r);
void merge_abandon(struct replay_loop *r);

#endif
