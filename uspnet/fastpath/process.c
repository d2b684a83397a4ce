// SPDX-License-Identifier: Apache-2.0
/* The worker process: its threads, and the orders that it carries out (process.h). */
#define _GNU_SOURCE
#include "process.h"
#include "code.h"
#include "memory.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { NAP_US = 50, STACK_BYTES = 256 << 10, SLICE_NS = 100000 };

/* What orders need: getpid() and gettid() are not among the calls that are allowed later. */
static struct {
    struct hand *hands;
    uint32_t n;
    int process;
    int sealed;    /* no more code can be mapped */
    uint32_t open; /* loops may be run: the sandbox is there, if there is to be one */
} threads;

int process_fork(int32_t *pidfd)
{
    int flags = CLONE_PARENT | CLONE_PIDFD | SIGCHLD;
    return (int)syscall(SYS_clone, flags, NULL, pidfd, NULL, NULL);
}

void process_name(const char *name) { prctl(PR_SET_NAME, name); }

/* Machine code that the kernel, or the sandbox, lets nobody execute is read at most: loops do its
 * work in another way. */
static int map_code(const struct order *o, int fd)
{
    if (!threads.sealed && memory_map_at(o->start, fd, o->size, o->offset, o->flags))
        return code_add(o->start) ? ENOSPC : 0;
    return memory_map_at(o->start, fd, o->size, o->offset, MEMORY_READ_ONLY) ? 0 : errno;
}

/* A peer may have taken its huge pages back since the command mapped them, or sealed its file. */
static int map_order(const struct order *o, int fd)
{
    if (o->flags & MEMORY_EXECUTABLE)
        return map_code(o, fd);
    if (!memory_map_at(o->start, fd, o->size, o->offset, o->flags)) {
        int error = errno;
        if (!o->fault || error == EEXIST || guard_zeros(o->start, o->size, o->fault))
            return error;
    }
    return o->fault && guard_add(o->start, o->size, o->fault) ? ENOSPC : 0;
}

static int unmap_order(const struct order *o)
{
    if (o->fault)
        guard_remove(o->start);
    code_remove(o->start);
    return memory_unmap(o->start, o->size) ? errno : 0;
}

/* The number is the one that the structs hold. */
static int take_order(const struct order *o, int fd)
{
    return fd == o->fd || dup3(fd, o->fd, 0) == o->fd ? 0 : errno;
}

static int kick_order(const struct order *o)
{
    if (o->fd < 0 || (uint32_t)o->fd >= threads.n)
        return EINVAL;
    return syscall(SYS_tgkill, threads.process, threads.hands[o->fd].id, SIGURG) ? errno : 0;
}

int process_obey(const struct order *o, int fd)
{
    int error = EINVAL;
    switch (o->kind) {
    case ORDER_MAP:
        error = map_order(o, fd);
        break;
    case ORDER_UNMAP:
        error = unmap_order(o);
        break;
    case ORDER_TAKE:
        error = take_order(o, fd);
        break;
    case ORDER_CLOSE:
        error = close(o->fd) ? errno : 0;
        break;
    case ORDER_KICK:
        error = kick_order(o);
        break;
    }
    if (fd >= 0 && !(o->kind == ORDER_TAKE && fd == o->fd))
        close(fd);
    return error;
}

static int pin(int32_t core)
{
    cpu_set_t set;
    if (core < 0)
        return 0;
    CPU_ZERO(&set);
    CPU_SET((size_t)core, &set);
    return sched_setaffinity(0, sizeof set, &set) ? errno : 0;
}

/* struct sched_attr of the kernel, under a name that no C library uses. */
struct scheduling {
    uint32_t size, policy;
    uint64_t flags;
    int32_t nice;
    uint32_t priority;
    uint64_t runtime, deadline, period; /* ns; runtime: of the normal class, its slice */
};

/* On a core that other threads use, too, a thread that wakes up need not wait until another one has
 * had its slice, some 3 ms, if its own is shorter (EEVDF, since Linux 6.12; ignored before). Other
 * classes than the normal one are left alone. */
static void shorten_slice(void)
{
    struct scheduling how = {.size = sizeof how};
    if (syscall(SYS_sched_getattr, 0, &how, sizeof how, 0) || how.policy != SCHED_OTHER)
        return;
    how.runtime = SLICE_NS;
    syscall(SYS_sched_setattr, 0, &how, 0);
}

/* The thread ends with the process: to end earlier, it would need system calls for that alone. */
static void *run(void *argument)
{
    struct hand *h = argument;
    h->id = (int32_t)syscall(SYS_gettid);
    h->failed = (uint32_t)pin(h->core);
    shorten_slice();
    worker_take_turn(h->turn);
    __atomic_fetch_add(&h->post->ready, 1, __ATOMIC_RELEASE);
    /* Before, no function is called through memory that the process before this one can write. */
    while (!load_acquire(&threads.open))
        usleep(NAP_US);
    worker_run_in_turn(h->worker, h->loop);
    while (poll(NULL, 0, -1) < 1)
        ;
    return NULL;
}

int process_start(struct hand *hands, uint32_t n)
{
    pthread_attr_t how;
    pthread_t thread;
    int error = pthread_attr_init(&how);
    threads.hands = hands;
    threads.n = n;
    threads.process = getpid();
    if (!error)
        error = pthread_attr_setstacksize(&how, STACK_BYTES);
    for (uint32_t i = 0; i < n && !error; i++) {
        error = pthread_create(&thread, &how, run, &hands[i]);
        while (!error && load_acquire(&hands[i].post->ready) <= i)
            usleep(NAP_US);
        if (!error)
            error = (int)hands[i].failed;
    }
    return error;
}

/* Receives an order and its descriptor. Returns 0 when the other end is closed. */
static int receive(int control, struct order *o, int *fd)
{
    union {
        struct cmsghdr header;
        char bytes[CMSG_SPACE(sizeof(int))];
    } extra;
    struct iovec to = {.iov_base = o, .iov_len = sizeof *o};
    struct msghdr message = {.msg_iov = &to,
                             .msg_iovlen = 1,
                             .msg_control = &extra,
                             .msg_controllen = sizeof extra};
    struct cmsghdr *header;
    ssize_t got;
    do {
        got = recvmsg(control, &message, 0);
    } while (got < 0 && errno == EINTR);
    *fd = -1;
    header = got > 0 ? CMSG_FIRSTHDR(&message) : NULL;
    if (header && header->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(header), sizeof *fd);
    return got == (ssize_t)sizeof *o;
}

void process_serve(int control, struct post *post, const struct sandbox_step *steps, uint32_t n)
{
    struct order order;
    int fd, error;
    threads.sealed = n > 0;
    /* Whether it is there otherwise, the command's process sees in /proc. */
    if (n && sandbox_seal(steps, n) == EBUSY)
        _exit(1); /* a thread has one of its own */
    store_release(&threads.open, 1);
    store_release(&post->serving, 1);
    while (receive(control, &order, &fd)) {
        error = process_obey(&order, fd);
        if (error && !load_relaxed(&post->error))
            store_relaxed(&post->error, (uint32_t)error);
        store_release(&post->answered, order.number);
    }
    _exit(0);
}
