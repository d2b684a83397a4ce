// SPDX-License-Identifier: Apache-2.0
/* Drops capabilities, and confines child processes.
 *
 * Capabilities are per thread: drop them before starting threads. Functions for children make only
 * async-signal-safe calls, as is required between fork and exec. */
#define _GNU_SOURCE
#include "privileges.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { WORDS = _LINUX_CAPABILITY_U32S_3 };

static struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};

static int get(struct __user_cap_data_struct *sets)
{
    return (int)syscall(SYS_capget, &header, sets);
}

static int set(const struct __user_cap_data_struct *sets)
{
    return (int)syscall(SYS_capset, &header, sets);
}

/* Needs CAP_SETPCAP; without it, the other sets are still reduced. */
static void drop_bounding_set(uint64_t keep)
{
    for (int i = 0; prctl(PR_CAPBSET_READ, i, 0, 0, 0) >= 0; i++) {
        if (!(keep >> i & 1))
            prctl(PR_CAPBSET_DROP, i, 0, 0, 0);
    }
}

int capabilities_drop(uint64_t keep)
{
    struct __user_cap_data_struct sets[WORDS];
    drop_bounding_set(keep);
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if (get(sets))
        return errno;
    for (int i = 0; i < WORDS; i++) {
        sets[i].permitted &= (uint32_t)(keep >> (32 * i));
        sets[i].effective = sets[i].permitted;
        sets[i].inheritable = 0;
    }
    return set(sets) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ? errno : 0;
}

int capabilities_inherit(void)
{
    struct __user_cap_data_struct sets[WORDS];
    if (get(sets))
        return errno;
    for (int i = 0; i < WORDS; i++)
        sets[i].inheritable = sets[i].permitted;
    if (set(sets))
        return errno;
    for (int i = 0; i < 32 * WORDS; i++) {
        if (sets[i / 32].permitted >> (i % 32) & 1)
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0);
    }
    return 0;
}

int bare_access(const char *path, int mode)
{
    struct __user_cap_data_struct before[WORDS], bare[WORDS];
    int result;
    if (get(before))
        return errno;
    memcpy(bare, before, sizeof bare);
    for (int i = 0; i < WORDS; i++)
        bare[i].effective = 0;
    if (set(bare))
        return errno;
    result = faccessat(AT_FDCWD, path, mode, AT_EACCESS) ? errno : 0;
    return set(before) ? errno : result;
}

static int limit(int resource, rlim_t most)
{
    struct rlimit both = {most, most};
    return setrlimit(resource, &both);
}

int child_confine(const struct child *how)
{
    drop_bounding_set(how->keep);
    if (how->user && (syscall(SYS_setgroups, 0, NULL) ||
                      syscall(SYS_setresgid, how->user, how->user, how->user) ||
                      syscall(SYS_setresuid, how->user, how->user, how->user)))
        return errno;
    if (limit(RLIMIT_CORE, 0) || (how->file_bytes && limit(RLIMIT_FSIZE, how->file_bytes)))
        return errno;
    int error = capabilities_drop(how->keep);
    return error || !how->keep ? error : capabilities_inherit();
}

int signal_at_parting(int32_t number) { return prctl(PR_SET_PDEATHSIG, number) ? errno : 0; }

int end_with(int32_t parent)
{
    if (signal_at_parting(SIGKILL))
        return -1;
    if (getppid() != parent)
        _exit(1);
    return 0;
}

/* The signal last: changing the user resets it. */
int child_begin(const struct child *how)
{
    static const char why[] = "it could not be started without privileges\n";
    if (!child_confine(how))
        return end_with(how->parent);
    if (write(2, why, sizeof why - 1) < 0)
        _exit(2);
    _exit(1);
}
