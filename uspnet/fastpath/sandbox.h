/* SPDX-License-Identifier: Apache-2.0
 *
 * The sandbox of a worker process. It allocates nothing, and may be used after fork in a process
 * that had several threads. */
#ifndef USPNET_SANDBOX_H
#define USPNET_SANDBOX_H
#include <stdint.h>

// [python]
/* One instruction of a seccomp filter: struct sock_filter of linux/filter.h. */
struct sandbox_step {
    uint16_t code;
    uint8_t if_true, if_false;
    uint32_t value;
};

/* Takes from this thread, and from those that it starts, all access to files by path, to TCP, and
 * to other processes by signals and abstract sockets, as far as the kernel can. Returns the
 * Landlock ABI, or a negative errno: -ENOSYS, -EOPNOTSUPP when the kernel has no Landlock. Needs
 * no_new_privs. */
int sandbox_landlock(void);

/* Makes the process end at its first refused call, whose number plus 1 it stores in `*refused`; use
 * it before sandbox_seal(). `kill` is the call that the filter kills the process for. Returns 0 or
 * an errno. */
int sandbox_tell(uint32_t *refused, uint32_t kill);

/* Puts a seccomp filter on all threads of the process, and lets no process of the same user look
 * into it. Returns 0 or an errno. Needs no_new_privs. */
int sandbox_seal(const struct sandbox_step *steps, uint32_t n);
// [c]

#endif
