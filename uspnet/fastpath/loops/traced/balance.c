// SPDX-License-Identifier: Apache-2.0
/* balance, a packet at a time: see trace.h. */
#define FORWARD_ROUND trace_round
#include "../trace.h"

// [python]
void loop_balance_traced(struct worker *w);
// [c]

#define loop_balance loop_balance_traced
#include "../balance.c"
