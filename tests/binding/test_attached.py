# SPDX-License-Identifier: Apache-2.0
"""What `bind` has saved of a NIC, on the interface that `attach` makes in its place."""

from __future__ import annotations

import json
import time

import pytest

from tests.support.wire import Wire
from uspnet.binding.attached import Configuration, renamed, saved_mtu
from uspnet.binding.collect import collect
from uspnet.binding.netlink import snapshot
from uspnet.binding.saved import Saved
from uspnet.cli.attached import Asked
from uspnet.jobs.attach.job import Attaching, AttachJob
from uspnet.jobs.choices import OnFull
from uspnet.jobs.plan import Limits
from uspnet.pci.sysfs import HOST

MAC = "02:00:00:00:00:07"


@pytest.fixture
def saved(namespace):
    """What bind saves of nic0, which is gone then."""
    namespace.veth("nic0", "wire0", 1400)
    namespace.ip("link", "set", "dev", "nic0", "address", MAC)
    namespace.ip("address", "add", "192.0.2.1/24", "dev", "nic0")
    namespace.ip("route", "add", "default", "via", "192.0.2.254", "metric", 7)
    namespace.ip("link", "add", "link", "nic0", "name", "mac0", "type", "macvlan")
    namespace.ip("address", "add", "198.51.100.1/24", "dev", "mac0")
    namespace.ip("link", "set", "dev", "mac0", "up")
    for address, state in (("192.0.2.7", "permanent"), ("192.0.2.8", "reachable")):
        where = ("lladdr", address_of(address), "dev", "nic0")
        namespace.ip("neighbor", "add", address, *where, "nud", state)
    with namespace.entered():
        network = collect(snapshot(), HOST, ("nic0",))
    network = json.loads(json.dumps(network))  # as it is kept
    before = shown(namespace, "nic0")
    namespace.ip("link", "delete", "dev", "nic0")
    return Saved("0000:03:00.0", "e1000e", None, "vfio-pci", "", time.time(), network), before


def address_of(ip):
    """A neighbor's MAC address."""
    return f"02:00:00:00:00:{int(ip.split('.')[-1]):02x}"


def shown(namespace, name):
    """Addresses and routes, and what the interface is like."""
    addresses = [
        (each["ifname"].replace(name, "X"), one["local"], one["prefixlen"])
        for each in json.loads(namespace.ip("-json", "address"))
        for one in each.get("addr_info", ())
    ]
    routes = [
        (each["dst"], each.get("gateway"), each["dev"].replace(name, "X"), each.get("metric"))
        for each in json.loads(namespace.ip("-json", "route"))
    ]
    link = namespace.link(name)
    known = namespace.neighbors(name)
    return sorted(addresses), sorted(routes, key=str), link["mtu"], link["address"], known


@pytest.mark.parametrize("name", ["nic0", "eth7"])
def test_the_interface_is_what_the_nics_own_was(namespace, saved, name):
    kept, before = saved
    port = Wire(ends=False)
    port.mac = bytes.fromhex(MAC.replace(":", ""))
    mtu = saved_mtu(kept.network)
    how = Attaching(name, mtu, configuration=Configuration(saved=kept))
    with namespace.entered(), AttachJob(port, Limits(), how) as job:
        job.start()
        assert shown(namespace, name) == before
        assert set(before[-1]) == {"192.0.2.7", "192.0.2.8"}
        states = json.loads(namespace.ip("-json", "neighbor", "show", "dev", name))
        assert sorted(each["state"] for each in states) == [["PERMANENT"], ["STALE"]]
        found = job.result().interface
        job.stop()
        job.wait()
    assert (found.name, found.mac, found.mtu, found.not_restored) == (name, MAC, 1400, ())
    assert namespace.links() == {"lo", "wire0"} or namespace.links() == {"lo"}


def test_addresses_that_are_given_stand_for_those_that_were_saved(namespace, saved):
    kept, _ = saved
    asked = Asked(
        "eth7",
        ["192.0.2.9/24"],
        None,
        None,
        None,
        None,
        tee=False,
        offload=True,
        on_full=OnFull.drop,
    )
    how = asked.attaching(Wire())
    how.configuration = Configuration(how.configuration.addresses, kept)
    with namespace.entered(), AttachJob(Wire(ends=False), Limits(), how):
        addresses, routes, *_, known = shown(namespace, "eth7")
    assert [each[:2] for each in addresses if each[0] == "X"] == [("X", "192.0.2.9")]
    assert not known
    assert "default" not in {dst for dst, *_ in routes}


def test_only_the_first_of_several_interfaces_is_taken(saved):
    kept, _ = saved
    network = {**kept.network, "own": ["nic0", "mac0"]}
    made = renamed(network, "eth7", 1300, None)
    assert made["own"] == ["eth7"]
    names = [dict(raw["attrs"])["IFLA_IFNAME"] for raw in made["links"]]
    assert names == ["eth7"]
    assert dict(made["links"][0]["attrs"])["IFLA_MTU"] == 1300
    assert saved_mtu({}) is None
