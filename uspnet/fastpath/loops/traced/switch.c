// SPDX-License-Identifier: Apache-2.0
/* switch, a packet at a time: see trace.h. */
#define FORWARD_ROUND trace_round
#include "../trace.h"

// [python]
void loop_switch_traced(struct worker *w);
// [c]

#define loop_switch loop_switch_traced
#define macs_known macs_known_traced
#include "../switch.c"
