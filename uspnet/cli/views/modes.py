# SPDX-License-Identifier: Apache-2.0
"""What modes of fwd have decided so far, for summaries and live views."""

from __future__ import annotations

from uspnet.answer import Json
from uspnet.cli.views.units import format_count, format_time
from uspnet.jobs.forward.result import seems_loop
from uspnet.text import printable

SHOWN = 3  # neighbors that do not answer


def decided(result: Json) -> list[list[str]]:
    """Say what the mode of a run has counted."""
    lines = []
    if table := result.get("switch"):
        phrases = [f"MAC addresses {format_count(table['macs'])}"]
        phrases += [f"{name} {format_count(table[name])}" for name in ("moved", "flooded")]
        if seems_loop(table["moved"], table["macs"], result["elapsed_s"]):
            phrases.append("is there a loop?")
        if table["unlearned"]:
            phrases.append(f"not learned {format_count(table['unlearned'])}: raise --macs")
        lines.append(phrases)
    lines += [
        [f"rule {printable(each['rule'])}", f"{format_count(each['packets'])} packets",
         f"{format_count(each['bytes'])} bytes"]
        for each in result.get("rules", ())
    ]  # fmt: skip
    if (balance := result.get("balance")) and balance["rerouted"]:
        lines.append([f"rerouted {format_count(balance['rerouted'])}: their port was down"])
    if done := result.get("impaired"):
        lines.append(impaired(done))
    if table := result.get("route"):
        phrases = [f"routes IPv4 {format_count(table['ipv4'])}, IPv6 {format_count(table['ipv6'])}"]
        phrases.append(f"next hops {format_count(table['next_hops'])}")
        lines.append([*phrases, f"tables {table['memory_bytes'] / (1 << 20):.1f} MiB"])
        if silent := table["unanswered"]:
            more = f" and {len(silent) - SHOWN} more" if len(silent) > SHOWN else ""
            named = ", ".join(printable(each) for each in silent[:SHOWN])
            lines.append(
                [f"neighbors {format_count(table['neighbors'])}", f"no answer: {named}{more}"]
            )
    lines += [
        [f"set {printable(each['set'])}", f"{format_count(each['packets'])} packets",
         f"{format_count(each['without'])} without the field"]
        for each in result.get("set", ())
    ]  # fmt: skip
    if at := result.get("interface"):
        lines.append([f"interface {printable(at['name'])}", at["mac"], f"MTU {at['mtu']}"])
    if diverted := result.get("diverted"):
        phrases = [f"diverted {format_count(diverted['packets'])} packets"]
        lines.append([*phrases, f"{format_count(diverted['bytes'])} bytes"])
    return lines


def impaired(done: Json) -> list[str]:
    """Say what an impaired line has done; of bad states and bottlenecks, only where there are."""
    rare = ("bad_state", "most_queued", "longest_queued_ns")
    shown = {name: n for name, n in done.items() if n or name not in rare}
    longest = shown.pop("longest_queued_ns", None)
    phrases = [f"{name.replace('_', ' ')} {format_count(n)}" for name, n in shown.items()]
    return [*phrases, f"longest queued {format_time(longest / 1e9)}"] if longest else phrases
