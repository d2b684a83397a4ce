# SPDX-License-Identifier: Apache-2.0
"""bind and unbind on a real kernel: refused when busy, taken when allowed, given back exactly."""

import json
import os
import signal
import time

import pytest

LOOSE = {"ifindex", "link_index", "operstate", "tentative", "flags", "valid_life_time",
         "preferred_life_time", "dynamic"}  # fmt: skip


def ip(guest, text):
    result = guest.run(["ip", *text.split()])
    assert result.code == 0, (text, result.err)
    return result.out


def strip(value):
    if isinstance(value, dict):
        return {key: strip(item) for key, item in value.items() if key not in LOOSE}
    return [strip(item) for item in value] if isinstance(value, list) else value


def shown(guest):
    """Everything that iproute2 tells of links, addresses and routes, without numbers."""
    questions = ("address", "route show table all", "-6 route show table all", "rule")
    texts = (ip(guest, f"-j {question}") for question in questions)
    return [sorted(json.dumps(row) for row in strip(json.loads(text or "[]"))) for text in texts]


def settled(guest, before, seconds=15):
    """Waits until all is as before; says what is not."""
    end = time.monotonic() + seconds
    while (now := shown(guest)) != before and time.monotonic() < end:
        time.sleep(0.2)
    for was, row in zip(before, now, strict=True):
        assert [text for text in was if text not in row] == []
        assert [text for text in row if text not in was] == []


def interface(guest, address):
    at = f"/sys/bus/pci/devices/{address}"
    child = [name for name in guest.names(at) if name.startswith("virtio")]
    return guest.names(f"{at}/{child[0]}/net" if child else f"{at}/net")[0]


def wait_for_carrier(guest, at):
    """An interface that is up has a carrier after a while, and the state that follows from it."""
    end = time.monotonic() + 20
    while int(guest.read(f"{at}/flags"), 16) & 1 and guest.read(f"{at}/carrier") != "1\n":
        assert time.monotonic() < end
        time.sleep(0.1)
    time.sleep(2)  # what stands on it follows, and duplicate address detection ends


def idle(guest, name):
    pass


def addressed(guest, name):
    ip(guest, f"link set {name} mtu 1400 up")
    ip(guest, f"address add 10.77.0.1/24 dev {name}")
    ip(guest, "route add 10.78.0.0/16 via 10.77.0.2")
    ip(guest, "route add default via 10.77.0.3 table 100")


def ipv6_only(guest, name):
    guest.write(f"/proc/sys/net/ipv6/conf/{name}/disable_ipv6", "0")
    ip(guest, f"link set {name} up")
    ip(guest, f"address add fd77::1/64 dev {name} nodad")
    ip(guest, "-6 route add default via fd77::2")


def renamed(guest, name):
    ip(guest, f"link set {name} down")
    ip(guest, f"link set {name} name lan0")
    addressed(guest, "lan0")


def nexthop_object(guest, name):
    ip(guest, f"link set {name} up")
    ip(guest, f"address add 10.77.0.1/24 dev {name}")
    wait_for_carrier(guest, f"/sys/class/net/{name}")
    ip(guest, f"nexthop add id 7 via 10.77.0.2 dev {name}")
    ip(guest, "route add default nhid 7")


def vlan(guest, name):
    ip(guest, f"link set {name} up")
    ip(guest, f"link add link {name} name {name}.5 type vlan id 5")
    ip(guest, f"link set {name}.5 up")
    ip(guest, f"address add 10.77.5.1/24 dev {name}.5")


def bond(guest, name):
    ip(guest, "link add bond7 type bond mode active-backup")
    ip(guest, f"link set {name} down")
    ip(guest, f"link set {name} master bond7")
    ip(guest, "link set bond7 up")
    ip(guest, "address add 10.77.0.1/24 dev bond7")
    ip(guest, "route add default via 10.77.0.2")


def vlan_on_bond(guest, name):
    bond(guest, name)
    ip(guest, "link add link bond7 name bond7.5 type vlan id 5")
    ip(guest, "link set bond7.5 up")


def bridge(guest, name):
    ip(guest, "link add br7 type bridge")
    ip(guest, f"link set {name} up master br7")
    ip(guest, "link set br7 up")
    ip(guest, "address add 10.77.0.1/24 dev br7")


TOPOLOGIES = {
    idle: set(),
    addressed: {"address", "route", "default-route"},
    ipv6_only: {"address", "default-route"},
    renamed: {"address", "route", "default-route"},
    nexthop_object: {"address", "default-route"},
    vlan: {"address", "upper"},
    bond: {"address", "upper", "default-route"},
    vlan_on_bond: {"address", "upper", "default-route"},
    bridge: {"address", "upper"},
}


@pytest.fixture
def nic(guest):
    """build(topology, kind): its PCI address; what was built is undone."""
    done = []

    def build(topology, kind):
        if kind not in guest.kinds:
            pytest.skip(f"this QEMU has no {kind}")
        address = guest.address(kind)
        name = interface(guest, address)
        done.append((address, name))
        topology(guest, name)
        wait_for_carrier(guest, f"/sys/class/net/{interface(guest, address)}")
        return address

    yield build
    for address, name in done:
        guest.run(["uspnet", "unbind", "--all"])
        for link in (f"{name}.5", "bond7.5", "bond7", "br7"):
            guest.run(["ip", "link", "del", link])
        now = interface(guest, address)
        guest.write(f"/proc/sys/net/ipv6/conf/{now}/disable_ipv6", "1")
        for text in (f"address flush dev {now}", f"link set {now} down mtu 1500 name {name}"):
            ip(guest, text)


CASES = [(idle, "e1000e"), (addressed, "virtio-net"), (bond, "e1000e"), (bridge, "vmxnet3")]
if os.environ.get("USPNET_FULL"):  # half an hour under emulation
    CASES = [(topology, "e1000e") for topology in TOPOLOGIES]
    CASES += [(t, kind) for t in (idle, addressed) for kind in ("igb", "virtio-net", "vmxnet3")]


@pytest.mark.parametrize(("topology", "kind"), CASES, ids=lambda c: getattr(c, "__name__", c))
def test_there_and_back(guest, nic, topology, kind):
    address = nic(topology, kind)
    reasons = TOPOLOGIES[topology]
    before, driver = shown(guest), guest.driver(address)
    if reasons:
        refused = guest.run(["uspnet", "bind", address, "--json"])
        found = {r["reason"] for r in refused.json()["devices"][0]["reasons"] if r["blocks"]}
        assert (refused.code, found) == (3, reasons)
        settled(guest, before)
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


@pytest.mark.parametrize("killed", [False, True])
def test_unconfirmed_comes_back(guest, nic, killed):
    address = nic(addressed, "e1000e")
    before, driver = shown(guest), guest.driver(address)
    allow = "address,route,default-route"
    process = guest.background(["uspnet", "bind", address, "--allow", allow, "--confirm", "12"])
    end = time.monotonic() + 30
    while guest.driver(address) != "vfio-pci":
        assert time.monotonic() < end, process.output()
    if killed:
        process.signal(signal.SIGKILL)
    process.wait()
    end = time.monotonic() + 60
    while guest.driver(address) != driver:
        assert time.monotonic() < end
        time.sleep(0.2)
    settled(guest, before)


def test_confirmed_stays(guest, nic):
    address = nic(idle, "e1000e")
    assert guest.run(["uspnet", "bind", address, "--confirm", "20"]).code == 0
    assert guest.run(["uspnet", "bind", "--keep", address]).out == f"{address}: kept\n"
    time.sleep(22)
    assert guest.driver(address) == "vfio-pci"
    assert guest.run(["uspnet", "unbind", address]).code == 0


def test_the_owner_may_open_it(guest, nic):
    address = nic(idle, "e1000e")
    assert guest.run(["uspnet", "bind", address, "--owner", "nobody"]).code == 0
    node = f"/dev/vfio/{guest.group(address)}"
    opened = guest.run(["source", f"open({node!r}, 'r+b', buffering=0)"], user=65534)
    assert opened.code == 0, opened.err
    assert guest.run(["uspnet", "unbind", address]).code == 0


def test_a_held_device_is_not_unbound(guest, nic):
    address = nic(idle, "e1000e")
    assert guest.run(["uspnet", "bind", address]).code == 0
    node = f"/dev/vfio/{guest.group(address)}"
    source = f"f = open({node!r}, 'r+b', buffering=0); print(1, flush=True)\nwhile True: pass"
    holder = guest.background(["source", source])
    while not holder.output()[0]:
        assert not holder.output()[1]
    refused = guest.run(["uspnet", "unbind", address])
    assert refused.code == 1
    assert f"kill {holder.pid}" in refused.err
    holder.signal(signal.SIGKILL)
    holder.wait()
    assert guest.run(["uspnet", "unbind", address]).code == 0
