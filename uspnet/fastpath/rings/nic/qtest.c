// SPDX-License-Identifier: Apache-2.0
/* The text protocol of QEMU's qtest server (QEMU, softmmu/qtest.c), as far as workers need it:
 * one request a line, one reply a line, "OK" or "OK 0x…". A doorbell doesn't wait for its reply:
 * the next request reads it, or the next doorbell when PENDING_MAX replies are outstanding.
 *
 * A worker process may be killed at any instruction, so the lock holds its owner's thread id: who
 * asks next takes it over from a thread that has ended, and synchronizes the conversation anew. */
#define _GNU_SOURCE
#include "nic.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    REPLY_MS = 4000,  /* until QEMU counts as gone, also on a busy machine; usual: 0.05 to 0.5 ms */
    NAP_US = 100,     /* between two looks */
    LOCK_MS = 5000,   /* until a thread that has the lock counts as stopped */
    RESYNC_MS = 1000, /* the same, for a conversation that was cut off */
    LINES_MAX = 64,   /* lines that may precede a reply */
    LOOK_EVERY = 64,  /* tries between two looks whether the lock's owner has ended */
    REPLY_BYTES = 64, /* of a reply that are looked at */
    PENDING_MAX = 8,  /* outstanding replies: enough for a burst each on a few queues */
};

/* Takes the lock, unless another thread has it: then returns that thread's id. */
static uint32_t try_lock(struct qtest_link *link)
{
    uint32_t owner = 0;
    __atomic_compare_exchange_n(&link->lock, &owner, (uint32_t)gettid(), 0, __ATOMIC_ACQUIRE,
                                __ATOMIC_RELAXED);
    return owner;
}

static void lock(struct qtest_link *link)
{
    while (try_lock(link))
        sched_yield();
}

static int unlock(struct qtest_link *link, int result)
{
    if (result)
        link->gone = 1; /* a reply is missing: later ones can't be matched to requests */
    store_release(&link->lock, 0);
    return result;
}

static uint64_t now_ms(void) { return clock_ns(CLOCK_MONOTONIC) / 1000000; }

/* Waits until `end` at most, also across signals. Nonzero: in vain. */
static int await(int from, short events, uint64_t end)
{
    struct pollfd fd = {.fd = from, .events = events};
    int ready;
    do {
        uint64_t now = now_ms();
        ready = now < end ? poll(&fd, 1, (int)(end - now)) : 0;
    } while (ready < 0 && errno == EINTR);
    return ready <= 0;
}

static int is_to_be_tried_again(void) { return errno == EINTR || errno == EAGAIN; }

static int send_all(int fd, const char *request, size_t length)
{
    uint64_t end = now_ms() + REPLY_MS;
    while (length) {
        ssize_t sent = send(fd, request, length, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && is_to_be_tried_again() && !await(fd, POLLOUT, end))
            continue;
        if (sent <= 0)
            return -1;
        request += sent;
        length -= (size_t)sent;
    }
    return 0;
}

/* Receives more of a reply. A worker that does not keep to the lock may have taken what was there:
 * no call waits longer than until `end`. */
static int receive_more(struct qtest_link *link, int from, uint64_t end)
{
    uint32_t filled = load_relaxed(&link->filled);
    ssize_t got;
    if (filled >= sizeof link->line)
        return -1;
    do {
        if (await(from, POLLIN, end))
            return -1;
        got = recv(from, link->line + filled, sizeof link->line - filled, MSG_DONTWAIT);
    } while (got < 0 && is_to_be_tried_again());
    if (got <= 0)
        return -1;
    store_relaxed(&link->filled, filled + (uint32_t)got);
    return 0;
}

/* Moves the next line into `line`, cut to what fits and without its end. */
static int read_line(struct qtest_link *link, int fd, uint64_t deadline, char line[REPLY_BYTES])
{
    char *end;
    uint32_t used, filled;
    for (;;) { /* a worker process that somebody controls may write to the link meanwhile */
        filled = least(load_relaxed(&link->filled), sizeof link->line);
        end = memchr(link->line, '\n', filled);
        if (end)
            break;
        if (receive_more(link, fd, deadline))
            return -1;
    }
    *end = 0;
    used = (uint32_t)(end - link->line) + 1;
    memcpy(line, link->line, least(used, REPLY_BYTES));
    line[REPLY_BYTES - 1] = 0;
    memmove(link->line, link->line + used, filled - used);
    store_relaxed(&link->filled, filled - used);
    return 0;
}

/* Reads one reply, skipping interrupt lines. Time and number of lines are limited, so that QEMU
 * can't block a worker. */
static int read_reply(struct qtest_link *link, int fd, uint64_t *value)
{
    uint64_t deadline = now_ms() + REPLY_MS;
    char line[REPLY_BYTES];
    for (uint32_t lines = 0; lines < LINES_MAX; lines++) {
        int ok;
        if (read_line(link, fd, deadline, line))
            return -1;
        ok = !strncmp(line, "OK", 2);
        if (ok && value)
            *value = strtoull(line + 2, NULL, 16);
        if (strncmp(line, "IRQ", 3))
            return ok ? 0 : -1;
    }
    return -1;
}

/* Asks what has an answer of its own, and skips all replies before it: those to requests of a
 * thread that has ended. A request is always whole: the kernel queues one so short at once. */
static int synchronize(struct qtest_link *link, int fd)
{
    static const char question[] = "endianness\n";
    uint64_t deadline = now_ms() + RESYNC_MS;
    char line[REPLY_BYTES];
    link->filled = link->pending = 0;
    if (send_all(fd, question, sizeof question - 1))
        return -1;
    for (uint32_t lines = 0; lines < LINES_MAX; lines++) {
        if (read_line(link, fd, deadline, line))
            return -1;
        if (!strcmp(line, "OK little")) {
            link->gone = 0;
            return 0;
        }
    }
    return -1;
}

/* Whether the lock's owner can't be waited for. `alone`: no worker runs, so only a thread of our
 * own process can have it, whatever a worker has left there. */
static int has_ended(uint32_t owner, int alone)
{
    if (alone)
        return syscall(SYS_tgkill, getpid(), (pid_t)owner, 0) != 0;
    return kill((pid_t)owner, 0) && errno == ESRCH;
}

/* Takes the lock, also from a thread that has ended. Nonzero: another one keeps it, such as that of
 * a worker process that was stopped; or the conversation can't go on. */
static int lock_or_take_over(struct qtest_link *link, int fd, int alone)
{
    uint64_t end = now_ms() + LOCK_MS;
    uint32_t owner;
    for (uint32_t tries = 1; (owner = try_lock(link)); tries++) {
        sched_yield();
        if (tries % LOOK_EVERY)
            continue;
        if (has_ended(owner, alone) &&
            __atomic_compare_exchange_n(&link->lock, &owner, (uint32_t)gettid(), 0,
                                        __ATOMIC_ACQUIRE, __ATOMIC_RELAXED))
            return synchronize(link, fd) ? unlock(link, -1) : 0;
        if (now_ms() >= end)
            return -1;
        usleep(NAP_US);
    }
    return 0;
}

/* Reads replies to doorbells until at most `left` are pending. */
static int drain_replies(struct qtest_link *link, int fd, uint32_t left)
{
    if (link->pending > PENDING_MAX)
        return -1;
    for (; link->pending > left; link->pending--)
        if (read_reply(link, fd, NULL))
            return -1;
    return 0;
}

int qtest_ask(struct qtest_link *link, int32_t fd, const char *request, uint32_t length,
              uint64_t *value)
{
    if (lock_or_take_over(link, fd, 0))
        return -1;
    if (link->gone || drain_replies(link, fd, 0) || send_all(fd, request, length))
        return unlock(link, -1);
    return unlock(link, read_reply(link, fd, value));
}

int qtest_synchronize(struct qtest_link *link, int32_t fd)
{
    return lock_or_take_over(link, fd, 1) ? -1 : unlock(link, synchronize(link, fd));
}

int qtest_ring(const struct doorbell *d, uint32_t value)
{
    struct qtest_link *link = d->link;
    char request[64];
    int length = snprintf(request, sizeof request, "write%c 0x%llx 0x%x\n",
                          d->bytes == 2 ? 'w' : 'l', (unsigned long long)d->address, value);
    lock(link);
    if (link->gone || drain_replies(link, link->fd, PENDING_MAX - 1) ||
        send_all(link->fd, request, (size_t)length))
        return unlock(link, -1);
    link->pending++;
    return unlock(link, 0);
}

int wire_writable(int fd)
{
    struct pollfd wire = {.fd = fd, .events = POLLOUT};
    return poll(&wire, 1, 0) > 0;
}

int wire_release(int32_t fd)
{
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    return connect(fd, &none, sizeof none);
}
