// SPDX-License-Identifier: Apache-2.0
/* forward: sends packets unchanged by the lane's only exit. */
#include "forward.h"

// [python]
void loop_forward(struct worker *w);
// [c]

void loop_forward(struct worker *w) { forward_run(w, NULL, NULL); }
