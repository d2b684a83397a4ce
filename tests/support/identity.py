# SPDX-License-Identifier: Apache-2.0
"""What holds of every result: the schema, and that each packet is in exactly one counter."""

from __future__ import annotations

import functools
import json
from importlib.resources import files

import jsonschema

from uspnet import __version__


@functools.cache
def validator():
    """Of the schema that is shipped."""
    text = files("uspnet").joinpath("schema.json").read_text()
    return jsonschema.Draft202012Validator(json.loads(text))


def check(result):
    """The JSON object of any command, when it is as promised; fails when not. While a run goes on,
    packets are between two counters, and its sums may differ.
    """
    error = jsonschema.exceptions.best_match(validator().iter_errors(result))
    assert not error, f"{error.message}\nin: {result}"
    if result.get("ended"):
        assert result["dropped"] == sum(result["drops"].values()), result
        ACCOUNTS[result["command"]](result)
    return result


def answer(text):
    """The JSON object that a command printed, checked."""
    return check(json.loads(text))


def ran(result):
    """The result of a job that ran in this process, checked as the command would print it."""
    check(json.loads(json.dumps({"uspnet": __version__, **result.as_json()})))
    return result


def capture(r):
    assert r["received"] == r["filtered"] + r["written"] + r["dropped"] + r["discarded"], r


def fwd(r):
    assert r["received"] + r["copied"] == r["forwarded"] + r["dropped"], r


def pktgen(r):
    assert r["offered"] == r["sent"] + r["unsent"], r
    assert r["dropped"] <= r["unsent"], r
    assert "lost" not in r or r["lost"] == max(r["sent"] - r["received"], 0), r


ACCOUNTS = {"capture": capture, "fwd": fwd, "pktgen": pktgen}
