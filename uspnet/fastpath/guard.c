// SPDX-License-Identifier: Apache-2.0
/* Guards for mappings of files that others can truncate: memory shared by a peer, and capture
 * files. An access beyond the end of the file raises SIGBUS. The handler maps zero pages there
 * and sets the owner's fault, so that the port fails instead of the process. */
#define _GNU_SOURCE
#include "fastpath.h"
#include "memory.h"

#include <errno.h>
#include <signal.h>
#include <sys/mman.h>
#include <ucontext.h>

enum { GUARDS = 1024, PIECE = 2 << 20, PIECES_MAX = 256 };

static struct guard {
    uint32_t taken;
    uintptr_t start; /* 0: unused; written last on add and first on remove */
    uint64_t size;
    uint32_t *fault;
    uint32_t pieces; /* pieces replaced so far */
} guards[GUARDS];

static struct sigaction previous;

/* Copies the guard of an address, if there is one, and counts the use. The slot may be reused for
 * another mapping meanwhile: the copy is valid only if the start is the same afterwards. */
static int guard_of(uintptr_t address, struct guard *copy)
{
    for (int i = 0; i < GUARDS; i++) {
        copy->start = load_acquire(&guards[i].start);
        copy->size = load_relaxed(&guards[i].size);
        copy->fault = load_relaxed(&guards[i].fault);
        __atomic_thread_fence(__ATOMIC_ACQUIRE);
        if (copy->start && copy->start == load_relaxed(&guards[i].start) &&
            address >= copy->start && address - copy->start < copy->size) {
            copy->pieces = __atomic_fetch_add(&guards[i].pieces, 1, __ATOMIC_RELAXED);
            return 1;
        }
    }
    return 0;
}

static int put_zeros(uintptr_t from, uintptr_t to)
{
    return mmap((void *)from, to - from, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED;
}

/* Maps zeros where a peer's file can't be mapped any more, and sets the fault. 0: done. */
int guard_zeros(void *start, uint64_t size, uint32_t *fault)
{
    if (!put_zeros((uintptr_t)start, (uintptr_t)start + size))
        return -1;
    store_release(fault, FAULT_MEMORY);
    return 0;
}

/* Replaces a piece around the address: all of a large sparse region could exceed the overcommit
 * limit or `ulimit -d`. After PIECES_MAX pieces, each of them a mapping, the whole region is
 * replaced; so are pages of 1 GiB. */
static int replace(const struct guard *g, uintptr_t address)
{
    uintptr_t from = address & ~(uintptr_t)(PIECE - 1), end = g->start + g->size;
    uintptr_t to = end - from > PIECE ? from + PIECE : end;
    if (g->pieces < PIECES_MAX && put_zeros(from > g->start ? from : g->start, to))
        return 1;
    return put_zeros(g->start, end);
}

/* Not guarded: the access is repeated under the previous handler. Where there was none, it is
 * repeated with the signal blocked, for which the kernel ends the process: that takes no system
 * call, which the sandbox might refuse. */
static void pass_on(ucontext_t *context)
{
    if (previous.sa_handler == SIG_DFL)
        sigaddset(&context->uc_sigmask, SIGBUS);
    else
        sigaction(SIGBUS, &previous, NULL);
}

/* Async-signal-safe: a table look-up, one or two system calls, one store. */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
    struct guard g;
    (void)number;
    if (guard_of((uintptr_t)info->si_addr, &g) && replace(&g, (uintptr_t)info->si_addr)) {
        store_release(g.fault, FAULT_MEMORY);
        return;
    }
    pass_on(context);
}

int guard_install(void)
{
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK}, old;
    if (sigaction(SIGBUS, NULL, &old) || old.sa_sigaction == on_sigbus)
        return 0;
    previous = old;
    return sigaction(SIGBUS, &action, NULL);
}

/* `start` and `size` are whole pages of the file's page size, and no queue uses the mapping before
 * it is added or after it is removed. Returns -1 when the table is full. */
int guard_add(void *start, uint64_t size, uint32_t *fault)
{
    for (int i = 0; i < GUARDS; i++) {
        if (__atomic_exchange_n(&guards[i].taken, 1, __ATOMIC_ACQUIRE))
            continue;
        store_relaxed(&guards[i].size, size);
        store_relaxed(&guards[i].fault, fault);
        store_relaxed(&guards[i].pieces, 0);
        store_release(&guards[i].start, (uintptr_t)start);
        return 0;
    }
    return -1;
}

void guard_remove(void *start)
{
    for (int i = 0; i < GUARDS; i++) {
        if (load_relaxed(&guards[i].start) != (uintptr_t)start)
            continue;
        store_relaxed(&guards[i].start, 0);
        __atomic_thread_fence(__ATOMIC_RELEASE); /* before the slot's next size */
        store_release(&guards[i].taken, 0);
    }
}

/* Maps `size` bytes of a peer's file, whole pages, and guards every one of them. NULL: errno says
 * why. The file may be shorter: that shows as a fault when the missing part is touched. */
void *guard_map(int fd, uint64_t size, uint32_t *fault)
{
    void *start = memory_map(fd, size, 0, 0);
    if (start == NULL || guard_add(start, size, fault) == 0)
        return start;
    memory_unmap(start, size);
    errno = ENOSPC;
    return NULL;
}

void guard_unmap(void *start, uint64_t size)
{
    guard_remove(start);
    memory_unmap(start, size);
}
