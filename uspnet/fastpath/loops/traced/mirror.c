// SPDX-License-Identifier: Apache-2.0
/* mirror, a packet at a time: see trace.h. */
#define FORWARD_ROUND trace_round
#include "../trace.h"

// [python]
void loop_mirror_traced(struct worker *w);
// [c]

#define loop_mirror loop_mirror_traced
#include "../mirror.c"
