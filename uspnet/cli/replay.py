# SPDX-License-Identifier: Apache-2.0
"""The options of `pktgen --replay`, and the job that they make."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

import typer

from uspnet import units
from uspnet.errors import Usage
from uspnet.packets.shape import LINK_BPS
from uspnet.ports.pcap.kinds import Truncated

if TYPE_CHECKING:
    from uspnet.jobs.job import AnyJob
    from uspnet.jobs.plan import Limits
    from uspnet.jobs.replay import Pace
    from uspnet.packets.answering import AnswerNet
    from uspnet.packets.breaking import Wrong
    from uspnet.packets.fields.field import Field
    from uspnet.port import Port
    from uspnet.ports.pcap.source import Source

UNTAGGED, VLAN_MAX = -1, 4094
FOREVER, PASSES_MAX = "forever", (1 << 32) - 1
# Parameters about packets that pktgen makes, and those that --replay alone has.
MADE = (
    "size", "packet", "pcap", "vary", "flows", "zipf", "seed", "src_ip", "dst_ip", "src_port",
    "dst_port",
)  # fmt: skip
MEASURED = ("rx_port", "sequence", "save", "plot", "lost", "per_flow")
SPELT = {"only": "filter", "broken": "break"}
SPLIT = {
    "split_by": ("--split-by", "say what goes to the first port: --split-by 'src net 10.0.0.0/8'"),
    "second_port": ("--second-port", "add the port for all other packets: --second-port PORT"),
}
SHAPES = ("ramp", "burst_size", "burst_gap", "poisson")
OURS = (
    "loop", "map_ip", "map_port", "merge", "only", "second_port", "speed", "split_by", "topspeed",
    "truncated", "vlan",
)  # fmt: skip
PACED = {  # options of the port that are given otherwise
    "timing": "drop it: files are played by their own timing, without --rate and --topspeed",
    "speed": "use --speed",
    "loop": "use --loop",
    "out": "give the file to write as the port: uspnet pktgen pcap:out=x.pcapng --replay FILE",
}
MERGED = "drop it: with --merge, files have the gaps of one stream"
GAPLESS = "drop it: a file has its gaps without --rate and --topspeed"


def passes(text: str | int) -> int:
    """Read a number of passes; 0 stands for `forever`. Raise Unreadable."""
    if text == FOREVER:
        return 0
    try:
        return units.whole(1, PASSES_MAX)(text)
    except units.Unreadable as error:
        raise units.Unreadable(str(error), "write 10, or forever") from None


def vlan_id(text: str | int) -> int:
    """Read a VLAN ID, or `none`, which UNTAGGED stands for. Raise Unreadable."""
    if text == "none":
        return UNTAGGED
    try:
        return units.whole(0, VLAN_MAX)(text)
    except units.Unreadable as error:
        raise units.Unreadable(str(error), "write 0 to 4094, or none") from None


def factor(text: str | float) -> float:
    """Read how much faster to play: 2, 0.5. Raise Unreadable."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 1e-6 <= value <= 1e6:
        raise units.Unreadable("not a factor from 0.000001 to 1000000", "write 2 or 0.5")
    return value


Files = Annotated[
    list[str] | None,
    typer.Option(
        "--replay",
        metavar="FILE",
        help="Send the packets of a capture file by its own timing: pcap or pcapng, compressed or "
        "not, - is stdin; or pcap:FILE with that port's options. May be given several times: "
        "files are played one after another, or with --merge as one.",
    ),
]
Loop = Annotated[
    int,
    typer.Option("--loop", metavar="N", parser=passes, help="Play the files N times, or forever."),
]
Merge = Annotated[
    bool,
    typer.Option(
        "--merge",
        help="Play several files as one, by the times of their packets, as mergecap does, instead "
        "of one after another.",
    ),
]
Speed = Annotated[
    float | None,
    typer.Option(
        "--speed",
        metavar="FACTOR",
        parser=factor,
        help="Play files so much faster than by their own timing: 2 halves the gaps.",
    ),
]
Topspeed = Annotated[
    bool, typer.Option("--topspeed", help="Play files as fast as the port takes their packets.")
]


CutShort = Annotated[
    Truncated,
    typer.Option(
        "--truncated",
        help="Packets that a file has only a part of (captured with a snap length): send that, pad "
        "it with zeros to the length on the wire, or skip them.",
    ),
]
Only = Annotated[
    str | None,
    typer.Option(
        "--filter",
        metavar="FILTER",
        help="Send only those packets of a file that this accepts, in the language of tcpdump's "
        "filters: 'tcp port 80'. It sees packets as they are before they are rewritten.",
    ),
]
SplitBy = Annotated[
    str | None,
    typer.Option(
        "--split-by",
        metavar="FILTER",
        help="Send the packets of a file that this filter accepts to PORT, and all others to "
        "--second-port, as the two sides of a conversation: 'src net 10.0.0.0/8'.",
    ),
]
SecondPort = Annotated[
    str | None,
    typer.Option(
        "--second-port",
        metavar="PORT",
        help="Port for the packets that --split-by does not accept.",
    ),
]
MapIp = Annotated[
    list[str] | None,
    typer.Option(
        "--map-ip",
        metavar="OLD=NEW",
        help="Replace a file's addresses of one network by those of another, in IPv4, IPv6 and "
        "ARP, and update checksums: 10.0.0.0/8=192.168.0.0/16. May be given several times: the "
        "first one that fits an address counts.",
    ),
]
MapPort = Annotated[
    list[str] | None,
    typer.Option(
        "--map-port",
        metavar="OLD=NEW",
        help="Replace a TCP or UDP port of a file, source or destination: 80=8080. May be given "
        "several times.",
    ),
]
Vlan = Annotated[
    int | None,
    typer.Option(
        "--vlan",
        metavar="N",
        parser=vlan_id,
        help="Give a file's packets this VLAN ID, in their outermost tag or a new one; none takes "
        "that tag away.",
    ),
]


@dataclass(frozen=True)
class Rewriting:
    """What is to be rewritten in packets, and made wrong: the values of the options."""

    map_ip: list[str] | None
    map_port: list[str] | None
    vlan: int | None
    src_mac: str
    dst_mac: str
    wrong: Wrong

    def fields(self, given: set[str]) -> list[Field]:
        """Return what rewrites packets, as far as options were `given`. Raise Usage."""
        from uspnet.packets.fields.rewrite import Rewrite, read_net_map, read_port_map
        from uspnet.packets.frames import mac_bytes

        untag = self.vlan == UNTAGGED
        made = Rewrite(
            mac_bytes(self.dst_mac) if "dst_mac" in given else None,
            mac_bytes(self.src_mac) if "src_mac" in given else None,
            [read_net_map(text) for text in self.map_ip or ()],
            [read_port_map(text) for text in self.map_port or ()],
            None if untag else self.vlan,
            untag,
        )
        return [made] if made else []

    def answering(self, nets: list[AnswerNet], given: set[str]) -> bytes:
        """Return the MAC address to answer with for those of `nets` that name none: the one that
        packets get, if options were `given`. Raise Usage: files have packets from any number of
        addresses.
        """
        from uspnet.packets.frames import mac_bytes

        bare = next((each.net for each in nets if not (each.mac or each.silent)), None)
        if bare and "src_mac" not in given:
            text = f"--answer {bare} with --replay: no MAC address to answer with"
            raise Usage(text, f"write {bare}@02:00:00:00:00:01, or add --src-mac")
        return mac_bytes(self.src_mac)


@dataclass(frozen=True)
class Replays:
    """What is to be replayed, and how: the values of the options."""

    files: list[str] | None
    loop: int
    speed: float | None
    topspeed: bool
    truncated: Truncated
    only: str | None
    split_by: str | None
    rewriting: Rewriting
    merge: bool = False

    def check(self, given: set[str]) -> None:
        """Raise Usage for options given beside these that make no sense with them."""
        names = {name: "--" + SPELT.get(name, name.replace("_", "-")) for name in given}
        if not self.files:
            if ours := sorted(given.intersection(OURS)):
                hint = "add --replay FILE, or drop it"
                if ours[0] == "topspeed":
                    hint += ": --rate max is the default"
                raise Usage(f"{names[ours[0]]} needs --replay", hint)
            return
        if made := sorted(given.intersection(MADE)):
            name = names[made[0]]
            hint = f"drop {name}; a file's packets are changed by --map-ip, --map-port, --vlan, "
            hint += "--src-mac, --dst-mac and --break"
            raise Usage(f"{name} conflicts with --replay", hint)
        if measured := sorted(given.intersection(MEASURED)):
            name = names[measured[0]]
            hint = f"drop {name}: packets of files have no sequence numbers, by which others are "
            raise Usage(f"{name} conflicts with --replay", hint + "measured")
        if shapes := sorted(given.intersection(SHAPES)):
            name = names[shapes[0]]
            hint = f"drop {name}: files are played by their own timing, or at a --rate"
            raise Usage(f"{name} conflicts with --replay", hint)
        if len(split := given & SPLIT.keys()) == 1:
            (missing,) = SPLIT.keys() - split
            raise Usage(f"{names[split.pop()]} needs {SPLIT[missing][0]}", SPLIT[missing][1])
        paces = sorted(given.intersection({"rate", "speed", "topspeed"}))
        if len(paces) > 1:
            text = f"{names[paces[0]]} conflicts with {names[paces[1]]}"
            raise Usage(text, "keep one of them")

    def pace(self, rate: units.Rate | None, link: float | None) -> Pace:
        """Return how fast packets are sent. `link`: bits a second that percentages refer to; None:
        the port's own. Raise Usage.
        """
        from uspnet.jobs.replay import Pace
        from uspnet.packets.frames import FRAME_MIN, MeanSize, packets_a_second

        if self.topspeed or (rate and rate.unit == "max"):
            return Pace()
        if rate is None:
            return Pace(speed=self.speed or 1.0)
        size = MeanSize.of([FRAME_MIN])
        packets_a_second(rate, size, link or LINK_BPS)  # which refuses what is out of range
        if rate.unit == "%":
            share = rate.value / 100 * (link or LINK_BPS)
            return Pace(share, "l1", percent=link is None)
        return Pace(rate.value, rate.unit)

    def job(
        self,
        ports: list[Port],
        limits: Limits,
        rate: units.Rate | None,
        link: float | None,
        given: set[str],
        nets: list[AnswerNet],
    ) -> AnyJob:
        """Return the job that sends to `ports`, one or two, and answers there for `nets`. `given`:
        the options on the command line. Raise Usage.
        """
        from uspnet.jobs.replay import Replaying, ReplayJob
        from uspnet.packets.filter import choose_by

        pace = self.pace(rate, link)
        only = None if self.only is None else choose_by(self.only)
        split = None if self.split_by is None else choose_by(self.split_by)
        rewrite = self.rewriting.fields(given)
        wrong = self.rewriting.wrong
        how = Replaying(self.loop or None, pace, rewrite, only, split, self.merge, wrong)
        options = {}
        if pace.speed is not None and not self.merge:
            options = {"timing": "on", "speed": repr(pace.speed)}
        if "truncated" in given:
            options["truncated"] = self.truncated.value
        gaps = MERGED if self.merge else GAPLESS if pace.speed is None else None
        refused = PACED | ({"max-gap": gaps} if gaps else {})
        if "truncated" in options:
            refused |= {"truncated": "drop one of them: --truncated is for all files"}
        files = [source(name, options, refused=refused) for name in self.files or ()]
        job = ReplayJob(ports[0], limits, files, how, *ports[1:])
        if nets:
            job.answer(nets, self.rewriting.answering(nets, given))
        return job


def source(
    name: str, options: dict[str, str], given: str = "--replay", refused: dict[str, str] = PACED
) -> Source:
    """Return the port of a file, with these options and those in its name; `given`: the option that
    names it. Raise Usage.
    """
    from uspnet.ports.pcap.source import Source
    from uspnet.spec import Spec, parse

    if not name or (name[0] == "-" and name != "-"):
        what = "is an option" if name else "is empty"
        raise Usage(f"{given} needs a file name: {name[:40]!r} {what}", f"{given} x.pcapng")
    spec = parse(name) if name.startswith("pcap:") else Spec.of("pcap", name, {})
    for option, hint in refused.items():
        if option in spec.given:
            raise Usage(f"{given} {spec}: not with {option}=", hint)
    return Source(replace(spec, given={**options, **spec.given}))  # named as it was written
