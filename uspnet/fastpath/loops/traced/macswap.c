// SPDX-License-Identifier: Apache-2.0
/* macswap, a packet at a time: see trace.h. */
#define FORWARD_ROUND trace_round
#include "../trace.h"

// [python]
void loop_macswap_traced(struct worker *w);
// [c]

#define loop_macswap loop_macswap_traced
#include "../macswap.c"
