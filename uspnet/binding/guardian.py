# SPDX-License-Identifier: Apache-2.0
"""`bind --confirm SECONDS`: gives the NICs back unless `bind --keep` comes in time.

The guardian is a process of its own. It is started before anything is changed, in a session of
its own, so that it survives the terminal, the login and uspnet itself. It polls the saved states,
from which `bind --keep` removes the deadline. A program that still drives a NIC at the deadline
gets SIGTERM, and SIGKILL after 5 s.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace

from uspnet.binding import holders
from uspnet.binding.machine import KernelNetwork, Machine, Network
from uspnet.binding.saved import boot_id
from uspnet.binding.unbind import give_back
from uspnet.errors import DeviceTimeout, UspnetError
from uspnet.pci.functions import current_driver, function
from uspnet.pci.sysfs import Tree
from uspnet.system import children, streams
from uspnet.text import printable

READY = b"ready\n"
POLL_S = 0.2
START_S = 60.0  # until it is ready; a second is usual
GRACE_S = 5.0  # between SIGTERM and SIGKILL
RETRIES, RETRY_S = 5, 1.0
MAIN = "from uspnet.binding.guardian import main; main(sys.argv[1:])"
LOG = "var/lib/uspnet/guardian.log"


def now_s() -> float:
    """Return the seconds since boot. The clock runs while the machine sleeps and can't be set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def start(machine: Machine, addresses: Sequence[str], confirm_s: float) -> int:
    """Start the guardian of functions whose state is saved. Returns its process id when it is
    ready. Raises DeviceTimeout; nothing may be changed then.
    """
    set_deadline(machine, addresses, confirm_s)
    null = streams.null()
    try:
        process = subprocess.Popen(  # noqa: S603 - this very interpreter
            children.python(MAIN, machine.tree.root, *addresses),
            stdin=null,
            stdout=subprocess.PIPE,
            stderr=null,
            cwd="/",
            env=children.environment(),
            start_new_session=True,
        )
    finally:
        os.close(null)
    assert process.stdout  # noqa: S101 - for the type checker: a pipe was asked for
    with process.stdout as pipe:
        told = select.select([pipe], [], [], START_S)[0]
        if not told or pipe.read(len(READY)) != READY:
            process.kill()
            process.wait()
            raise DeviceTimeout("the guardian did not start: nothing was changed", "see: dmesg")
    process.returncode = 0  # it outlives us: no warning about a child left running
    for address in addresses:
        if saved := machine.store.load(address):
            machine.store.put(replace(saved, guardian=process.pid))
    return process.pid


def set_deadline(machine: Machine, addresses: Sequence[str], confirm_s: float) -> None:
    """Set the deadline: bind counts from its start, and again from its end."""
    deadline = now_s() + confirm_s
    for address in addresses:
        if saved := machine.store.load(address):
            machine.store.put(replace(saved, deadline=deadline))


def watch(machine: Machine, addresses: Sequence[str]) -> list[str]:
    """Wait until the deadline has passed or all functions are kept. Returns what was done, a line
    each.
    """
    waiting, lines = set(addresses), []
    while waiting:
        for address in sorted(waiting):
            try:
                saved = machine.store.load(address)
                if saved is None or saved.deadline is None or saved.boot != boot_id(machine.tree):
                    waiting.discard(address)
                elif now_s() >= saved.deadline and (done := _put_back(machine, address)):
                    waiting.discard(address)
                    lines.append(f"{address}: {done}")
            except (UspnetError, OSError) as error:
                waiting.discard(address)
                lines.append(f"{address}: {_text(error)}")
        time.sleep(POLL_S if waiting else 0)
    return lines


def _text(error: Exception) -> str:
    """Return an error's message, ours or the kernel's."""
    if isinstance(error, OSError) and not isinstance(error, UspnetError):
        return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return str(error)


@contextmanager
def _lock(machine: Machine) -> Iterator[None]:
    """Hold the lock, or none where there can be none: on a disk that the kernel has made read-only
    after an error, the NIC is needed all the more.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(machine.store.lock())
        except UspnetError:
            raise
        except OSError:
            pass
        yield


def _put_back(machine: Machine, address: str) -> str:
    text, saved = "", None
    for _ in range(RETRIES):
        try:
            with _lock(machine):
                saved = machine.store.load(address)
                if saved is None or saved.deadline is None:  # confirmed at the last moment
                    return "kept"
                if now_s() < saved.deadline:  # bind was still running, and has moved it
                    return ""
                end_users(machine.tree, address)
                problems = give_back(machine, saved)
                if not problems:
                    return "not confirmed in time: given back"
                text = "; ".join(problems)
        except (UspnetError, OSError) as error:
            text = _text(error)
        time.sleep(RETRY_S)
    is_back = saved and current_driver(machine.tree, address) == saved.driver
    return (
        f"not confirmed in time, and {'given back, but' if is_back else 'not given back'}: {text}"
    )


def end_users(tree: Tree, address: str) -> None:
    """End the programs that drive a function, because unbinding waits for them without limit."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        end = time.monotonic() + GRACE_S
        users = holders.signal_users(tree, function(tree, address), number)
        while users and time.monotonic() < end:
            time.sleep(0.05)
            users = holders.users_of_device(tree, function(tree, address))


def main(args: list[str], network: Callable[[Tree], Network] = KernelNetwork) -> None:
    """Run the guardian's process. `args`: the root of the trees, then addresses. Its stderr is the
    null device.
    """
    signal.pthread_sigmask(signal.SIG_SETMASK, set())  # bind blocks signals while it starts us
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    tree = Tree(args[0])
    from uspnet.binding import netlink  # noqa: F401, PLC0415 - while files can be read

    machine = Machine(tree, network(tree), {}, os.getpid())
    os.write(1, READY)
    os.dup2(2, 1)
    lines = watch(machine, args[1:])
    with suppress(OSError), open(tree.path(LOG), "a", encoding="utf-8") as log:
        log.writelines(f"{time.strftime('%F %T')} {printable(line)}\n" for line in lines)
