# SPDX-License-Identifier: Apache-2.0
"""What holds of every result: the schema, and that each packet is in exactly one counter."""

from __future__ import annotations

import functools
import json
from importlib.resources import files

import jsonschema

from uspnet import __version__

LOSSES = ("rx_errors", "rx_dropped", "tx_errors", "tx_dropped")


@functools.cache
def validator():
    """The validator of the schema that is shipped."""
    text = files("uspnet").joinpath("schema.json").read_text()
    return jsonschema.Draft202012Validator(json.loads(text))


def check(result):
    """Return the JSON object of any command; fail when it is not as promised. While a run goes on,
    packets are between two counters, and its sums may differ.
    """
    error = jsonschema.exceptions.best_match(validator().iter_errors(result))
    assert not error, f"{error.message}\nin: {result}"
    if result.get("command") == "run":
        for each in result["jobs"]:
            if isinstance(each, dict) and each["result"]:
                check(each["result"])
    elif result.get("ended"):
        for each in result["before"]:
            assert each["ended"] == "upgrade", each
            check(each)
        for row in rows(result):
            lost = sum(row[name] or 0 for name in LOSSES)  # also what only the device counted
            assert sum(row["drops"].values()) <= lost, row
        assert result["dropped"] == sum(result["drops"].values()), result
        assert all(result["drops"].values()), result
        ACCOUNTS[result["command"]](result)
        limits(result)
        missed(result)
    return result


def answer(text):
    """Parse the JSON object that a command printed, and check it."""
    return check(json.loads(text))


def ran(result):
    """Return the result of a job that ran in this process, checked as a command would print it."""
    check(json.loads(json.dumps({"uspnet": __version__, **result.as_json()})))
    return result


def rows(result):
    """Every port's counters in a result."""
    return [row for row in result.get("ports", []) if "drops" in row]


def total(result, name):
    return sum(row[name] for row in result["ports"])


def by_reason(ports):
    """Dropped packets by reason, over the ports."""
    sums = {}
    for row in ports:
        for reason, count in row["drops"].items():
            sums[reason] = sums.get(reason, 0) + count
    return sums


def limits(r):
    """A count is never exceeded, and is why a run ended only when it was reached."""
    count, ended = r["asked"]["count"], r["ended"]
    assert ended != "duration" or r["asked"]["duration_s"] is not None, r
    if count is None:
        assert ended != "count", r
        return
    if r["command"] == "pktgen":
        assert r["offered"] <= count, r
        return
    handled = total(r, "rx_packets")
    assert handled <= count, r
    assert ended != "count" or r["received"] >= count, r


def missed(r):
    """What was lost before it reached us is counted once: the sum over the receiving ports. A port
    that only sends may know what it would have missed.
    """
    known = [(row["rx_packets"], row["rx_missed_errors"] or 0) for row in r["ports"]]
    least = sum(count for packets, count in known if packets)
    assert least <= (r["missed"] or 0) <= sum(count for _, count in known), r


def capture(r):
    assert r["received"] == r["filtered"] + r["written"] + r["dropped"] + r["discarded"], r
    missed = [port["rx_missed_errors"] for port in r["ports"]]
    known = [number for number in missed if number is not None]
    assert r["missed"] == (sum(known) if known else None), r
    assert r["received"] == total(r, "rx_packets") + sum(by_reason(r["ports"]).values()), r
    assert r["written"] + r["discarded"] <= total(r, "rx_packets"), r
    assert r["written"] == 0 or r["files"], r
    assert r["discarded"] == 0 or not r["files"], r


def fwd(r):
    assert r["received"] + r["copied"] == r["forwarded"] + r["dropped"], r
    assert r["forwarded"] == total(r, "tx_packets"), r
    assert r["drops"] == by_reason(r["ports"]), r
    assert total(r, "rx_packets") <= r["received"] <= total(r, "rx_packets") + r["dropped"], r


def reflect(r):
    assert r["received"] == r["reflected"] + r["dropped"], r
    (port,) = r["ports"]
    assert r["reflected"] == port["tx_packets"], r
    assert r["drops"] == port["drops"], r
    assert port["rx_packets"] <= r["received"] <= port["rx_packets"] + r["dropped"], r


def pktgen(r):
    assert r["offered"] == r["sent"] + r["unsent"], r
    assert r["dropped"] <= r["unsent"], r
    outs = r["ports"][: 2 if r["asked"].get("split_by") else 1]
    if "streams" in r:
        outs = r["ports"]
        for each in r["streams"]:
            assert each["offered"] == each["sent"] + each["unsent"], r
        assert sum(each["offered"] for each in r["streams"]) <= r["offered"], r
    told = r["answered"] or {"arp": 0, "ndp": 0, "unsent": 0, "drops": {}}
    answered = told["arp"] + told["ndp"] - told["unsent"] - sum(told["drops"].values())
    # else they leave by the rx port
    by_these = answered if len(outs) == len(r["ports"]) or "replayed" in r else 0
    assert r["sent"] + by_these == total({"ports": outs}, "tx_packets"), r
    if "replayed" in r:
        assert sum(each["packets"] for each in r["replayed"]) <= r["offered"], r
        assert (
            r["skipped"]
            == by_reason(r["ports"][len(outs) :])
            == by_reason([{"drops": each["skipped"]} for each in r["replayed"]])
        ), r
    if "lost" not in r:
        assert r["drops"] == by_reason(outs) or r["answered"], r  # or dropped when received
        return
    numbered = r["duplicated"] is not None
    assert r["lost"] == max(r["sent"] - r["received"], 0), r
    maybe_sent = r["sent"] + r["drops"].get("worker_lost", 0)
    assert r["received"] <= maybe_sent or not numbered, r
    back = r["ports"][-1]["rx_packets"]  # each of them is one of these
    others = (r["duplicated"] + r["stale"]) if numbered else 0
    assert back == r["received"] + others + r["foreign"], r


ACCOUNTS = {"capture": capture, "fwd": fwd, "attach": fwd, "pktgen": pktgen, "reflect": reflect}
