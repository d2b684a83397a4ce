// SPDX-License-Identifier: Apache-2.0
/* route, a packet at a time: see trace.h. */
#define FORWARD_ROUND trace_round
#include "../trace.h"

// [python]
void loop_route_traced(struct worker *w);
// [c]

#define loop_route loop_route_traced
#include "../route.c"
