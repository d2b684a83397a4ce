/* SPDX-License-Identifier: Apache-2.0
 *
 * The loop of a profile: several generators, each with packets, a pace and an end of its own, take
 * turns. Each has a lane of its own; several lanes may leave by one queue. Fences as in
 * fastpath.h. */
#ifndef USPNET_PROFILE_H
#define USPNET_PROFILE_H
#include "generate.h"

// [python]
struct profile_stream {
    struct generate_loop *g; /* with a budget of its own, or NULL; what it shares is filled in */
    double begins, ends;     /* seconds after the start: without a pace, it sends in between */
    uint64_t sent;           /* packets that its port accepted */
};

struct profile_loop {
    struct worker w;
    struct profile_stream *streams;       /* one for each lane, in their order */
    uint32_t n_streams;                   /* as many as lanes */
    double seconds;                       /* of the run; 0: no limit */
    uint32_t dry;                         /* as for generate: all lanes leave by one file */
    struct measure_loop *inline_receiver; /* runs in this thread; may be NULL */
};
void loop_profile(struct worker *w);
// [c]

#endif
