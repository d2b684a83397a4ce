# SPDX-License-Identifier: Apache-2.0
"""What the summary of `pktgen --rx-port` says of the packets that came back, and of the others."""

from __future__ import annotations

from uspnet.answer import Json
from uspnet.cli.views.units import format_count, format_time

SIZES_SHOWN, FLOWS_SHOWN = 16, 3
SPELLED = {"p999": "p99.9", "rfc3550": "RFC 3550"}


def back(result: Json) -> list[list[str]]:
    """Say how packets came back."""
    names = ("duplicated", "reordered", "stale", "foreign")
    lines = [[f"{name} {format_count(result[name])}" for name in names]]
    if flows := result.get("in_flows"):
        of = f"{format_count(flows['flows_reordered'])} of {format_count(flows['flows'])} flows"
        phrases = [f"reordered in flows {format_count(flows['reordered'])}", f"in {of}"]
        lines.append([*phrases, f"of unknown flows {format_count(flows['unknown'])}"])
    return lines


def back_of_stream(each: Json) -> list[str]:
    """Say how packets of a stream came back."""
    names = ("received", "lost", "duplicated", "reordered")
    phrases = [f"{name} {format_count(each[name])}" for name in names]
    if (count := each.get("reordered_in_flows")) is not None:
        phrases.append(f"reordered in flows {format_count(count)}")
    return phrases


def delays(result: Json) -> list[list[str]]:
    """Say latency and jitter of a run, or of a second of it."""
    told = {name: latencies(result.get(f"{name}_ns") or {}) for name in ("latency", "jitter")}
    return [[f"{name} {each[0]}", *each[1:]] for name, each in told.items() if each]


def losses(result: Json) -> list[list[str]]:
    """Say how often packets were lost in a row, the longest time, and which file has them."""
    lines = []
    if longest := result.get("longest_loss"):
        times = len(result["losses"]) + result["losses_left_out"]
        phrases = [f"losses in a row {format_count(times)}"]
        phrases.append(f"the longest {format_time(longest['duration_s'])}")
        phrases.append(f"from {format_time(longest['begins_s'])} on")
        phrases.append(f"{format_count(longest['packets'])} packets")
        lines.append(phrases if longest["ended"] else [*phrases, "to the end"])
    if file := result.get("lost_file"):
        phrases = [f"lost packets in {file['file']}: {format_count(file['written'])}"]
        if file["not_written"]:
            phrases.append(f"not written {format_count(file['not_written'])}")
        lines.append(phrases)
    if len(sizes := result.get("lost_by_size") or {}) > 1:
        counts = [f"{size} bytes {format_count(count)}" for size, count in sizes.items()]
        lines.append([f"lost by size: {counts[0]}", *counts[1:SIZES_SHOWN]])
    if flows := result.get("lost_by_flow"):
        told = [f"{each['flow']} {format_count(each['packets'])}" for each in flows[:FLOWS_SHOWN]]
        of = format_count(result["flows_with_losses"])
        lines.append([f"lost of {of} flows: {told[0]}", *told[1:]])
    return lines


def latencies(values_ns: dict[str, int]) -> list[str]:
    """Say each percentile: `p99.9 1.20 ms`."""
    return [f"{SPELLED.get(name, name)} {format_time(ns / 1e9)}" for name, ns in values_ns.items()]
