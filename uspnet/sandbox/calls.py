# SPDX-License-Identifier: Apache-2.0
"""System calls: their numbers, and those that every worker process makes.

Quick to import: the process that forks worker processes needs it, too.
"""

from __future__ import annotations

from typing import NamedTuple


class Machine(NamedTuple):
    """What seccomp calls a machine (linux/audit.h), and its column of `_TABLE`."""

    audit: int
    column: int


MACHINES = {"x86_64": Machine(0xC000003E, 1), "aarch64": Machine(0xC00000B7, 2)}

# name:x86_64:aarch64, from asm/unistd_64.h and asm-generic/unistd.h of Linux 6.1. Those that are
# not allowed stand here to be named in messages.
_TABLE = """
# in the base set of the worker process
read:0:63 poll:7:- ppoll:271:73 mmap:9:222 munmap:11:215 close:3:57 dup3:292:24
recvmsg:47:212 clock_gettime:228:113 clock_nanosleep:230:115 rt_sigreturn:15:139
restart_syscall:219:128 exit_group:231:94 tgkill:234:131
# of rings
write:1:64 sendto:44:206 sendmmsg:307:269 recvfrom:45:207 sched_yield:24:124
timerfd_settime:286:86 preadv2:327:286 readv:19:65 writev:20:66
# files
open:2:- openat:257:56 openat2:437:437 creat:85:- unlink:87:- unlinkat:263:35 rename:82:-
renameat2:316:276 chmod:90:- fchmodat:268:53 fchmod:91:52 chown:92:- fchown:93:55
mkdirat:258:34 stat:4:- newfstatat:262:79 fstat:5:80 readlink:89:- readlinkat:267:78
access:21:- faccessat:269:48 lseek:8:62 pread64:17:67
pwrite64:18:68 preadv:295:69 pwritev:296:70 ftruncate:77:46 fallocate:285:47 fsync:74:82
fdatasync:75:83 ioctl:16:29 fcntl:72:25 dup:32:23 dup2:33:- pipe2:293:59
# sockets
socket:41:198 connect:42:203 bind:49:200 listen:50:201 accept4:288:242 socketpair:53:199
sendmsg:46:211 getsockopt:55:209 setsockopt:54:208 shutdown:48:210
# processes and signals
execve:59:221 execveat:322:281 fork:57:- vfork:58:- clone:56:220 clone3:435:435
ptrace:101:117 process_vm_readv:310:270 process_vm_writev:311:271 pidfd_open:434:434
pidfd_getfd:438:438 pidfd_send_signal:424:424 kill:62:129 tkill:200:130 rt_sigaction:13:134
rt_sigprocmask:14:135 sigaltstack:131:132 getpid:39:172 getppid:110:173 gettid:186:178
prctl:157:167 arch_prctl:158:- sched_setaffinity:203:122 set_robust_list:273:99 rseq:334:293
futex:202:98 exit:60:93
# memory
memfd_create:319:279 mprotect:10:226 mremap:25:216 madvise:28:233 brk:12:214
userfaultfd:323:282
# waiting
nanosleep:35:101 select:23:- pselect6:270:72 epoll_wait:232:- epoll_pwait:281:22
epoll_ctl:233:21 eventfd2:290:19 io_uring_setup:425:425 io_uring_enter:426:426
# the system
bpf:321:280 perf_event_open:298:241 mount:165:40 umount2:166:39 chroot:161:51
pivot_root:155:41 unshare:272:97 setns:308:268 setuid:105:146 setgid:106:144
setresuid:117:147 capset:126:91 seccomp:317:277 init_module:175:105 finit_module:313:273
kexec_load:246:104 reboot:169:142 keyctl:250:219 add_key:248:217 getrandom:318:278
"""

# A machine that lacks a call of the C library's makes this one instead.
_INSTEAD = {"poll": "ppoll"}

# What the control thread and worker.c need. clock_gettime: on a clock source that the vDSO can't
# read. restart_syscall: after a stop and continue. tgkill: KICK, to its own threads only.
BASE = frozenset(
    {
        *("poll", "read", "recvmsg", "clock_gettime", "clock_nanosleep", "restart_syscall"),
        *("mmap", "munmap", "dup3", "close"),
        *("rt_sigreturn", "tgkill", "exit_group"),
    }
)


def _columns() -> dict[str, tuple[str, str, str]]:
    found = {}
    for line in _TABLE.splitlines():
        for word in [] if line.startswith("#") else line.split():
            name, first, second = word.split(":")
            found[name] = (name, first, second)
    return found


_COLUMNS = _columns()


def is_call(name: str) -> bool:
    """Return whether the table has this call."""
    return name in _COLUMNS


def number(name: str, machine: str) -> int:
    """Return a call's number, or that of the call which the machine has instead. Raises KeyError
    for one that is in no table.
    """
    column = MACHINES[machine].column
    found = _COLUMNS[name][column]
    return int(_COLUMNS[_INSTEAD[name]][column] if found == "-" else found)


def call_name(wanted: int, machine: str) -> str:
    """Return the name of a call by its number, for messages."""
    column = MACHINES[machine].column
    for row in _COLUMNS.values():
        if row[column] == str(wanted):
            return row[0]
    return f"system call {wanted}"
