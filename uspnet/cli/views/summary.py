# SPDX-License-Identifier: Apache-2.0
"""Summaries of runs: were packets lost, how many, where and why, how fast, and how close to the
rate that was asked for.

A summary is a list of lines, each a list of phrases, so that lines break only between phrases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from rich.cells import cell_len

from uspnet.cli.views.console import INDENT, join_phrases, wrap_words
from uspnet.cli.views.modes import decided
from uspnet.cli.views.ports import format_unusual
from uspnet.cli.views.returned import back, back_of_stream, delays, losses
from uspnet.cli.views.traced import traced
from uspnet.cli.views.units import format_count, format_rate, format_share, format_time
from uspnet.jobs.result import unintended
from uspnet.packets.frames import l1_bits
from uspnet.packets.sizes import FCS
from uspnet.telemetry import reasons_text
from uspnet.text import printable

Result = dict[str, Any]
Summary = Callable[[Result], list[list[str]]]
STEADY, STEADY_S = 0.95, 0.001  # packets flowed for less of the run, and for as many seconds: the
# rate meanwhile is told, too
REMEDIES = {
    "joined": "GRO frames in tunnels or above 64 KiB can't be segmented: "
    "ethtool -K IFNAME gro off, and at the sender tso off gso off",
    "too_long": "frames longer than a port takes: raise its MTU, or its mtu= or frame= option;"
    " beyond 9,728 bytes, lower the sender's MTU",
}


def summary_of(result: Result) -> list[list[str]]:
    """Return the lines of any run."""
    return SUMMARIES[result["command"]](result)


def generated(result: Result) -> list[list[str]]:
    """Return the lines of `pktgen`."""
    verb = "written" if result["asked"]["dry_run"] else "sent"
    first = f"{verb} {format_count(result['sent'])} of {format_count(result['offered'])} packets"
    ring = f"ring full on first try: {format_count(result['found_ring_full'])}"
    lines = [[first, *loss(result), taken(result)], rates(result), [*drops(result), ring]]
    if pacing := result.get("pacing"):
        lines.append(paced(pacing))
    if broken := result.get("broken"):
        lines.append([f"broken {name}: {format_count(count)}" for name, count in broken.items()])
    lines += map(played, result.get("replayed", []))
    lines += [line for each in result.get("streams", []) for line in streamed(each)]
    if "received" in result:
        lines += back(result)
    if answered := result.get("answered"):
        lines.append(answers(answered))
    lines += losses(result)
    if not (size := result["asked"]["size"] or "0").isdecimal():
        lines.append([f"sizes {size}"])
    return lines + delays(result)


def streamed(each: Result) -> list[list[str]]:
    """Say what was sent of a stream, and how its rate was kept."""
    counted = f"sent {format_count(each['sent'])} of {format_count(each['offered'])}"
    phrases = [f"stream {each['name']}", counted, f"unsent {format_count(each['unsent'])}"]
    lines = [phrases]
    if pacing := each["pacing"]:
        phrases.append(f"asked for {format_rate(pacing['asked_pps'], 'pps')}")
        lines.append(paced(pacing))
    if "received" in each:
        lines.append(back_of_stream(each))
    return lines + delays(each)


def played(each: Result) -> list[str]:
    """Say what was read of a file that is replayed."""
    passes, share = each["passes"], each["share"]
    phrases = [f"file {each['file']}", f"{format_count(each['packets'])} packets"]
    phrases.append(f"{format_count(each['bytes'])} bytes")
    if share is not None and 0 < share < 1:
        phrases.append(f"{share:.0%} of it")
    if passes != 1:
        phrases.append(f"begun {format_count(passes)} times")
    if truncated := each["truncated"]:
        became = {"send": "sent as captured", "pad": "padded with zeros", "skip": "skipped"}
        phrases.append(f"truncated {format_count(truncated)} ({became[each['when_truncated']]})")
    if skipped := each["skipped"]:
        text = f"skipped {format_count(sum(skipped.values()))}: {reasons_text(skipped)}"
        phrases += text.split(", ")
    return phrases


def answers(answered: Result) -> list[str]:
    """Say which requests were answered."""
    said = [f"answered {format_count(answered['arp'])} ARP requests"]
    said.append(f"{format_count(answered['ndp'])} neighbor solicitations")
    if n := answered["unsent"]:
        said.append(f"no room for {format_count(n)}")
    if dropped := answered["drops"]:
        said += f"dropped {format_count(sum(dropped.values()))}: {reasons_text(dropped)}".split(
            ", "
        )
    return said


def captured(result: Result) -> list[list[str]]:
    """Return the lines of `capture`."""
    asked = result["asked"]
    chosen = asked["filter"] is not None or any(asked.get("filters", ()))
    rejected = [f"filtered {format_count(result['filtered'])}"] if chosen else []
    return [
        [f"received {format_count(result['received'])} packets", *loss(result), taken(result)],
        rates(result),
        [f"written {format_count(result['written'])}", *rejected, *drops(result)],
        *left_out(result),
        *([f"file {name}", *writing(result)] for name in result["files"]),
    ]


def writing(result: Result) -> list[str]:
    """Say which way a file was written."""
    return [f"written {result['writing']}"] if result.get("writing") else []


def left_out(result: Result) -> list[list[str]]:
    """Say what a capture lacks because somebody asked for it."""
    lines = []
    if dedup := result.get("deduplicated"):
        phrases = [f"duplicates within {result['asked']['dedup']} {format_count(dedup['packets'])}"]
        phrases.append(f"{format_count(dedup['bytes'])} bytes")
        if forgotten := dedup["forgotten"]:
            phrases.append(f"forgotten {format_count(forgotten)}")
        lines.append(phrases)
    if first := result.get("first"):
        phrases = [f"flows {format_count(first['flows'])}"]
        phrases.append(f"cut behind {result['asked']['first']} {format_count(first['cut_flows'])}")
        phrases.append(f"{format_count(first['packets'])} packets left out")
        phrases.append(f"{format_count(first['bytes'])} bytes")
        if forgotten := first["forgotten"]:
            phrases.append(f"forgotten {format_count(forgotten)}")
        lines.append(phrases)
    if sliced := result.get("sliced"):
        phrases = [
            f"sliced to {result['asked']['slice']} {format_count(sliced['packets'])} packets"
        ]
        lines.append([*phrases, f"{format_count(sliced['bytes'])} bytes cut"])
    return lines


def passed(verb: str, result: Result) -> list[list[str]]:
    """Return the lines of a command whose packets leave again, counted under this name."""
    return [
        [f"{verb} {format_count(result[verb])} packets", *loss(result), taken(result)],
        rates(result),
        drops(result),
        *decided(result),
        *traced(result),
    ]


SUMMARIES: dict[str, Summary] = {
    "pktgen": generated,
    "capture": captured,
    "fwd": partial(passed, "forwarded"),
    "attach": partial(passed, "forwarded"),
    "reflect": partial(passed, "reflected"),
}


def loss(result: Result) -> list[str]:
    """Say how many packets were lost, and which share of those that were meant for us."""
    if result["command"] == "pktgen":
        parts = [("unsent", result["unsent"], result["offered"])]
        if skipped := unintended(result.get("skipped", {})):
            parts.append(("skipped", skipped, result["offered"] + skipped))
        if "received" in result:
            parts.append(("lost", result["lost"], result["sent"]))
    else:
        missed = result["missed"] or 0
        entered = result["received"] + result.get("copied", 0) + missed
        parts = [("lost", unintended(result["drops"]) + missed, entered)]
    return [
        f"{word} {format_count(count)}" + (f" ({format_share(count, whole)})" if count else "")
        for word, count, whole in parts
    ]


def taken(result: Result) -> str:
    """Say how long the run took, and how long it was to take when somebody ended it."""
    asked = result["asked"]["duration_s"]
    cut = asked if result["ended"] in {None, "signal", "error"} else None
    return f"in {format_time(result['elapsed_s'])}" + (f" of {format_time(cut)}" if cut else "")


def rates(result: Result) -> list[str]:
    """Say how fast packets were, and how close to the rate that was asked for."""
    pps, elapsed, active = result["pps"], result["elapsed_s"], result["active_s"]
    phrases = [format_rate(pps, "pps")]
    if (asked := asked_pps(result)) and not result["asked"].get("dry_run"):
        phrases.append(f"{100 * pps / asked:.1f} % of the {format_rate(asked, 'pps')} asked for")
    if STEADY_S < active < STEADY * elapsed:
        meanwhile = format_rate(pps * elapsed / active, "pps")
        phrases.append(f"{meanwhile} while packets flowed ({format_time(active)})")
    phrases.append(format_rate(result["bps"], "bps"))
    if "l1_bps" in result:
        phrases.append(f"L1 {format_rate(result['l1_bps'], 'bps')}")
    return phrases


def asked_pps(result: Result) -> float | None:
    """Return the rate that was asked for: of a ramp, its mean so far."""
    pacing = result.get("pacing") or {}
    rate: float | None = pacing.get("asked_pps", result["asked"]["rate_pps"])
    return rate


def paced(pacing: Result) -> list[str]:
    """Say how late packets were given to the port, and why."""
    late = pacing["late_ns"] or {}
    told = [f"{name} {format_time(late[name] / 1e9)}" for name in ("p50", "p99", "max") if late]
    told[:1] = [f"late by {each}" for each in told[:1]]
    told.append(f"stalls {format_count(pacing['stalls'])}")
    if pacing["stalls"]:
        told.append(f"{format_time(pacing['stalled_s'])} in all")
        told.append(f"longest {format_time(pacing['longest_stall_s'])}")
    return [*told, f"no CPU for {format_time(pacing['not_running_s'])}"]


def drops(result: Result) -> list[str]:
    """Say what was missed and dropped, by reason: `dropped 12: too long 8, no room 4`."""
    receives = "received" in result or result["missed"] is not None
    missed = [f"missed {format_count(result['missed'])}"] if receives else []
    return [*missed, *dropped(result["dropped"], result["drops"])]


def dropped(count: int, reasons: dict[str, int]) -> list[str]:
    """Say how many packets were dropped, and why."""
    text = f"dropped {format_count(count)}"
    return f"{text}: {reasons_text(reasons)}".split(", ") if reasons else [text]


def port_lines(result: Result, width: int | None) -> list[str]:
    """Return the lines of each port: what it counted, and how full its link was."""
    lines = []
    seconds = result["active_s"] or result["elapsed_s"]
    broken = "fcs" in result["asked"].get("broken", ())
    for row in result["ports"]:
        phrases = []
        own = {"rx": 0, "tx": FCS if broken and row is result["ports"][0] else 0}  # in its bytes
        for way in ("rx", "tx"):
            packets, octets = row[f"{way}_packets"], row[f"{way}_bytes"]
            if not packets:
                continue
            phrases += [f"{way}_packets {packets:,}", f"{way}_bytes {octets or 0:,}"]
            if (link := row.get("link_bps")) and seconds >= STEADY_S:
                plain = (octets or 0) - own[way] * packets
                share = format_share(l1_bits(packets, plain) / seconds, link)
                phrases.append(f"{way} {share} of {format_rate(link, 'bps')} line rate")
        if row["rx_packets"] or row["rx_missed_errors"]:
            phrases.append(f"missed {format_count(row['rx_missed_errors'])}")
        lost = sum(
            row[name] or 0 for name in ("rx_errors", "rx_dropped", "tx_errors", "tx_dropped")
        )
        phrases += dropped(lost, row["drops"])
        if (device := lost - sum(row["drops"].values())) > 0:
            phrases.append(f"{format_count(device)} of them counted by the device alone")
        phrases += format_unusual(row["statistics"])
        if row["interruptions"]:
            away = f"{row['interrupted_s']:.2f} s"
            phrases.append(f"interruptions {format_count(row['interruptions'])} ({away} in all)")
        lines += _headed(printable(row["port"]), phrases, width)
    return lines


def _headed(name: str, phrases: list[str], width: int | None) -> list[str]:
    """Put phrases behind a name where there is room, or else below it."""
    text = f"{name}  {', '.join(phrases)}"
    if width is None or cell_len(text) <= width:
        return [text]
    return [name, *join_phrases(phrases, width, INDENT)]


def format_summary(result: Result, width: int | None, chart: Sequence[str] = ()) -> list[str]:
    """Return a run's summary in lines of at most `width` columns; None: as long as they are.
    `chart`: lines that follow what the command itself says.
    """
    lines = [
        line
        for phrases in summary_of(result)
        for line in join_phrases(list(map(printable, phrases)), width)
    ]
    lines += chart
    for name in result["drops"]:
        if name in REMEDIES:
            text = f"hint: {REMEDIES[name]}"
            hint = wrap_words(text, width - len(INDENT)) if width else [text]
            lines += [INDENT + line for line in hint]
    lines += [line for each in result["before"] for line in join_phrases(past(each), width)]
    return lines + port_lines(result, width)


def past(result: Result) -> list[str]:
    """Say what the run did before it went on as another version."""
    (did, *_), *_ = summary_of(result)
    version = printable(str(result["uspnet"]))
    return [f"before, as uspnet {version}: {did}", *loss(result), taken(result)]
