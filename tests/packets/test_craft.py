# SPDX-License-Identifier: Apache-2.0
"""Scapy expressions make packets; everything else is refused before it can run."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scapy.layers.inet import IP, UDP
from scapy.layers.l2 import Ether

from tests.support.waiting import scaled
from uspnet.errors import Usage
from uspnet.packets.craft import FRAMES_MAX, craft
from uspnet.packets.guard import at_most

FROM_TO = "IP(src='1.2.3.4',dst='1.2.3.5')"


def one(text, size=None):
    (template,) = craft(text, size)
    return template.frame, template.payload


def test_an_expression_is_what_scapy_makes_of_it():
    text = "Ether(dst='02:00:00:00:00:02', src='02:00:00:00:00:01')/IP(dst='198.18.0.2',"
    text += " src='198.18.0.1', ttl=3)/UDP(sport=7, dport=9)/('x'*18)"
    ether = Ether(dst="02:00:00:00:00:02", src="02:00:00:00:00:01")
    ip = IP(dst="198.18.0.2", src="198.18.0.1", ttl=3)
    assert one(text) == (bytes(ether / ip / UDP(sport=7, dport=9) / ("x" * 18)), 18)


def test_addresses_are_never_asked_for_on_the_network():
    frame, _ = one("Ether()/IP(dst='198.18.0.2')/UDP()")
    assert frame[:12].hex() == "020000000002" + "020000000001"


def test_options_lists_and_bytes_can_be_written():
    frame, payload = one(f"Ether()/{FROM_TO}/TCP(options=[('MSS',1460)])")
    assert (len(frame), payload) == (58, 0)
    frame, payload = one("Ether(dst='02:00:00:00:00:02', type=5)/Raw(b'\\xff')")
    assert (frame[-1:], payload) == (b"\xff", 1)


def test_tuples_stay_tuples():
    options = "[('message-type','discover'),('param_req_list',[1,3,6]),('hostname','lab'),'end']"
    frame, _ = one(f"Ether()/{FROM_TO}/UDP(sport=68,dport=67)/BOOTP(xid=7)/DHCP(options={options})")
    assert frame.endswith(bytes.fromhex("6382536335010137030103060c036c6162ff"))
    options = "[('MSS',1460),('NOP',None),('SAckOK',b''),('Timestamp',(1,2)),('EOL',None)]"
    frame, _ = one(f"Ether()/{FROM_TO}/TCP(options={options})")
    assert frame[54:].hex() == "020405b4010402080a0000000100000002000000"


VALUES = [
    ("UDP(dport=[53,123])", [53, 123]),
    ("UDP(dport=(5,8))", [5, 6, 7, 8]),
    ("UDP(dport=(1,9,4))", [1, 5, 9]),
    ("UDP(dport=[7,(1,2),(8,9)])", [7, 1, 2, 8, 9]),
]


@pytest.mark.parametrize(("text", "values"), VALUES)
def test_each_value_makes_a_packet(text, values):
    made = [Ether(each.frame)[UDP].dport for each in craft(f"Ether()/{FROM_TO}/{text}/'x'")]
    assert made == values


@pytest.mark.parametrize("text", ["'198.18.0.0/30'", "('198.18.0.0','198.18.0.3')",
                                  "Net('198.18.0.0/30')"])  # fmt: skip
def test_networks_are_all_their_addresses(text):
    made = [Ether(each.frame)[IP].dst for each in craft(f"Ether()/IP(src='1.2.3.4',dst={text})")]
    assert made == [f"198.18.0.{i}" for i in range(4)]


def test_values_are_combined():
    made = craft("Ether()/Dot1Q(vlan=(1,3))/IP(src='1.2.3.4',dst=['1.1.1.1','2.2.2.2'])/UDP()")
    assert len({each.frame for each in made}) == len(made) == 6


TOO_MANY = ["IP(dst='10.0.0.0/8')", "IPv6(dst='2001:db8::/32')", "UDP(dport=(0,65535))",
            "UDP(sport=(1,200),dport=(1,200))", "Dot1Q(vlan=(3,1))",
            "IP(dst='1.2.3.4')/UDP(dport=(1,16000))/('x'*9000)"]  # fmt: skip


@pytest.mark.parametrize("text", TOO_MANY)
def test_more_packets_than_can_be_kept_are_refused(text):
    with pytest.raises(Usage, match="packets"):
        craft(f"Ether()/{text}")
    assert FRAMES_MAX >= 4096


def test_padding_makes_every_length_right():
    frame, payload = one(f"Ether()/{FROM_TO}/UDP()/'x'", 100)
    assert (len(frame), payload) == (100, 58)
    assert Ether(frame)[UDP].len == 66
    frame, payload = one(f"Ether()/{FROM_TO}/TCP()", 60)
    assert (Ether(frame)[IP].len, payload) == (46, 6)
    with pytest.raises(Usage, match="--size 40"):
        craft(f"Ether()/{FROM_TO}/UDP()/'x'", 40)


def test_a_payload_can_be_changed():
    (template,) = craft(f"Ether()/{FROM_TO}/UDP()/('x'*20)")
    frame = template.rebuild(44, b"abc")
    assert frame[42:50] == b"xxabcxxx"
    assert frame == one(f"Ether()/{FROM_TO}/UDP()/'xxabc{'x' * 15}'")[0]
    assert template.rebuild(42, b"x") == template.frame


def test_checksums_written_out_follow_only_when_they_are_right():
    text = f"Ether()/{FROM_TO}/UDP(chksum={{}})/('x'*20)"
    right = int.from_bytes(one(f"Ether()/{FROM_TO}/UDP()/('x'*20)")[0][40:42], "big")
    (template,) = craft(text.format(right))
    assert template.rebuild(42, b"y")[40:42] != template.frame[40:42]
    (template,) = craft(text.format(7))
    assert template.rebuild(42, b"y")[40:42] == b"\0\7"


def test_a_frame_can_be_written_as_bytes():
    whole, _ = one(f"Ether()/{FROM_TO}/UDP(sport=1,dport=2)/('x'*20)")
    (template,) = craft(f"Raw({whole!r})")
    assert (template.frame, template.payload) == (whole, 20)
    assert template.rebuild(42, b"y" * 20)[40:42] != whole[40:42]


@pytest.mark.parametrize(
    ("text", "message", "hint"),
    [
        ("IP(dst='1.2.3.4')/UDP()", "IP is no link layer", "Ether()/IP"),
        ("IPv6(dst='::1')/UDP()", "IPv6 is no link layer", "Ether()/IPv6"),
        ("ARP()", "ARP is no link layer", "Ether()/ARP"),
        ("Dot1Q()/IP()", "Dot1Q is no link layer", "Ether()/Dot1Q"),
        ("Dot11()/IP()", "Dot11 is the link layer of another kind", "begin with Ether()"),
        ("RadioTap()/Dot11()", "RadioTap is the link layer", "begin with Ether()"),
        ("CookedLinux()/IP()", "CookedLinux is the link layer", "begin with Ether()"),
        ("Ether()/IP(src=RandString())", "no layer 'RandString'", "write a list"),
        ("Ether()/IP(src=[RandIP()])", "can't be drawn from a list", "RandNum(1,9)"),
        ("Ether()/IP(src=RandIP())", "drawn for each packet", "craft_changing"),
        ("Ether()/IP(ttl=RandNum())", "RandNum draws from a range", "RandNum(1,9)"),
        ("Ether()/UPD()", "no layer 'UPD'", "UDP"),
        ("Ether()/OFPTHello()", "openflow and scapy.contrib.openflow3", "openflow3.OFPTHello()"),
        ("Ether()/nothere.MPLS()", "no layer 'nothere.MPLS'", "MPLS"),
    ],
)
def test_what_is_no_packet_for_ethernet_is_named(text, message, hint):
    with pytest.raises(Usage) as caught:
        craft(text)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_ieee_802_3_is_ethernet():
    frame, _ = one("Dot3()/LLC(dsap=0x42,ssap=0x42,ctrl=3)/STP()")
    assert frame[:14].hex() == "020000000002" + "020000000001" + f"{len(frame) - 14:04x}"


CONTRIB = [
    ("Ether()/MPLS(label=16,s=1,ttl=9)/IP(dst='1.2.3.4')", "00010109", 14),
    (f"Ether()/{FROM_TO}/UDP()/GTP_U_Header(teid=5)/IP(dst='2.2.2.2')", "30ff001400000005", 42),
    (f"Ether()/{FROM_TO}/UDP()/gtp.GTPHeader(teid=6)", "3000000000000006", 42),
    ("Ether()/LLDPDUTimeToLive(ttl=5)", "06020005", 14),
]


@pytest.mark.parametrize(("text", "bytes_", "at"), CONTRIB)
def test_layers_of_other_modules(text, bytes_, at):
    script = f"from uspnet.packets.craft import craft; print(craft({text!r})[0].frame[{at}:].hex())"
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=scaled(60),
    )
    assert done.stdout.startswith(bytes_)
    assert done.stderr == ""


NAMES = [
    "IP(dst='nowhere.example')", "IP(src='nowhere.example',dst='1.2.3.4')",
    "IP(dst='nowhere.example/24')", "IP(dst=Net('nowhere.example'))", "IP(dst=['1.2.3.4','a.bc'])",
    "IPv6(dst='nowhere.example')", "IPv6(dst=Net6('nowhere.example/64'))", "IP(dst='localhost')",
    "ARP(pdst='nowhere.example')", "IP(dst=('1.2.3.4','nowhere.example'))",
]  # fmt: skip


@pytest.mark.parametrize("text", NAMES)
def test_names_are_not_looked_up(monkeypatch, text):
    def look_up(*_):
        raise AssertionError("a name was looked up")

    monkeypatch.setattr(socket, "gethostbyname", look_up)
    with pytest.raises(Usage, match="is a host name") as caught:
        craft(f"Ether()/{text}")
    assert "address" in caught.value.hint


def test_mac_addresses_are_addresses():
    """Scapy takes what it can't read for raw bytes, without a word."""
    texts = ("02-00-00-00-00-07", "2:0:0:0:0:7")
    for text in texts:
        assert craft(f"Ether(dst='{text}')")[0].frame[:6] == bytes([2, 0, 0, 0, 0, 7])
    made = craft(f"Ether(dst=['{texts[0]}','02:00:00:00:00:08'])/ARP(hwsrc='{texts[0]}')")
    assert [each.frame[5] for each in made] == [7, 8]
    assert made[0].frame[22:28] == bytes([2, 0, 0, 0, 0, 7])
    assert craft("Ether(dst=b'abcdef')")[0].frame[:6] == b"abcdef"
    for wrong in ("'foo'", "'0200.0000.0007'", "5", "['02:00:00:00:00:01','x']", "b'ab'"):
        with pytest.raises(Usage, match="not a MAC address"):
            craft(f"Ether(dst={wrong})")
    with pytest.raises(Usage, match="not a MAC address"):
        craft("Ether()/IP()/UDP()/VXLAN()/Ether(src='foo')")


def test_outside_of_an_expression_names_can_be_looked_up():
    with contextlib.suppress(Usage):
        craft("Ether()/IP(dst='nowhere.example')")
    assert socket.getaddrinfo("localhost", None)


def test_no_packet_is_sent_and_nothing_is_printed(needs, tmp_path):
    needs("strace")
    trace = tmp_path / "trace"
    text = "Ether()/IPv6(dst='2001:db8::1')/UDP()/Ether(dst='02:00:00:00:00:02')/IP(dst='1.2.3.4')"
    command = ["strace", "-f", "-e", "trace=network", "-o", trace, sys.executable, "-m", "uspnet",
               "pktgen", "null:", "-c", "1", "--quiet", "--packet", text]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=scaled(120))
    assert (done.stdout, done.stderr) == ("", "")
    for line in trace.read_text().splitlines():
        assert "sa_family=AF_INET" not in line
        assert "sa_family=AF_PACKET" not in line


HOSTILE = [
    "__import__('os')",
    "__import__('os').system('true')",
    "Ether().__class__",
    "Ether.__class__()",
    "Ether(dst=open('/etc/hostname').read())",
    "[c for c in ().__class__.__base__.__subclasses__()]",
    "(lambda: Ether())()",
    "Ether()/exec('1')",
    "eval('Ether()')",
    "f'{Ether()}'",
    "Ether() if True else IP()",
    "(x := Ether())",
    "Ether(**{'dst': 1})",
    "Ether(*[1])",
    "sniff()",
    "send(IP())",
    "os.system('true')",
    "socket.socket()",
    "conf",
    "'x' * 10**12",
    "Ether()/('x' * 99999999)",
    "Ether()/('x' * 65536)",
    "Ether()/(('x' * 60000) * 60000)",
    "Ether()/('x' * 60000)/('x' * 60000)",
    "1",
    "'Ether()'",
    "",
    "Ether(",
    "Ether()/",
    "Ether()/...",
    "Ether(nosuchfield=1)",
    "Ether()/NoSuchLayer()",
    "Ether(); IP()",
    "\0",
    "Ether(type=10**10**10)",
    "Ether(type=0x" + "f" * 60000 + ")",
    "Ether(type=" + "9" * 5000 + ")",
    "IP(dst='198.18.0.2')/IP()/" * 3,
    "(" * 5000,
    "[" * 150 + "]" * 150,
    "-" * 5000 + "1",
    "-" * 30000 + "1",
    "Ether()" + "/IP(dst='1.2.3.4')" * 600,
    "Ether(src=[" + "1," * 30000 + "])",
    "Ether()/('x'*" + "1*" * 3000 + "1)",
    "x" * 100000,
    "a." * 30000 + "a",
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_everything_else_is_refused(text):
    with pytest.raises(Usage) as caught:
        craft(text)
    assert caught.value.message.startswith("--packet: ")
    assert len(caught.value.message) < 300
    assert caught.value.hint


@given(st.text(alphabet="Ether()IP/'x*18[],=_.\\ \n", max_size=40))
def test_any_text_is_a_frame_or_a_usage_error(text):
    with contextlib.suppress(Usage):
        for template in craft(text):
            assert len(template.frame) >= 14
            assert template.payload <= len(template.frame)


def test_code_that_does_not_end_is_ended():
    caught = 0
    with pytest.raises(Usage, match="too long"), at_most(0.05, "too long", ""):  # noqa: PT012
        while True:
            try:
                while True:
                    pass
            except Usage:  # as code that isn't ours may do
                caught += 1
                if caught == 3:
                    raise
    assert caught == 3


def test_a_packet_can_be_made_in_any_thread():
    made = []
    thread = threading.Thread(target=lambda: made.extend(craft("Ether()/IP(dst='1.2.3.4')")))
    thread.start()
    thread.join()
    assert len(made) == 1
