// SPDX-License-Identifier: Apache-2.0
/* A peer may truncate the memory that it shares with us, and a file may shrink while it is
 * mapped. The next access then raises SIGBUS. The handler puts zero pages under that one mapping
 * and marks its owner's fault, so that the port goes down and the process does not. */
#define _GNU_SOURCE
#include "fastpath.h"

#include <signal.h>
#include <sys/mman.h>

enum { GUARDS = 1024 };

static struct guard {
    uintptr_t start; /* 0: free; written last on add and first on remove */
    uint64_t size;
    uint32_t *fault;
} guards[GUARDS];

static struct sigaction previous;

static struct guard *guard_of(uintptr_t address)
{
    for (int i = 0; i < GUARDS; i++) {
        uintptr_t start = load_acquire(&guards[i].start);
        if (start && address >= start && address - start < guards[i].size)
            return &guards[i];
    }
    return NULL;
}

/* Only async-signal-safe work: a table look-up, one mmap, one store. Without NORESERVE, a huge
 * sparse region could be more than the kernel is willing to promise. */
static void on_sigbus(int number, siginfo_t *info, void *context)
{
    struct guard *g = guard_of((uintptr_t)info->si_addr);
    (void)number;
    (void)context;
    if (g && mmap((void *)g->start, g->size, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) != MAP_FAILED) {
        store_release(g->fault, FAULT_MEMORY);
        return;
    }
    sigaction(SIGBUS, &previous, NULL); /* not ours: the access repeats under the old handler */
}

int guard_install(void)
{
    struct sigaction action = {.sa_sigaction = on_sigbus, .sa_flags = SA_SIGINFO | SA_ONSTACK}, old;
    if (sigaction(SIGBUS, NULL, &old) || old.sa_sigaction == on_sigbus)
        return 0;
    previous = old;
    return sigaction(SIGBUS, &action, NULL);
}

/* Python adds and removes guards from one thread, while no queue uses the mapping. `start` and
 * `size` are whole pages of the file's page size. Returns -1 when the table is full. */
int guard_add(void *start, uint64_t size, uint32_t *fault)
{
    for (int i = 0; i < GUARDS; i++) {
        if (guards[i].start)
            continue;
        guards[i].size = size;
        guards[i].fault = fault;
        store_release(&guards[i].start, (uintptr_t)start);
        return 0;
    }
    return -1;
}

void guard_remove(void *start)
{
    for (int i = 0; i < GUARDS; i++)
        if (guards[i].start == (uintptr_t)start)
            store_release(&guards[i].start, 0);
}
