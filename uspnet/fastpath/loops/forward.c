// SPDX-License-Identifier: Apache-2.0
/* forward: packets leave as they came, by the lane's only exit. */
#include "forward.h"

// [python]
void loop_forward(struct worker *w);
// [c]

void loop_forward(struct worker *w) { forward_run(w, NULL, NULL); }
