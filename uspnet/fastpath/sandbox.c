// SPDX-License-Identifier: Apache-2.0
/* Landlock (Linux Documentation/userspace-api/landlock.rst) and seccomp (seccomp_filter.rst) for a
 * worker process. */
#define _GNU_SOURCE
#include "sandbox.h"
#include "cpu.h"

#include <errno.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The kernel's headers may be older than the kernel. Numbers are the same on all machines. */
enum { CREATE_RULESET = 444, RESTRICT_SELF = 446, RULESET_VERSION = 1 };

/* struct landlock_ruleset_attr: what is handled, and allowed by no rule. */
struct handled {
    uint64_t files, network, scopes;
};

/* Rights by the ABI that brought them. */
enum {
    FILES_1 = (1 << 13) - 1, /* execute … make_sym */
    FILES_2 = 1 << 13,       /* refer */
    FILES_3 = 1 << 14,       /* truncate */
    FILES_5 = 1 << 15,       /* ioctl of devices */
    TCP = 1 << 0 | 1 << 1,   /* bind, connect: ABI 4 */
    SCOPES = 1 << 0 | 1 << 1 /* abstract sockets, signals: ABI 6 */
};

_Static_assert(sizeof(struct sandbox_step) == sizeof(struct sock_filter), "the kernel's layout");

static uint32_t *refused_call;
static long kill_call;

/* Returns the bytes of `all` that this ABI knows. */
static size_t handle_all(struct handled *all, long abi)
{
    *all = (struct handled){.files = FILES_1};
    all->files |= (abi >= 2 ? FILES_2 : 0) | (abi >= 3 ? FILES_3 : 0) | (abi >= 5 ? FILES_5 : 0);
    all->network = abi >= 4 ? TCP : 0;
    all->scopes = abi >= 6 ? SCOPES : 0;
    return abi >= 6 ? sizeof *all : abi >= 4 ? 2 * sizeof(uint64_t) : sizeof(uint64_t);
}

int sandbox_landlock(void)
{
    struct handled all;
    long abi = syscall(CREATE_RULESET, NULL, 0, RULESET_VERSION), ruleset;
    int error;
    if (abi < 0)
        return -errno;
    ruleset = syscall(CREATE_RULESET, &all, handle_all(&all, abi), 0);
    if (ruleset < 0)
        return -errno;
    error = syscall(RESTRICT_SELF, ruleset, 0) ? errno : 0;
    close((int)ruleset);
    return error ? -error : (int)abi;
}

/* The first of several threads' refused calls is kept. */
static void on_refused(int number, siginfo_t *info, void *context)
{
    uint32_t none = 0, call = (uint32_t)info->si_syscall + 1;
    (void)number;
    (void)context;
    if (info->si_code > 0) /* of the kernel, not of a process */
        __atomic_compare_exchange_n(refused_call, &none, call, 0, __ATOMIC_RELEASE,
                                    __ATOMIC_RELAXED);
    syscall(kill_call);
}

int sandbox_tell(uint32_t *refused, uint32_t kill)
{
    struct sigaction action = {.sa_sigaction = on_refused, .sa_flags = SA_SIGINFO};
    refused_call = refused;
    kill_call = kill;
    sigfillset(&action.sa_mask);
    return sigaction(SIGSYS, &action, NULL) ? errno : 0;
}

/* SPEC_ALLOW: kernels before 5.16 would else disable speculative loads past stores, which makes
 * loops slower; they run no code of others. A positive result: a thread has another filter. */
int sandbox_seal(const struct sandbox_step *steps, uint32_t n)
{
    struct sock_fprog program = {.len = (unsigned short)n, .filter = (struct sock_filter *)steps};
    unsigned long flags = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    long result;
    if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0))
        return errno;
    result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program);
    return result < 0 ? errno : result ? EBUSY : 0;
}
