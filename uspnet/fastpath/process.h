/* SPDX-License-Identifier: Apache-2.0
 *
 * The worker process: it runs the loops of a job and does what the command's process orders.
 *
 * It maps memory at the same addresses, and has descriptors with the same numbers, as the command's
 * process, so that structs in shared memory mean the same in both. All of it is in C: once it runs,
 * it allocates nothing and makes only the few system calls that the sandbox allows. */
#ifndef USPNET_PROCESS_H
#define USPNET_PROCESS_H
#include "loops/worker.h"
#include "sandbox.h"

// [python]
enum order_kind { ORDER_MAP, ORDER_UNMAP, ORDER_TAKE, ORDER_CLOSE, ORDER_KICK };

/* One message on the control socket; MAP and TAKE come with a descriptor. */
struct order {
    uint32_t kind;   /* enum order_kind */
    uint32_t number; /* of this order, from 1 */
    int32_t fd;      /* TAKE, CLOSE: the descriptor's number; KICK: the index of the thread */
    uint32_t flags;  /* MAP: enum memory_flag */
    uint8_t *start;  /* MAP, UNMAP */
    uint64_t size, offset;
    uint32_t *fault; /* MAP: set when the memory was truncated, see guard.c; or NULL */
};

/* What the worker process says, in memory shared with the command's process. */
struct post {
    uint32_t answered; /* number of the last order that was carried out */
    uint32_t error;    /* errno of the first order that failed */
    uint32_t refused;  /* system call that the sandbox has refused, plus 1 */
    uint32_t ready;    /* threads that wait for their turn */
    uint32_t serving;  /* orders are carried out, in the sandbox if there is to be one */
};

/* A thread of the worker process. */
struct hand {
    struct worker *worker;
    void (*loop)(struct worker *w);
    struct post *post;
    uint32_t turn;
    int32_t core;    /* -1: any */
    int32_t id;      /* of the thread, for KICK */
    uint32_t failed; /* errno: it may not run on the core */
};

/* Forks a process whose parent is our own parent, and opens a pidfd of it. Returns as fork() does;
 * for processes with one thread. */
int process_fork(int32_t *pidfd);
/* Sets the name that `ps` shows: in /proc a process whose user has changed can't. */
void process_name(const char *name);
/* Carries out an order, with `fd` from its message (-1: none) or without. Returns 0 or an errno. */
int process_obey(const struct order *order, int fd);
/* Starts the threads, and waits until they are ready. Returns 0 or an errno. */
int process_start(struct hand *hands, uint32_t n);
/* Puts a seccomp filter of n steps on the process (0: none), as far as the kernel can. Then carries
 * out orders until the other end of the control socket is closed, and exits. */
void process_serve(int control, struct post *post, const struct sandbox_step *steps, uint32_t n);
// [c]

#endif
