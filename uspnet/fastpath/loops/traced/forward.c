// SPDX-License-Identifier: Apache-2.0
/* forward, a packet at a time: see trace.h. */
#define FORWARD_ROUND trace_round
#include "../trace.h"

// [python]
void loop_forward_traced(struct worker *w);
// [c]

#define loop_forward loop_forward_traced
#include "../forward.c"
