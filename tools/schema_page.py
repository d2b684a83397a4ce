# SPDX-License-Identifier: Apache-2.0
"""docs/json.md: the keys of `--json`, from the schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

COUNTERS = Path(__file__).resolve().parent.parent / "uspnet/fastpath/counters.h"
REASON = re.compile(r"^    DROP_(\w+)(?: = \w+)?, +/\* (.*) \*/$", re.MULTILINE)

HEAD = """# The keys of --json

Every command prints one JSON object under `--json`, and nothing else on stdout. With
`--interval S`, `pktgen`, `capture`, `fwd`, `attach`, `reflect` and `stats` print one every S
seconds, a line each; a run's `ended` is null in all but the last.

This page is made from `uspnet/schema.json`, a JSON schema (2020-12) that is installed with uspnet
(`python -c "from importlib.resources import files; print(files('uspnet') / 'schema.json')"`);
tests hold every command's output against it. Names and types of keys do not change between
releases without an entry in the [changelog](../CHANGELOG.md). `null` is a counter that can't be
known, never 0. Every object of a command carries `uspnet`, the version.

An error is an object, too: `error`, `message` and `hint`; one that ended a run also has every key
of the run's result, with the counters so far.
"""


def schema_page(schema: dict[str, Any], answers: dict[str, list[str]], hidden: str) -> str:
    """Make the page. `answers`: each command's definitions. `hidden` ends names left out."""
    definitions = schema["$defs"]
    shown = {name for names in answers.values() for name in names}

    def unseen(name: str) -> bool:
        return name not in shown and not name.endswith(hidden)

    parts = [HEAD]
    for command, names in answers.items():
        parts.append(f"\n## {command}\n")
        parts.extend(section(name, definitions[name]) for name in names)
    parts.append("\n## Parts of these\n")
    parts.extend(section(name, each) for name, each in definitions.items() if unseen(name))
    parts.append(reasons(COUNTERS.read_text()))
    return "".join(parts)


def reasons(header: str) -> str:
    """List the keys of `drops`, from the enum that all else takes them from."""
    rows = [f"| `{name.lower()}` | {text} |" for name, text in REASON.findall(header)]
    table = ["| reason | a packet is dropped because |", "| --- | --- |", *rows]
    return "\n## Drop reasons\n\nThe keys of `drops`.\n\n" + "\n".join(table) + "\n"


def section(name: str, definition: dict[str, Any]) -> str:
    """One object: what it is, and a row for each key."""
    about = " ".join(definition.get("description", "").split())
    rows = [
        f"| `{key}` | {kind(each)} | {' '.join(each.get('description', '').split())} |"
        for key, each in definition["properties"].items()
        if key != "uspnet"
    ]
    table = ["| key | type | |", "| --- | --- | --- |", *rows]
    return f"\n### {name}\n\n{about}\n\n" + "\n".join(table) + "\n"


def kind(value: dict[str, Any]) -> str:
    """Return the type of a key, as people write it."""
    return " or ".join(dict.fromkeys(kinds(value)))


def kinds(value: dict[str, Any]) -> Iterator[str]:
    """Every type that a value may have."""
    if "anyOf" in value:
        for each in value["anyOf"]:
            yield from kinds(each)
    elif "$ref" in value:
        name = value["$ref"].rpartition("/")[2]
        yield f"[{name}](#{name.lower()})"
    elif "enum" in value:
        yield from (f"`{each}`" for each in value["enum"])
    elif "const" in value:
        yield f"`{value['const']}`"
    elif value.get("type") == "array":
        yield f"list of {kind(value['items'])}" if value.get("items") else "list"
    elif value.get("type") == "object":
        inner = value.get("additionalProperties")
        yield f"object of {kind(inner)}" if isinstance(inner, dict) else "object"
    else:
        yield str(value.get("type", "any"))
