# SPDX-License-Identifier: Apache-2.0
"""A virtual machine with an IOMMU and NICs, on the host's own file tree.

QEMU emulates the processors (TCG), so that no /dev/kvm is needed, and both in one thread: with one
each, an IOMMU that changes what is mapped makes QEMU 10 end, and interrupts go astray. Each kind of
NIC is there twice, on one wire with a Unix socket of the test: `guest.wires["e1000e"]`. Sending
there reaches both NICs; what one NIC sends reaches the other and the test, byte for byte.
"""

from __future__ import annotations

import contextlib
import json
import queue
import re
import signal
import socket
import subprocess
import sys
import threading
from dataclasses import dataclass
from pathlib import Path

from tests.support.identity import answer
from tests.support.waiting import moments, scaled
from tests.vm.emulator import find_qemu, has_model
from tests.vm.kernel import ROOT, Kernel, initramfs
from tests.vm.wire import Wire
from uspnet.ports.qemu import models

BOOT_S = 180  # a slow machine's; a quick one needs 5
IMPORT_S = 180  # for all of uspnet to be imported, from files of the host that are not cached yet
MODELS = {name: nic.models[name] for name, nic in models().items()}
KINDS = sorted(  # those that a kernel drives; first those whose VFs sit 16 slots above them
    (name for name, model in MODELS.items() if model.kernel_module),
    key=lambda name: not MODELS[name].virtual_functions,
)
CONVENTIONAL = [name for name in KINDS if models()[name].interrupts == "INTx"]
EXPRESS = [name for name in KINDS if name not in CONVENTIONAL]
WITH_VFS = [name for name in KINDS if MODELS[name].virtual_functions]
FIRST_SLOT = 8  # NICs are 0000:00:08.0 and upward, two slots a kind
NEIGHBOURS = (  # two more on a conventional bus, whose functions can't be told apart: one group
    "-device", "pcie-pci-bridge,id=pci,addr=0x1e",
    "-device", "e1000,bus=pci,addr=1", "-device", "e1000,bus=pci,addr=2",
)  # fmt: skip


def slot_of(kinds, kind, number):
    """The PCI slot of a NIC. Virtual functions take two slots, 16 above their NIC's."""
    slots = {each: 1 + MODELS[each].virtual_functions for each in kinds}
    before = kinds[: kinds.index(kind)]
    return FIRST_SLOT + 2 * sum(slots[each] for each in before) + number * slots[kind]


def device_of(kind):
    """QEMU's -device of a NIC that the guest's kernel is to drive."""
    return MODELS[kind].guest or MODELS[kind].device


# no_timer_check: a busy host delays the timer that the kernel would check.
COMMAND_LINE = (
    "console=ttyS0 quiet panic=-1 oops=panic intel_iommu=on iommu=nopt net.ifnames=0 "
    "mitigations=off no_timer_check"
)


@dataclass(frozen=True)
class Result:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str

    def json(self):
        """The object that a command of uspnet printed, checked."""
        return answer(self.out)


class Process:
    """A command that runs in the guest meanwhile."""

    def __init__(self, guest, pid):
        self.guest, self.pid = guest, pid

    def signal(self, number):
        self.guest.ask("kill", pid=self.pid, number=int(number))

    def end(self):
        """Ends it, whatever it does."""
        self.signal(signal.SIGKILL)
        return self.wait()

    def output(self):
        """What it has printed so far: stdout and stderr."""
        answer = self.guest.ask("output", pid=self.pid)
        return answer["out"], answer["err"]

    def first_output(self, timeout=60):
        """What it prints first. Looks only now and then: the guest has other work."""
        for _ in moments(timeout, 0.1):
            out, err = self.output()
            if out:
                return out
            assert not err
        raise TimeoutError(f"nothing in {timeout} s")

    def wait(self, timeout=60):
        """Its end; killed, and a TimeoutError, when it takes longer than that."""
        timeout = scaled(timeout)
        answer = self.guest.ask("wait", timeout + 30, pid=self.pid, timeout=timeout)
        if answer["late"]:
            raise TimeoutError(f"took more than {timeout} s:\n{answer['out']}{answer['err']}")
        return Result(answer["code"], answer["out"], answer["err"])


class Guest:
    """A running guest. `share` is a folder that both sides see, under the same path."""

    def __init__(self, kernel: Kernel, folder: Path, *, iommu=True, huge_pages=0, kinds=KINDS):
        self.binary = find_qemu()
        self.kinds = [
            kind for kind in kinds if has_model(self.binary, device_of(kind).split(",")[0])
        ]
        self.kernel = kernel
        self.share, self.console = folder / "share", folder / "console"
        self.share.mkdir()
        self.share.chmod(0o777)
        self.sockets = folder
        self.iommu, self.huge_pages = iommu, huge_pages
        self.environment: dict[str, str] = {}  # what commands run with
        (folder / "initramfs").write_bytes(initramfs(kernel))
        self._boot()

    def _boot(self):
        """Starts QEMU, and waits until the agent says that it is there."""
        folder = self.sockets
        self.answers: dict[int, queue.Queue] = {0: queue.Queue()}
        self.last = 0
        self.lock = threading.Lock()
        self.processes: list[Process] = []
        self.lost = ""  # why it can't be asked any more
        self.wires = {kind: Wire(folder, kind) for kind in self.kinds}
        ours, theirs = socket.socketpair()
        words = f"share={self.share} python={sys.executable} agent={Path(__file__).parent}/agent.py"
        with theirs, (folder / "qemu.log").open("wb") as log:
            self.qemu = subprocess.Popen(
                [
                    self.binary, "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
                    "-machine", "q35,kernel-irqchip=split", "-accel", "tcg,thread=single",
                    "-cpu", "max,la57=off", "-smp", "2", "-m", "1G",
                    "-kernel", self.kernel.image, "-initrd", folder / "initramfs",
                    "-append", f"{COMMAND_LINE} {words}",
                    "-serial", f"file:{self.console}",
                    *(["-device", "intel-iommu,intremap=on,caching-mode=on"] * self.iommu),
                    *shared_folder("root", "/", ",readonly=on"),
                    *shared_folder("share", self.share, ""),
                    "-device", "virtio-serial-pci",
                    "-chardev", f"socket,id=agent,fd={theirs.fileno()}",
                    "-device", "virtserialport,chardev=agent,name=uspnet",
                    *self._nics(),
                ],
                pass_fds=[theirs.fileno()], stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL, stderr=log,
            )  # fmt: skip
        self.port = ours
        self.listener = threading.Thread(target=self._listen, daemon=True)
        self.listener.start()
        try:
            self._answer(0, BOOT_S)
            self.run(["source", "pass"], timeout=IMPORT_S)
            self.write("/proc/sys/vm/nr_hugepages", self.huge_pages)
        except BaseException:
            self.close()
            raise

    def _nics(self):
        """Two NICs of each kind on one hub, and the test's end."""
        words = []
        for hub, kind in enumerate(self.kinds):
            wire = self.wires[kind]
            words += ["-netdev", f"dgram,id=w{hub},local.type=unix,local.path={wire.far},"
                      f"remote.type=unix,remote.path={wire.near}",
                      "-netdev", f"hubport,id=h{hub},hubid={hub},netdev=w{hub}"]  # fmt: skip
            for number in (0, 1):
                slot = slot_of(self.kinds, kind, number)
                words += ["-netdev", f"hubport,id=n{slot},hubid={hub}",
                          "-device", f"{device_of(kind)},netdev=n{slot},addr={slot:#x},"
                          f"mac={self.mac(kind, number)}"]  # fmt: skip
        return [*words, *NEIGHBOURS]

    def neighbours(self):
        """The two that share an IOMMU group, with a bridge."""
        return [name for name in self.names("/sys/bus/pci/devices") if name[5:7] != "00"]

    @property
    def transports(self):
        """The ways to a function that this kernel has."""
        return ["vfio-group", *(["vfio-cdev"] if "iommu" in self.names("/dev") else [])]

    def address(self, kind, number=0):
        """The PCI address of a NIC."""
        return f"0000:00:{slot_of(self.kinds, kind, number):02x}.0"

    def mac(self, kind, number=0):
        """The address that its NIC was given."""
        return f"02:00:00:00:{self.kinds.index(kind):02x}:{number:02x}"

    # -- the conversation with the agent --------------------------------------------------------

    def _listen(self):
        """Sorts answers to those who wait for them. An answer of None: there is no guest."""
        with self.port.makefile("rb") as lines, contextlib.suppress(OSError, ValueError):
            for line in lines:
                answer = json.loads(line)
                self.answers[answer.pop("id")].put(answer)
        with self.lock:
            for waiting in self.answers.values():
                waiting.put(None)

    def _answer(self, number, timeout):
        why = "the guest has ended"
        try:
            answer = self.answers[number].get(timeout=timeout)
        except queue.Empty:
            answer, why = None, "the guest does not answer"
        del self.answers[number]
        if answer is None:
            self.lost = why
            tail = self.console.read_text(errors="replace")[-3000:]
            log = (self.sockets / "qemu.log").read_text(errors="replace")
            raise TimeoutError(f"{self.lost}; its console ends with:\n{tail}\n{log}")
        return answer

    def ask(self, op, patience=60, /, **args):
        """Has the agent do something. Raises OSError for what fails in the guest."""
        if self.lost:
            raise TimeoutError(self.lost)
        with self.lock:
            self.last += 1
            number = self.last
            self.answers[number] = queue.Queue()
            self.port.sendall(json.dumps({"id": number, "op": op, "args": args}).encode() + b"\n")
        answer = self._answer(number, patience)
        if "error" in answer:
            raise OSError(answer["errno"] or 0, answer["error"])
        return answer

    def background(self, argv, *, env=None, user=None, cwd=ROOT):
        """Starts a command: a program, or ["uspnet", …], or ["source", PYTHON, …]. `user` is a
        number."""
        words = [str(word) for word in argv]
        env = {**self.environment, **(env or {})}
        answer = self.ask(
            "start", IMPORT_S, argv=words, cwd=str(cwd), env=env, user=user, root=str(ROOT)
        )  # the first one imports all of uspnet
        process = Process(self, answer["pid"])
        self.processes.append(process)
        return process

    def run(self, argv, *, timeout=60, **how):
        """Runs a command to its end."""
        return self.background(argv, **how).wait(timeout)

    def python(self, source, *arguments, timeout=60, **how):
        """Runs Python source that may import uspnet, and gives what it printed. Fails with it."""
        result = self.run(["source", source, *arguments], timeout=timeout, **how)
        assert result.code == 0, f"{result.out}{result.err}"
        return result.out

    def python_json(self, source, *arguments):
        """What a Python program printed as JSON."""
        return json.loads(self.python(source, *arguments))

    def read(self, path):
        return self.ask("read", path=str(path))["text"]

    def write(self, path, text):
        self.ask("write", path=str(path), text=str(text))

    def link(self, path):
        return self.ask("link", path=str(path))["text"]

    def names(self, path):
        return self.ask("names", path=str(path))["names"]

    # -- devices, by plain sysfs writes ---------------------------------------------------------

    def driver(self, address):
        """The kernel driver that has the function, "" for none."""
        return self.link(f"/sys/bus/pci/devices/{address}/driver").rpartition("/")[2]

    def give(self, address, driver):
        """Gives a function to the named kernel driver; to the one it belongs to when empty."""
        at = f"/sys/bus/pci/devices/{address}"
        if self.driver(address):
            self.write(f"{at}/driver/unbind", address)
        self.write(f"{at}/driver_override", driver or "\n")
        self.write("/sys/bus/pci/drivers_probe", address)
        assert self.driver(address) == driver or not driver

    def group(self, address):
        """The function's IOMMU group."""
        return self.link(f"/sys/bus/pci/devices/{address}/iommu_group").rpartition("/")[2]

    def nodes(self, address):
        """The device nodes that one who drives the function must be able to open."""
        names = self.names(f"/sys/bus/pci/devices/{address}/vfio-dev")
        found = ["/dev/vfio/vfio", f"/dev/vfio/{self.group(address)}"]
        return (
            found + [f"/dev/vfio/devices/{name}" for name in names] + ["/dev/iommu"] * bool(names)
        )

    def messages(self, pattern):
        """The kernel's messages that match."""
        shown = self.run(["dmesg"]).out
        return [line for line in shown.splitlines() if re.search(pattern, line)]

    def stalls(self):
        """Does its kernel tell that a processor takes no interrupts any more? QEMU's emulated ones
        do that, rarely, and only NMIs reach them then.
        """
        return b"detected stalls on CPUs" in self.console.read_bytes()

    def revive(self):
        """Boots again, where it is lost: what one test did is not the next one's."""
        if self.lost:
            self.close()
            self._boot()

    def close(self):
        """Ends the machine, at once. May be called twice."""
        self.lost = self.lost or "the guest has been closed"
        self.qemu.kill()
        self.qemu.wait()
        self.listener.join()
        self.port.close()
        for wire in self.wires.values():
            wire.close()
        self.wires = {}  # closed once, whatever fails


def shared_folder(tag, path, options):
    """QEMU's words for a folder of the host over 9p."""
    return ["-fsdev", f"local,id={tag},path={path},security_model=none,multidevs=remap{options}",
            "-device", f"virtio-9p-pci,fsdev={tag},mount_tag={tag}"]  # fmt: skip
