// SPDX-License-Identifier: Apache-2.0
/* attempt: makes one system call, then forwards. */
#define _GNU_SOURCE
#include "forward.h"

#include <unistd.h>

// [python]
struct attempt_loop {
    struct forward_loop f;
    int64_t call, arguments[6];
    uint8_t text[64]; /* an argument that is a path */
};
void loop_attempt(struct worker *w);
// [c]

void loop_attempt(struct worker *w)
{
    const struct attempt_loop *loop = (struct attempt_loop *)w;
    const int64_t *a = loop->arguments;
    syscall(loop->call, a[0], a[1], a[2], a[3], a[4], a[5]);
    forward_run(w, NULL, NULL);
}
