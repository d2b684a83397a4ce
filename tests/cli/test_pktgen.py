# SPDX-License-Identifier: Apache-2.0
"""pktgen as its users meet it: what is sent, in which order, at which rate, and what came back."""

from __future__ import annotations

import os
import subprocess
from collections import Counter

import pytest

from tests.support.identity import answer
from tests.support.waiting import scaled
from uspnet.cli.views.summary import format_summary
from uspnet.errors import DeviceFault
from uspnet.jobs.generate import GenerateJob
from uspnet.jobs.plan import Limits
from uspnet.jobs.traffic import Traffic
from uspnet.packets.frames import udp_template
from uspnet.ports.null import Null
from uspnet.spec import parse

UDP = "Ether()/IP(src='198.18.0.1',dst='198.18.0.2')/UDP(dport={})/('x'*20)"


def fields(file, *names):
    """The fields' values of each packet of a file, by tshark."""
    command = ["tshark", "-r", file, "-T", "fields", *(word for n in names for word in ("-e", n))]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=scaled(60))
    return [tuple(line.split("\t")) for line in done.stdout.splitlines()]


@pytest.fixture
def sent(uspnet, tmp_path, needs):
    """Runs pktgen into a file; the fields of what it sent."""
    needs("tshark")

    def run(*arguments, names=("udp.dstport",)):
        file = tmp_path / "sent.pcapng"
        result = uspnet("pktgen", f"pcap:out={file}", *arguments, "--json")
        assert result.returncode == 0, result.stderr + result.stdout
        return fields(file, *names)

    return run


@pytest.mark.parametrize("sequence", ["--sequence", "--no-sequence"])
@pytest.mark.parametrize("burst", ["1", "3", "32"])
def test_several_packets_are_sent_in_turn(sent, sequence, burst):
    got = sent("-c", "12", "--burst", burst, sequence, "--packet", UDP.format("[53,123,7,9]"))
    assert got == [("53",), ("123",), ("7",), ("9",)] * 3


@pytest.mark.parametrize("sequence", ["--sequence", "--no-sequence"])
def test_packets_may_be_of_unlike_length(sent, sequence):
    text = "Ether()/Dot1Q(vlan=[1,2])/IP(src='1.2.3.4',dst='1.2.3.5')/UDP(dport=7)/Raw(load={})"
    text = text.format("['x'*18,'y'*500]")
    got = sent("-c", "8", sequence, "--packet", text, names=("vlan.id", "frame.len"))
    assert Counter(got) == dict.fromkeys([(v, n) for v in "12" for n in ("64", "546")], 2)
    assert got[:4] == got[4:]


def test_over_several_queues_each_packet_is_sent_as_often(namespace):
    namespace.veth("a", "b")
    receiver = namespace.socket("b")
    cores = sorted(os.sched_getaffinity(0))[:2]
    run = namespace.uspnet("pktgen", "packet:a,queues=3", "-c", 120, "--cores",
                           ",".join(map(str, cores)), "--burst", 7, "--packet",
                           UDP.format("(1,40)"), "--json")  # fmt: skip
    assert answer(run.stdout)["sent"] == 120
    got = Counter(int.from_bytes(receiver.recv(2048)[36:38], "big") for _ in range(120))
    assert got == dict.fromkeys(range(1, 41), 3)


@pytest.mark.parametrize("count", [10, 997])
def test_all_of_several_packets_come_back(uspnet, qemu, count):
    port = "qemu:e1000e,loop=on"
    for sequence in ("--sequence", "--no-sequence"):
        result = uspnet("pktgen", port, "-c", str(count), "--rx-port", port, "--json", sequence,
                        "--rate", "20k", "--packet", UDP.format("(1,40)"),
                        "--fail-on-loss")  # fmt: skip
        assert result.returncode == 0, result.stdout
        found = answer(result.stdout)
        assert (found["received"], found["lost"], found["foreign"]) == (count, 0, 0)
        assert (found["duplicated"] is None) == (sequence == "--no-sequence")


def test_short_packets_come_back_padded(uspnet, qemu):
    port = "qemu:e1000e,loop=on"
    result = uspnet("pktgen", port, "-c", "20", "--size", "42", "--rx-port", port, "--json",
                    "--no-sequence", "--fail-on-loss")  # fmt: skip
    assert result.returncode == 0, result.stdout
    found = answer(result.stdout)
    assert found["received"] == 20
    assert found["ports"][0]["rx_errors"] == 0  # QEMU's model calls them undersized, and pads them


@pytest.mark.parametrize("sequence", ["--sequence", "--no-sequence"])
def test_packets_of_others_are_not_taken_for_ours(uspnet, sequence):
    result = uspnet("pktgen", "null:", "-c", "10", "--rx-port", "null:size=60", "--json", sequence)
    found = answer(result.stdout)
    assert (found["received"], found["lost"]) == (0, 10)
    assert found["foreign"] > 0


def test_size_pads_what_scapy_makes(sent):
    names = ("frame.len", "ip.len", "udp.length")
    got = sent("-c", "1", "--size", "200", "--packet", UDP.format(9), names=names)
    assert got == [("200", "186", "166")]


RATES = [("100k", "1", 100_000), ("14.88Mpps", "0.5", 7_440_000), ("3pps", "1", 3),
         ("1.5k", "0.001", 1)]  # fmt: skip


@pytest.mark.parametrize(("rate", "duration", "packets"), RATES)
def test_all_that_a_rate_asks_for_is_sent(uspnet, rate, duration, packets):
    result = uspnet("pktgen", "null:", "--rate", rate, "--duration", duration, "--json")
    found = answer(result.stdout)
    assert found["offered"] == packets
    assert found["sent"] + found["unsent"] == packets
    if packets < 1_000_000:  # which any machine keeps up with
        assert found["sent"] == packets


def test_what_a_rate_asks_for_beyond_32_bits_is_counted(uspnet):
    result = uspnet("pktgen", "null:", "--rate", "1e12pps", "--duration", "0.05", "--json")
    found = answer(result.stdout)
    assert found["offered"] == 50_000_000_000
    assert found["sent"] + found["unsent"] == found["offered"]


def test_a_rate_for_ever_is_no_more_than_can_be_counted(uspnet):
    words = ("--rate", "1e12pps", "--duration", "1e9", "-c", "7", "--json")
    result = uspnet("pktgen", "null:", *words)
    assert result.returncode == 0, result.stderr
    assert answer(result.stdout)["sent"] == 7


def test_a_rate_that_is_not_kept_is_loss(uspnet):
    words = ("--rate", "1e12pps", "--duration", "0.05", "--fail-on-loss")
    result = uspnet("pktgen", "null:", *words)
    assert result.returncode == 4
    assert "did not arrive" in result.stderr
    assert "unsent" in result.stdout
    result = uspnet("pktgen", "null:", *words, "--json")
    assert result.returncode == 4
    found = answer(result.stdout)
    assert (found["error"], found["command"]) == ("Loss", "pktgen")


def test_without_a_rate_nothing_is_unsent(uspnet):
    result = uspnet("pktgen", "null:", "--duration", "0.1", "--fail-on-loss", "--json")
    assert result.returncode == 0
    found = answer(result.stdout)
    assert found["offered"] == found["sent"] > 0


def test_a_count_ends_a_rate(uspnet):
    result = uspnet("pktgen", "null:", "--rate", "1M", "-c", "777", "--duration", "30", "--json")
    found = answer(result.stdout)
    assert (found["offered"], found["sent"], found["unsent"]) == (777, 777, 0)
    assert found["ended"] == "count"


@pytest.mark.parametrize(("model", "size"), [("e1000e", 1515), ("virtio-net", 9000)])
def test_a_nic_is_not_given_what_it_does_not_take(uspnet, qemu, model, size):
    result = uspnet("pktgen", f"qemu:{model},loop=on", "--size", str(size), "-c", "5")
    assert result.returncode == 2
    assert "at most 1,514 bytes" in result.stderr
    assert "mtu=" in result.stderr


@pytest.mark.full
def test_a_frame_with_a_tag_may_be_longer(namespace):
    namespace.veth("a", "b")
    text = "Ether()/{}IP(src='1.2.3.4',dst='1.2.3.5')/UDP()"
    cases = [("", 1514, 0), ("Dot1Q()/", 1518, 0), ("Dot1AD()/Dot1Q()/", 1515, 2)]
    for tag, size, code in cases:
        run = namespace.uspnet("pktgen", "packet:a", "--size", size, "-c", 3, "--packet",
                               text.format(tag), check=False)  # fmt: skip
        assert run.returncode == code, run.stderr
    assert "ip link set dev a mtu" in run.stderr


class Full(Null):
    """Takes nothing."""

    def make_queue(self, direction, index):
        queue = super().make_queue(direction, index)
        queue.q.closed = 1
        return queue


@pytest.mark.parametrize(("rate", "unsent"), [(0.0, 0), (1000.0, 100)])
def test_a_run_that_sends_nothing_fails(rate, unsent):
    header = ("02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2", 1, 2)
    traffic = Traffic([udp_template(60, *header)], rate)
    with (
        pytest.raises(DeviceFault, match="nothing was sent") as caught,
        GenerateJob(Full(parse("null:")), Limits(duration=0.1), traffic) as job,
    ):
        job.run()
    partial = caught.value.partial
    assert (partial["sent"], partial["unsent"]) == (0, unsent)
    told = {**partial, "dropped": 7, "drops": {"too_long": 7}, "missed": 3}
    lines = format_summary(told, None)
    assert any(line.startswith("missed 3, dropped 7: too long 7, ") for line in lines)
    assert any("MTU" in line for line in lines)
