# SPDX-License-Identifier: Apache-2.0
"""bind and unbind on a real kernel: refused when busy, taken when allowed, given back exactly."""

import signal
import time
from pathlib import Path

import pytest

from tests.support import devbind
from tests.support.tiers import by_tier, everything, full
from tests.support.waiting import until
from tests.vm.guest import EXPRESS, WITH_VFS
from tests.vm.network import interface, quiet, settled
from tests.vm.topologies import (
    NOT_IN_LAB,
    REASONS,
    addressed,
    bond,
    idle,
    physical_with_vfs,
    policy_rule,
    renamed,
    sniffed,
    ssh_session,
)

FEW = (idle, policy_rule, bond, ssh_session, sniffed)


@pytest.fixture
def active_for_devbind(guest):
    """The addresses that the real dpdk-devbind.py finds active in the guest."""
    if not devbind.installed():
        pytest.skip("dpdk-devbind.py is not installed: apt-get install dpdk")
    source = Path(devbind.__file__).read_text()
    return lambda: guest.python(source).split()


def blocking(result):
    """The reasons that block, by name, and all of their texts."""
    found = [r for r in result.json()["devices"][0]["reasons"] if r["blocks"]]
    texts = [": ".join([" → ".join(r["chain"]), r["text"]]).removeprefix(": ") for r in found]
    return {r["reason"] for r in found}, texts


@pytest.mark.full
@pytest.mark.parametrize("topology", by_tier(FEW, REASONS), ids=lambda topology: topology.__name__)
@pytest.mark.once("debian", "lab")
def test_busy_is_refused_where_devbind_is_blind(guest, nic, active_for_devbind, topology):
    if guest.kernel_name == "lab" and topology in NOT_IN_LAB:
        pytest.skip(f"this kernel lacks a kind of interface: {topology.__name__}")
    address = nic(topology, WITH_VFS[0] if topology is physical_with_vfs else "e1000e")
    name = interface(guest, address)
    before = quiet(guest, name)
    reasons, text, seen = REASONS[topology]
    result = guest.run(["uspnet", "bind", address, "--json", *(["--dry-run"] * (not reasons))])
    names, texts = blocking(result)
    assert (result.code, names) == (3 if reasons else 0, reasons), texts
    assert not text or any(found.startswith(text.replace("{}", name)) for found in texts), texts
    assert (address in active_for_devbind()) == seen
    settled(guest, before)


@pytest.mark.once("debian", "lab")
def test_a_group_is_bound_together_or_not_at_all(guest, active_for_devbind):
    first, second = guest.neighbours()
    driver = guest.driver(first)
    refused = guest.run(["uspnet", "bind", first, "--json"])
    names, (text,) = blocking(refused)
    assert (refused.code, names) == (3, {"group"})
    assert text.startswith(f"{second} ({driver}, ")
    assert refused.json()["hint"].startswith(f"uspnet bind {first} {second}")
    assert first not in active_for_devbind()
    assert guest.run(["uspnet", "bind", first, second]).code == 0
    assert [guest.driver(each) for each in (first, second)] == ["vfio-pci"] * 2
    assert guest.run(["uspnet", "unbind", "--all"]).code == 0
    assert [guest.driver(each) for each in (first, second)] == [driver] * 2


SOME = list(zip((renamed, bond), EXPRESS, strict=False))
THERE = [each for each in REASONS if each not in NOT_IN_LAB | {physical_with_vfs}]
EACH = [(each, "e1000e") for each in (*THERE, renamed)]
CASES = by_tier(SOME[1:], SOME + EACH[::5], SOME + EACH)


@pytest.mark.parametrize(("topology", "kind"), CASES, ids=lambda c: getattr(c, "__name__", c))
@pytest.mark.once("lab", "debian")
def test_there_and_back(guest, nic, topology, kind):
    address = nic(topology, kind)
    driver, before = guest.driver(address), quiet(guest, interface(guest, address))
    reasons = REASONS.get(topology, REASONS[addressed])[0]
    allow = ["--allow", ",".join(reasons)] if reasons else []
    bound = guest.run(["uspnet", "bind", address, *allow])
    assert bound.code == 0, bound.err
    assert guest.driver(address) == "vfio-pci"
    row = guest.run(["uspnet", "devices", address, "--json"]).json()["devices"][0]
    assert row["state"] == "bound"
    given = guest.run(["uspnet", "unbind", address])
    assert given.code == 0, given.err
    assert guest.driver(address) == driver
    settled(guest, before)


@pytest.mark.full
@pytest.mark.parametrize("killed", ["half-way", *full("never"), *everything("bound")])
@pytest.mark.once("lab", "debian")
def test_unconfirmed_comes_back(guest, nic, killed):
    address = nic(addressed, "e1000e")
    driver, before = guest.driver(address), quiet(guest, interface(guest, address))
    allow = ",".join(REASONS[addressed][0])
    words = ["uspnet", "bind", address, "--allow", allow, "--confirm", "5"]
    process = guest.background(words)
    reached = (lambda now: now != driver) if killed == "half-way" else "vfio-pci".__eq__
    until(lambda: reached(guest.driver(address)), 180, 0, process.output)
    if killed != "never":
        process.signal(signal.SIGKILL)
    result = process.wait()
    if killed == "never":
        assert f"unbound in 5 s; to keep: uspnet bind --keep {address}" in result.out
    until(lambda: guest.driver(address) == driver, 180, 0.1)
    settled(guest, before)
    left = lambda: guest.names("/var/lib/uspnet")  # noqa: E731
    until(lambda: left() == ["guardian.log", "lock"], 180, 0.1, left)  # its last work


@pytest.mark.full
@pytest.mark.once("lab", "debian")
def test_confirmed_stays(guest, nic):
    address = nic(idle, "e1000e")
    asked = time.monotonic()
    assert guest.run(["uspnet", "bind", address, "--confirm", "10"]).code == 0
    bound = time.monotonic()  # a busy machine may need more than 10 s for the rest
    kept = guest.run(["uspnet", "bind", "--keep", address])
    if time.monotonic() - asked > 10 and kept.code:
        pytest.skip("this machine is too slow to keep a NIC in time")
    assert kept.out == f"{address}: kept\n"
    time.sleep(max(0.0, bound + 11 - time.monotonic()))
    assert guest.driver(address) == "vfio-pci"
    assert guest.run(["uspnet", "unbind", address]).code == 0


@pytest.mark.full
@pytest.mark.once("lab", "debian")
def test_a_held_device_is_not_unbound(guest, nic):
    address = nic(idle, "e1000e")
    assert guest.run(["uspnet", "bind", address]).code == 0
    node = f"/dev/vfio/{guest.group(address)}"
    source = f"f = open({node!r}, 'r+b', buffering=0); print(1, flush=True)\nwhile True: pass"
    holder = guest.background(["source", source])
    holder.first_output()
    refused = guest.run(["uspnet", "unbind", address])
    assert refused.code == 1
    assert f"kill {holder.pid}" in refused.err
    holder.end()
    assert guest.run(["uspnet", "unbind", address]).code == 0
