# SPDX-License-Identifier: Apache-2.0
"""What `pktgen` sends when it makes packets itself, and the job that sends it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from uspnet.errors import Usage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from uspnet.jobs.generate import GenerateJob
    from uspnet.jobs.plan import Limits
    from uspnet.jobs.saving import Files
    from uspnet.jobs.traffic import Traffic
    from uspnet.packets.answering import AnswerNet
    from uspnet.packets.fields.field import Field
    from uspnet.packets.frames import Template
    from uspnet.packets.given import Given
    from uspnet.packets.sizes import Sizes
    from uspnet.packets.streams import Weighted
    from uspnet.packets.vary.change import Change
    from uspnet.port import Port

HEADER = ("src_mac", "dst_mac", "src_ip", "dst_ip", "src_port", "dst_port")


def offered(
    packets: Sequence[Weighted | Given],
    header: tuple[str | int, ...],
    sizes: Sizes | None,
    few: Sequence[int],
    *,
    alike: bool,
) -> tuple[list[Template], Change, tuple[int, ...]]:
    """Return what to send, `packets` or UDP/IPv4 of this header; what changes in them by what they
    say themselves; and the order of several. `few`: the sizes to make, if they are not all.
    `alike`: nothing is to change in them, so that Scapy need not make or read them. Raise Usage.
    """
    from uspnet.packets.frames import udp_expression, udp_template
    from uspnet.packets.streams import Weighted, craft_all
    from uspnet.packets.vary.change import Change

    lengths = sizes.sizes if sizes else (None,)
    templates = [udp_template(size, *header) for size in lengths if size and not packets]
    if not packets and alike:
        return templates, Change(), ()
    udp = [Weighted(udp_expression(*header))]
    turns = sizes.order if sizes else (0,)
    made = [craft_all(packets or udp, size, turns, alike=alike) for size in few or lengths]
    return [each for templates, *_ in made for each in templates], *made[0][1:]


def changing(
    templates: list[Template],
    change: Change,
    sizes: Sizes | None,
    few: Sequence[int] = (),
    order: tuple[int, ...] = (),
) -> Traffic:
    """Return the traffic of templates of these sizes, or in this order, and of what changes in
    them. `few`: the templates' sizes, if those of the others are to follow from them. Raise Usage,
    and NothingFollows.
    """
    from uspnet.jobs.traffic import Traffic
    from uspnet.packets.vary.kinds import compile_kinds

    fields: list[Field] = []
    if change.vary or change.turns:
        templates, programs = compile_kinds(templates, change)
        fields += programs
    if sizes and few:
        templates = others(templates, few, sizes)
    if sizes and not order:
        order = sizes.over(len(templates) // len(sizes.sizes))
    return Traffic(templates, fields=fields, change=change, sizes=sizes, order=order)


def others(templates: Sequence[Template], few: Sequence[int], sizes: Sizes) -> list[Template]:
    """Return templates of all sizes: those of one size stand together, as in `templates`, which
    have a few sizes. Raise NothingFollows.
    """
    from uspnet.packets.resize import resize

    count = len(templates) // len(few)
    columns = [resize(templates[number::count], sizes.sizes) for number in range(count)]
    return [column[at] for at in range(len(sizes.sizes)) for column in columns]


def generating(
    out: Port,
    back: Port | None,
    write: str | None,
    limits: Limits,
    traffic: Traffic,
    files: Files,
    nets: list[AnswerNet],
    *,
    per_flow: bool,
) -> GenerateJob:
    """Return the job that sends traffic to a port; or a dry run, which writes it to a file. `nets`:
    what it answers for; `per_flow`: it measures the order within each flow.
    """
    from uspnet.jobs.capture import make_sink
    from uspnet.jobs.generate import GenerateJob

    if write is None:
        job = GenerateJob(out, limits, traffic, back, files)
        if nets and traffic.wrong.has("fcs") and back in (None, out):
            text = "--answer conflicts with --break fcs: answers would have a wrong FCS, too"
            raise Usage(text, "drop one of them, or answer on another --rx-port")
        if nets:
            job.answer(nets)
        if per_flow:
            job.order_flows()
        return job
    traffic.dry = True
    return GenerateJob(make_sink(write), limits, traffic)


def check_dry(write: str | None, given: set[str], *, dry: bool) -> None:
    """Raise Usage for --dry-run without a file, a file without it, or packets of files."""
    if write is None and dry:
        raise Usage("--dry-run needs a file to write to", "add -w out.pcapng")
    if write is not None and not dry:
        hint = "add --dry-run, which sends nothing; to write what a port receives: uspnet capture"
        raise Usage("-w needs --dry-run", hint)
    for name in sorted(given & {"save", "plot", "lost", "per_flow"}) if dry else ():
        option = "--" + name.replace("_", "-")
        raise Usage(f"{option} conflicts with --dry-run, which measures nothing", f"drop {option}")
    if dry and "answer" in given:
        raise Usage("--answer conflicts with --dry-run, which opens no port", "drop --answer")
    if dry and "replay" in given:
        hint = "write to a file as the port: uspnet pktgen pcap:out=x.pcapng --replay FILE"
        raise Usage("--dry-run conflicts with --replay", hint)


def check_files(written: dict[str, str | None], read: dict[str, list[str] | None]) -> None:
    """Raise Usage for a file that two options would write, or that is read and would be lost.
    Files by option.
    """
    from uspnet.spec import parse

    names = {
        os.path.realpath(parse(path).target if path.startswith("pcap:") else path): option
        for option, paths in read.items()
        for path in paths or ()
    }
    for option, path in written.items():
        if path in (None, "-"):
            continue
        if other := names.get(place := os.path.realpath(path)):
            raise Usage(f"{option} and {other} name one file: {path}", "name another one")
        names[place] = option


def check_header(given: set[str]) -> None:
    """Raise Usage if header options are given beside other packets."""
    for option in sorted(given.intersection({"packet", "pcap"})):
        if both := sorted(given.intersection(HEADER)):
            name = "--" + both[0].replace("_", "-")
            hint = f"drop {name}, and write it in --packet"
            if option == "pcap":
                hint = "drop it, or change the file's packets: --vary mac.src=02:00:00:00:00:01"
            raise Usage(f"{name} conflicts with --{option}", hint)
