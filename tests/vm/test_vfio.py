# SPDX-License-Identifier: Apache-2.0
"""VFIO on a real kernel, with and without a driver on top."""

import signal

import pytest

from tests.support.waiting import until

OPEN = """
import sys
from uspnet.transports.choose import TRANSPORTS, choose
address, name = sys.argv[1:3]
device = TRANSPORTS[name](address)
"""
POOL = """
from uspnet.pool import Pool
from uspnet.errors import UspnetError
pool = Pool(1000, 1522, 65536)
"""

SENT, INTERRUPTIONS = (
    "from uspnet.telemetry import running_jobs\n"
    f"print(sum(port.{name} for job in running_jobs() for port in job.ports))"
    for name in ("tx_packets", "interruptions")
)


def command(guest, address):
    """The Command register, as the kernel sees it."""
    path = f"/sys/bus/pci/devices/{address}/config"
    shown = guest.python("import sys; print(open(sys.argv[1], 'rb').read(6)[4:].hex())", path)
    return int.from_bytes(bytes.fromhex(shown), "little")


def test_configuration_bars_and_registers(guest, taken, transport):
    address = taken(guest, guest.address("e1000e"))
    shown = guest.python(
        OPEN + "print(hex(device.read_config(0, 2)), hex(device.read_config(2, 2)))\n"
        "device.write_config(4, device.read_config(4, 2) | 2, 2)\n"
        "bar = device.map_bar(0)\n"
        "print(bar.size, bar.read(0x5400, 4).to_bytes(4, 'little').hex())\n"
        "device.close()",
        address, transport,
    )  # fmt: skip
    assert shown.split() == ["0x8086", "0x10d3", "131072", "02000000"]


def test_what_is_not_there(guest, taken, transport):
    address = taken(guest, guest.address("e1000e"))
    shown = guest.python(
        OPEN + "from uspnet.errors import UspnetError\n"
        "for attempt in (lambda: device.map_bar(5), lambda: device.map_bar(2),\n"
        "                lambda: device.map_bar(0).read(0x20000, 4)):\n"
        "    try: attempt()\n"
        "    except UspnetError as error: print(error.kind)",
        address, transport,
    )  # fmt: skip
    assert shown.split() == ["NotSupported", "NotSupported", "DeviceFault"]


def test_one_map_serves_two_functions(guest, taken, transport):
    first, second = (taken(guest, guest.address("e1000e", n)) for n in (0, 1))
    shown = guest.python(
        OPEN + POOL + "other = TRANSPORTS[name](sys.argv[3])\n"
        "device.attach(pool); other.attach(pool)\n"
        "print(device.space is other.space, device.dma_base == other.dma_base)\n"
        "print(device.dma_base % 2**21, device.alloc_dma(100).address == device.rings_base)\n"
        "print(device.rings_base != device.dma_base)\n"
        "other.close(); device.close(); pool.close()",
        first, transport, second,
    )  # fmt: skip
    assert shown.split() == ["True", "True", "0", "True", "True"]


def test_message_signalled_interrupts(guest, taken, transport):
    """VFIO can be told to raise an interrupt as the device would."""
    address = taken(guest, guest.address("e1000e"))
    shown = guest.python(
        OPEN + "import select\n"
        "from uspnet.transports.vfio import IRQ_NONE, SET_IRQS, call\n"
        "events = device.irq('MSI-X', 3)\n"
        "call(device.fd, SET_IRQS, 'IIII', IRQ_NONE, device.events_on, 1, 1)\n"
        "print(len(events), select.select(events, [], [], 0)[0] == [events[1]])\n"
        "device.close()",
        address, transport,
    )  # fmt: skip
    assert shown.split() == ["3", "True"]


@pytest.mark.parametrize("kind", ["MSI-X", "INTx"])
def test_without_descriptors_there_are_no_interrupts(guest, taken, transport, kind):
    """The second eventfd can't be had: none stays, and a later attempt gets all of them."""
    address = taken(guest, guest.address("e1000e"))
    shown = guest.python(
        OPEN + "import os, resource\n"
        "def files(): return len(os.listdir('/proc/self/fd'))\n"
        "kind, before = sys.argv[3], files()\n"
        "unused = os.dup(0); os.close(unused)\n"
        "soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (unused + 1, hard))\n"
        "print(len(device.irq(kind, 3)), device.line_fd)\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))\n"
        "print(files() - before, len(device.irq(kind, 3)), device.line_fd >= 0)\n"
        "device.close()",
        address, transport, kind,
    )  # fmt: skip
    wanted = {"MSI-X": ["0", "-1", "0", "3", "False"], "INTx": ["0", "-1", "0", "1", "True"]}
    assert shown.split() == wanted[kind]


def test_a_second_user_is_told_who_has_it(guest, taken, transport):
    address = taken(guest, guest.address("e1000e"))
    source = OPEN + "import time; print('open', flush=True); time.sleep(100)"
    holder = guest.background(["source", source, address, transport])
    assert holder.first_output() == "open\n"
    late = guest.run(["source", OPEN, address, transport])
    assert f"{address} is in use by" in late.err
    assert f"(process {holder.pid})" in late.err
    holder.signal(signal.SIGKILL)
    holder.wait()
    assert guest.run(["source", OPEN, address, transport]).code == 0


def test_locked_memory_limit_is_named(guest, taken, transport):
    address = taken(guest, guest.address("e1000e"))
    source = (
        OPEN + POOL + "import resource\n"
        "resource.setrlimit(resource.RLIMIT_MEMLOCK, (1 << 20, 1 << 20))\n"
        "try: device.attach(pool)\n"
        "except UspnetError as error: print(error, '/', error.hint)"
    )
    refused = guest.run(["source", source, address, transport], user=1000)
    assert "no permission" in refused.err
    guest.run(["chown", "1000", *guest.nodes(address)])
    result = guest.run(["source", source, address, transport], user=1000)
    assert "the limit is 1024 KiB / take smaller rings: rx-ring=256" in result.out, result.err
    guest.run(["chown", "0", *guest.nodes(address)])


def test_bus_mastering_ends_with_the_process(guest, taken, transport):
    address = taken(guest, guest.address("e1000e"))
    source = (
        OPEN + "import time\ndevice.master(on=True)\n"
        "print(device.read_config(4, 2) & 4, flush=True); time.sleep(100)"
    )
    process = guest.background(["source", source, address, transport])
    assert process.first_output() == "4\n"
    assert command(guest, address) & 4
    process.signal(signal.SIGKILL)
    process.wait()
    assert not command(guest, address) & 4


@pytest.mark.full
def test_a_kernel_driver_is_not_disturbed(guest):
    address = guest.address("e1000e")
    result = guest.run(["uspnet", "pktgen", address, "--count", "1"])
    assert result.code == 1
    assert "belongs to the kernel driver e1000e" in result.err
    assert f"uspnet bind {address}" in result.err
    assert "there is no PCI device 0000:ff:00.0" in guest.run(["uspnet", "pktgen", "ff:00.0"]).err


def test_errors_of_the_bus_and_the_hosts_wishes_are_heard(guest, taken, transport):
    """VFIO can be told to signal both as the kernel would."""
    address = taken(guest, guest.address("e1000e"))
    shown = guest.python(
        OPEN + "import select\n"
        "from uspnet.errors import DeviceFault\n"
        "from uspnet.transports.vfio import ERROR, IRQ_NONE, REQUEST, SET_IRQS, call\n"
        "device.look()\n"
        "for index in (ERROR, REQUEST):\n"
        "    call(device.fd, SET_IRQS, 'IIII', IRQ_NONE, index, 0, 1)\n"
        "    print(select.select(device.alert_fds(), [], [], 0)[0] == [device.alerts[index]])\n"
        "    try: device.look()\n"
        "    except DeviceFault as error: print(error.message.split()[-1])\n"
        "print(device.is_wanted())\n"
        "alerts = len(device.alert_fds())\n"
        "device.close()\n"
        "print(alerts)",
        address, transport,
    )  # fmt: skip
    assert shown.split() == ["True", "correct", "True", "unbound", "True", "2"]


def test_a_function_that_was_given_back_and_opened_again_is_the_same(guest, taken, transport):
    """Registers, memory and interrupts are where rings have them."""
    address = taken(guest, guest.address("e1000e"))
    shown = guest.python(
        OPEN + POOL + "import os\n"
        "from uspnet.errors import DeviceFault\n"
        "from uspnet.fastpath import ffi\n"
        "def files(): return len(os.listdir('/proc/self/fd'))\n"
        "device.attach(pool)\n"
        "events, bar, before = device.irq('MSI-X', 2), device.map_bar(0), files()\n"
        "at, memory = int(ffi.cast('uintptr_t', bar.mapping.base)), device.dma_base\n"
        "print(bar.read(0x8, 4) >> 16 != 0xFFFF)\n"
        "device.release(); print(device.fd >= 0)\n"
        "device.wanted = True; device.release(); device.release()\n"
        "try: bar.read(0x8, 4)\n"
        "except DeviceFault as error: print(error.message.split()[-1])\n"
        "device.reconnect(); device.reconnect()\n"
        "print(files() - before, device.events == events, device.map_bar(0) is bar)\n"
        "print(int(ffi.cast('uintptr_t', bar.mapping.base)) == at)\n"
        "print(bar.read(0x8, 4) >> 16 != 0xFFFF)\n"
        "print(device.reached[0][1] == memory, len(device.mapped))\n"
        "device.close()",
        address, transport,
    )  # fmt: skip
    assert shown.split() == ["True", "True", "gone", "0", *["True"] * 5, "2"]


@pytest.mark.full
def test_a_function_reset_by_another_program_is_started_again(guest, taken, transport):
    address = taken(guest, guest.address("igb"))
    folder = f"/sys/bus/pci/devices/{address}"
    if guest.run(["sh", "-c", f"echo flr > {folder}/reset_method"]).code:
        pytest.skip("the guest's kernel can't reset the function")
    words = ["pktgen", f"{address},transport={transport}", "--rate", "1000", "--json"]
    process = guest.background(["uspnet", *words])

    def beyond(what, count):
        """Wait until the job counts more than that. Returns its count."""
        return until(
            lambda: max(int(guest.python(what)) - count, 0), 180, 0.1, process.output
        ) + count  # fmt: skip

    sent = beyond(SENT, 0)
    for times in range(2):
        assert guest.run(["sh", "-c", f"echo 1 > {folder}/reset"]).code == 0
        beyond(INTERRUPTIONS, times)
        sent = beyond(SENT, beyond(SENT, sent))
    process.signal(signal.SIGINT)
    result = process.wait()
    assert result.code == 0, result.out + result.err
    (port,) = result.json()["ports"]
    assert port["interruptions"] >= 2
    assert "the device was reset; back after" in result.err
