// SPDX-License-Identifier: Apache-2.0
/* rules, a packet at a time: see trace.h. */
#define FORWARD_ROUND trace_round
#include "../trace.h"

// [python]
void loop_rules_traced(struct worker *w);
// [c]

#define loop_rules loop_rules_traced
#include "../rules.c"
