/* SPDX-License-Identifier: Apache-2.0
 *
 * Packets that a mode forwards are rewritten by fields, once it is decided where they leave; what
 * goes to a mirror is not. Loops of traced/ can do that: the modes' own know nothing of it. */
#ifndef USPNET_REWRITING_H
#define USPNET_REWRITING_H
#include "forward.h"

/* One lane's turn. */
uint32_t rewriting_round(struct forward_loop *f, struct lane *lane, edit_fn *edit, steer_fn *steer);
/* Rewrites what an exit of the lane holds, but for the first `from` packets. */
void exit_rewrite(struct forward_loop *f, const struct lane *lane, struct exit *e, uint32_t from);

#endif
