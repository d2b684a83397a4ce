# SPDX-License-Identifier: Apache-2.0
"""`pktgen --break`: what is to be wrong is wrong, and nothing else; tshark is the judge."""

from __future__ import annotations

import subprocess
import zlib

import pytest
from scapy.all import IP, UDP, Ether, rdpcap, wrpcap

from tests.support.captures import pcap_frames, write_pcap
from tests.support.identity import answer
from tests.support.tiers import full
from tests.support.waiting import scaled, until
from uspnet.errors import Usage
from uspnet.jobs.traffic import Traffic
from uspnet.packets.breaking import Wrong, read_breaks
from uspnet.packets.craft import craft
from uspnet.packets.frames import udp_frame
from uspnet.ports.qemu import models

MODELS = [name for name, nic in models().items() if "tx-fcs" in nic.options.known()]
HEADER = ("02:00:00:00:00:01", "02:00:00:00:00:02", "198.18.0.1", "198.18.0.2", 1024, 9)
CHECKS = [word for each in ("ip", "udp", "tcp") for word in ("-o", f"{each}.check_checksum:TRUE")]
CHECKS += ["-o", "sctp.checksum:CRC 32c"]
BAD, GOOD = "0", "1"
IPV4 = "Ether()/IP(src='10.0.0.1',dst='10.0.0.2')"
LOAD = "('x'*30)"
STACKS = {
    "udp": f"{IPV4}/UDP()/{LOAD}",
    "tcp": f"{IPV4}/TCP()/{LOAD}",
    "icmp": f"{IPV4}/ICMP()/{LOAD}",
    "udp, ipv6": f"Ether()/IPv6(src='2001:db8::1',dst='2001:db8::2')/UDP()/{LOAD}",
    # 0xfffe, which is 0 made wrong by 1, would be right with these payloads.
    "udp, none": f"{IPV4}/UDP(chksum=0)/Raw({b'x' * 28 + bytes.fromhex('54a0')!r})",
    "udp, ipv6, none": "Ether()/IPv6(src='2001:db8::1',dst='2001:db8::2')/UDP(chksum=0)"
    f"/Raw({b'x' * 28 + bytes.fromhex('0d2e')!r})",
    "icmpv6": f"Ether()/IPv6(src='2001:db8::1',dst='2001:db8::2')/ICMPv6EchoRequest()/{LOAD}",
    "vlan": f"Ether()/Dot1Q(vlan=5)/IP(src='10.0.0.1',dst='10.0.0.2')/TCP()/{LOAD}",
    "ipip": f"{IPV4}/IP(src='10.1.0.1',dst='10.1.0.2')/UDP()/{LOAD}",
    "vxlan": f"{IPV4}/UDP(sport=5)/VXLAN(vni=3)/{IPV4}/UDP()/{LOAD}",
    "gre": f"{IPV4}/GRE(chksum_present=1)/IP(src='10.1.0.1',dst='10.1.0.2')/UDP()/{LOAD}",
    "dns": f"{IPV4}/UDP(dport=53)/DNS(rd=1)/{LOAD}",
    "option": "Ether()/IPv6(src='2001:db8::1',dst='2001:db8::2')/ICMPv6ND_NS()"
    f"/ICMPv6NDOptSrcLLAddr()/{LOAD}",
    "sctp": f"{IPV4}/SCTP()/SCTPChunkData(data='x'*32)",
    "sctp, vxlan": f"{IPV4}/UDP(sport=5)/VXLAN()/{IPV4}/SCTP()/SCTPChunkData(data='x'*32)",
}


def read(file, names):
    """Fields of each packet of a file, by tshark."""
    command = ["tshark", "-r", file, *CHECKS, "-T", "fields", "-E", "separator=;"]
    command += [word for name in names for word in ("-e", name)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=scaled(60))
    return [tuple(line.split(";")) for line in done.stdout.splitlines()]


@pytest.fixture
def seen(uspnet, tmp_path, needs):
    """Runs pktgen into a file; fields of each packet, by tshark."""
    needs("tshark")

    def run(*words, names):
        file = tmp_path / "sent.pcapng"
        run = uspnet("pktgen", "null:", "--dry-run", "-w", str(file), "-c", "6", "--json", *words)
        assert run.returncode == 0, run.stderr
        return read(file, names)

    return run


WRONG = {
    "ip.chksum": ("udp", {"ip.checksum.status": BAD, "udp.checksum.status": GOOD}),
    "udp.chksum": ("udp", {"ip.checksum.status": GOOD, "udp.checksum.status": BAD}),
    "tcp.chksum": ("tcp", {"ip.checksum.status": GOOD, "tcp.checksum.status": BAD}),
    "icmp.chksum": ("icmp", {"ip.checksum.status": GOOD, "icmp.checksum.status": BAD}),
    "ip.chksum,tcp.chksum": ("vlan", {"ip.checksum.status": BAD, "tcp.checksum.status": BAD}),
    "udp.chksum ": ("udp, ipv6", {"udp.checksum.status": BAD}),
    " udp.chksum": ("udp, none", {"ip.checksum.status": GOOD, "udp.checksum.status": BAD}),
    " udp.chksum ": ("udp, ipv6, none", {"udp.checksum.status": BAD}),
    "udp.len ": ("udp, none", {"ip.checksum.status": GOOD, "udp.checksum": "0x0000"}),
    "icmp6.cksum": ("icmpv6", {"icmpv6.checksum.status": BAD}),
    "ip#2.chksum": ("ipip", {"ip.checksum.status": f"{GOOD},{BAD}", "udp.checksum.status": GOOD}),
    "ip.len": ("udp", {"ip.checksum.status": GOOD, "ip.len": "66", "udp.checksum.status": GOOD}),
    "ip.len=30": ("udp", {"ip.checksum.status": GOOD, "ip.len": "30"}),
    "ip.flags": ("udp", {"ip.checksum.status": GOOD}),
    "udp.len": ("udp", {"ip.checksum.status": GOOD, "ip.len": "58", "udp.length": "46"}),
    "udp.len=4": ("udp", {"ip.checksum.status": GOOD, "udp.length": "4"}),
    "ip.ttl=0": ("udp", {"ip.checksum.status": GOOD, "ip.ttl": "0", "udp.checksum.status": GOOD}),
    "ipv6.plen": ("udp, ipv6", {"ipv6.plen": "46"}),
    "ip.version=5": ("udp", {"ip.version": "5"}),
}
UDP_SUMS = "udp.checksum.status"
AROUND = {  # checksums further outside, and those that are none of the Internet's, are right
    "dns.qdcount=9": ("dns", {UDP_SUMS: GOOD, "dns.count.queries": "9"}),
    "udp#2.chksum": ("vxlan", {UDP_SUMS: f"{GOOD},{BAD}", "ip.checksum.status": f"{GOOD},{GOOD}"}),
    "udp#2.len=4": ("vxlan", {UDP_SUMS: GOOD, "udp.length": "88,4"}),
    "ip#2.ttl=0": ("vxlan", {UDP_SUMS: f"{GOOD},{GOOD}", "ip.checksum.status": f"{GOOD},{GOOD}"}),
    "ip#2.len=30,udp.chksum,udp#2.chksum=5": ("vxlan", {"ip.len": "108,30", UDP_SUMS: f"{BAD},2"}),
    "udp.chksum ,ip#2.chksum": ("gre", {"gre.checksum.status": GOOD, UDP_SUMS: BAD}),
    "icmpv6ndoptsrclladdr.type=200": ("option", {"icmpv6.checksum.status": GOOD}),
    "sctp.tag=7": ("sctp", {"sctp.checksum.status": GOOD, "sctp.verification_tag": "0x00000007"}),
    "sctp.chksum": ("sctp", {"sctp.checksum.status": BAD}),
    "sctp.dport": ("sctp, vxlan", {UDP_SUMS: GOOD, "sctp.checksum.status": GOOD}),
}


def test_what_is_broken_is_wrong_and_all_else_is_right(tmp_path, needs):
    needs("tshark")
    file = tmp_path / "wrong.pcap"
    cases = WRONG | AROUND
    names = sorted({name for _, expected in cases.values() for name in expected})
    for text, (stack, _) in cases.items():
        traffic = Traffic(craft(STACKS[stack]))
        traffic.break_packets(Wrong(read_breaks([text])))
        (template,) = traffic.templates
        load = template.rebuild(len(template.frame) - 18, b"another checksum!!")
        wrpcap(str(file), [Ether(template.frame), Ether(load)], append=True)
    rows = iter(read(file, names))
    for text, (_, expected) in cases.items():
        for _ in "template", "numbered":
            row = dict(zip(names, next(rows), strict=True))
            assert {name: row[name] for name in expected} == expected, text


def test_a_checksum_stays_wrong_by_the_same_while_it_follows_what_varies(seen):
    names = ["ip.src", "udp.srcport", "ip.checksum.status", "udp.checksum.status"]
    got = seen("--break", "ip.chksum,udp.chksum", "--vary", "ip.src=10.0.0.0/8:random", "--vary",
               "udp.sport=1024-65535:random", "--sequence", names=names)  # fmt: skip
    assert len(set(got)) == 6
    assert {row[2:] for row in got} == {(BAD, BAD)}


@pytest.mark.parametrize(("every", "pattern"), [(1, "000000"), (2, "101010"), (3, "110110"),
                                                (6, "111110"), (4, "111011")])  # fmt: skip
def test_every_nth_packet_is_broken(every, pattern):
    rights = [craft(STACKS[name])[0] for name in ("udp", "tcp", "vlan")]
    traffic = Traffic(rights)
    traffic.break_packets(Wrong(read_breaks(["ip.chksum"]), every))
    order = traffic.order or range(len(traffic.templates))
    frames = [traffic.templates[at].frame for at in [*order] * 6][:6]
    sent = [right.frame for right in rights] * 2
    assert [str(int(f == r)) for f, r in zip(frames, sent, strict=True)] == [*pattern]
    assert [len(f) for f in frames] == [len(f) for f in sent]


def test_a_runt_is_the_beginning_of_its_packet(uspnet, tmp_path):
    file = tmp_path / "x.pcap"
    run = uspnet("pktgen", f"pcap:out={file}", "-c", "4", "--break", "runt=18", "--json",
                 "--break-every", "2")  # fmt: skip
    result = answer(run.stdout)
    assert (result["sent"], result["asked"]["broken"]) == (4, ["runt=18"])
    right = udp_frame(60, *HEADER)
    assert [bytes(each) for each in rdpcap(str(file))] == [right, right[:18]] * 2


def test_python_breaks_templates():
    traffic = Traffic(craft(STACKS["udp"]))
    right = traffic.templates[0].frame
    traffic.break_packets(Wrong(read_breaks(["ip.len=99, udp.chksum"]), 2))
    assert (traffic.templates[0].frame, traffic.order) == (right, (0, 1))
    wrong = Ether(traffic.templates[1].frame)
    fresh = Ether(right)
    fresh[IP].len = 99
    del fresh[IP].chksum
    fresh[UDP].chksum = wrong[UDP].chksum
    assert bytes(fresh) == traffic.templates[1].frame
    assert wrong[UDP].chksum != Ether(right)[UDP].chksum


@pytest.mark.parametrize("model", MODELS)
def test_a_wrong_fcs_is_sent_and_a_right_one_between(uspnet, far, tmp_path, qemu, model):
    spec = f"qemu:{model},wire={tmp_path}/wire"
    result = uspnet("pktgen", spec, "-c", "4", "--break", "fcs", "--break-every", "2", "--json",
                    "--rate", "100")  # fmt: skip
    assert result.returncode == 0, result.stderr
    told = answer(result.stdout)
    assert told["l1_bps"] == pytest.approx(84 * 8 * told["pps"])  # the FCS is counted once
    until(lambda: far.take() or len(far.got) >= 4)
    plain = udp_frame(60, *HEADER)
    right = zlib.crc32(plain).to_bytes(4, "little")
    wrong = (zlib.crc32(plain) ^ 0xFFFFFFFF).to_bytes(4, "little")
    assert far.got == [plain + right, plain + wrong] * 2


@pytest.mark.parametrize("model", MODELS)
def test_a_runt_is_sent_as_short_as_it_is(uspnet, far, tmp_path, qemu, model):
    """With its IP header whole, which some of QEMU's models look for."""
    spec = f"qemu:{model},wire={tmp_path}/wire"
    result = uspnet("pktgen", spec, "-c", "2", "--break", "runt", "--json", "--rate", "100")
    assert result.returncode == 0, result.stderr
    until(lambda: far.take() or len(far.got) >= 2)
    assert far.got == [udp_frame(60, *HEADER)[:40]] * 2


REPLAYED = [text for text in WRONG if "icmp" not in text and "#" not in text]
FEW = [
    "udp.chksum",
    " udp.chksum",
    " udp.chksum ",
    "ip.chksum,tcp.chksum",
    "ip.len",
    "ip.flags",
    "udp.len",
    "ipv6.plen",
]


@pytest.mark.parametrize("case", [(FEW, []), *full((REPLAYED, []), (REPLAYED, ["--vlan", "7"]))])
def test_a_replay_breaks_packets_as_they_are_broken_when_we_make_them(uspnet, tmp_path, case):
    texts, vlan = case
    tag = bytes.fromhex("81000007") if vlan else b""
    for text in texts:
        stack, _ = WRONG[text]
        traffic = Traffic(craft(STACKS[stack]))
        right = traffic.templates[0].frame
        traffic.break_packets(Wrong(read_breaks([text])))
        assert traffic.templates[0].frame != right
        write_pcap(tmp_path / "in.pcap", [right, right, b"\xff" * 60])
        out = f"pcap:out={tmp_path}/out.pcap,format=pcap"
        words = ["--replay", f"{tmp_path}/in.pcap", "--topspeed", "--break", text, *vlan]
        if stack == "vlan" and vlan:
            continue
        run = uspnet("pktgen", out, *words, "--break-every", "2", "--loop", "2", "--json")
        told = answer(run.stdout)
        assert told["asked"]["broken"] == text.strip().split(","), run.stderr
        assert set(told["broken"].values()) == {2}
        got = pcap_frames(tmp_path / "out.pcap")
        wrong = traffic.templates[0].frame
        sent = [each[:12] + tag + each[12:] for each in (right, wrong)]
        assert [got[0], got[1], got[3], got[4]] == [sent[0], sent[1], sent[1], sent[0]], text


def test_a_checksum_that_is_given_does_not_depend_on_what_else_is_broken(uspnet, tmp_path):
    sent = []
    for stack, text, at in (
        ("udp, none", "ip.version", 40),
        ("udp, ipv6, none", "ipv6.version", 60),
    ):
        write_pcap(tmp_path / "in.pcap", [craft(STACKS[stack])[0].frame])
        for breaks in ("udp.chksum", f"{text},udp.chksum"):
            out = f"pcap:out={tmp_path}/out.pcap,format=pcap"
            words = ["--replay", f"{tmp_path}/in.pcap", "--topspeed", "--break", breaks]
            assert uspnet("pktgen", out, *words).returncode == 0
            sent.append(pcap_frames(tmp_path / "out.pcap")[0][at : at + 2])
    assert sent[0] == sent[1]
    assert sent[2] == sent[3]


def test_a_replayed_runt_is_the_beginning_of_its_packet(uspnet, tmp_path):
    frames = [bytes([number]) * 60 for number in range(3)] + [bytes(30)]
    write_pcap(tmp_path / "in.pcap", frames)
    out = f"pcap:out={tmp_path}/out.pcap,format=pcap"
    run = uspnet("pktgen", out, "--replay", f"{tmp_path}/in.pcap", "--topspeed", "--break", "runt")
    assert "broken runt: 3" in run.stdout
    assert [bytes(each) for each in rdpcap(str(tmp_path / "out.pcap"))] == [
        *(frame[:40] for frame in frames[:3]),
        bytes(30),
    ]
    assert [each.wirelen for each in rdpcap(str(tmp_path / "out.pcap"))] == [40, 40, 40, 30]


REFUSED = [
    ("runt=60", "a runt has 18 to 59 bytes"),
    ("runt=x", "not a number"),
    ("runt=50", "the packet has 46 bytes"),
    ("tcp.chksum", "--break tcp.chksum: the packet has no layer tcp"),
    ("udp.chksum,udp.chksum", "given twice"),
    ("everything", "not the name of a field"),
    ("fcs=1", "has no value"),
    ("ip.src", "an address"),
    ("ip.len=65536", "does not fit into 16 bits"),
    ("ip.len=0x" + "f" * 4000, "ip.len=0xf+…: no field has more than 64 bits"),
    ("ip.len=-1", "does not fit into 16 bits"),
]


@pytest.mark.parametrize(("text", "told"), REFUSED)
def test_what_can_not_be_broken_is_refused(text, told):
    traffic = Traffic(craft(f"{IPV4}/UDP()/('x'*4)"))
    with pytest.raises(Usage, match=told) as error:
        traffic.break_packets(Wrong(read_breaks([text])))
    assert error.value.hint
    assert "--vary" not in str(error.value) + error.value.hint


CONFLICTS = [
    (["null:", "--break", "fcs"], "an FCS of their own"),
    (["null:", "--break", "runt", "--rx-port", "null:"], "sequence number"),
    (["null:", "--break", "ip.len", "--vary", "ip.len=1-9"], "--vary"),
    (["null:", "--break", "udp.chksum=0", "--vary", "udp.sport=1-9"], "the checksum follows"),
    (["null:", "--break", "udp.chksum", "--vary", "udp.sport=1-9", "--packet",
      f"{IPV4}/UDP(chksum=0)"], "there is none, chksum=0"),
    (["null:", "--break-every", "3"], "needs --break"),
    (["qemu:e1000,loop=on", "--break", "fcs", "--replay", "x.pcap"], "no FCS of packets that are"),
    (["null:", "--break", "icmp.id", "--replay", "x.pcap"], "not a field that is broken"),
    (["null:", "--break", "ip.ihl=16", "--replay", "x.pcap"], "does not fit into 4 bits"),
    (["qemu:e1000,loop=on", "--break", "fcs", "--answer", "10.0.0.1"], "--answer conflicts"),
    (["qemu:e1000,loop=on", "--break", "fcs", "--break-every", "2", "--vary",
      "ip.src=10.0.0.0/8"], "the right FCS"),
]  # fmt: skip


@pytest.mark.parametrize(("words", "told"), CONFLICTS)
def test_what_makes_no_sense_is_refused(uspnet, words, told):
    result = uspnet("pktgen", *words, "-c", "5")
    assert (result.returncode, result.stdout) == (2, "")
    assert told in " ".join(result.stderr.split())
    assert "hint: " in result.stderr


def test_packets_with_wrong_checksums_come_back_and_are_measured(uspnet, qemu):
    port = "qemu:e1000e,loop=on"
    result = uspnet("pktgen", port, "--rx-port", port, "-c", "200", "--rate", "10k", "--break",
                    "ip.chksum,udp.chksum", "--break-every", "2", "--json")  # fmt: skip
    seen = answer(result.stdout)
    assert (seen["received"], seen["lost"]) == (200, 0)
    port += ",rx-checksum=on"
    result = uspnet("pktgen", port, "--rx-port", port, "-c", "200", "--rate", "10k", "--break",
                    "ip.chksum", "--break-every", "2", "--json")  # fmt: skip
    seen = answer(result.stdout)
    assert (seen["received"], seen["lost"]) == (100, 100)
    assert seen["ports"][0]["drops"] == {"bad_checksum": 100}
