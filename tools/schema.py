# SPDX-License-Identifier: Apache-2.0
"""Writes uspnet/schema.json, the JSON schema of what each command prints under `--json`, from the
dataclasses that it is made of, and docs/json.md from the schema; `--check` only compares.
"""

from __future__ import annotations

import json
import sys
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from schema_page import schema_page

from uspnet.answer import ErrorAnswer
from uspnet.binding.answer import BindAnswer, BindRefused, OutcomesAnswer
from uspnet.binding.inventory import DevicesAnswer
from uspnet.jobs.demo.result import DemoResult
from uspnet.jobs.doctor import Examination
from uspnet.jobs.registers import RegistersAnswer
from uspnet.jobs.result import CaptureResult, ForwardResult, GenerateResult, MeasureResult
from uspnet.telemetry.stats import StatsAnswer

ROOT = Path(__file__).resolve().parent.parent
ANSWERS: dict[str, list[type]] = {
    "pktgen": [MeasureResult, GenerateResult],
    "capture": [CaptureResult],
    "fwd": [ForwardResult],
    "stats": [StatsAnswer],
    "devices": [DevicesAnswer],
    "doctor": [Examination],
    "regs": [RegistersAnswer],
    "demo": [DemoResult],
    "bind": [BindAnswer, BindRefused, OutcomesAnswer],
    "unbind": [OutcomesAnswer],
    "error": [ErrorAnswer],
}


def make() -> dict[str, Any]:
    """The schema: any of the commands' objects."""
    every = list(dict.fromkeys(kind for kinds in ANSWERS.values() for kind in kinds))
    made = TypeAdapter(reduce(or_, every)).json_schema(ref_template="#/$defs/{model}")
    definitions = made["$defs"]
    for kind in every:
        close(definitions[kind.__name__], version=kind is not ErrorAnswer)
    error = definitions["ErrorAnswer"]
    error["additionalProperties"] = True  # what a job had done until then
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "uspnet --json",
        "anyOf": [{"$ref": f"#/$defs/{kind.__name__}"} for kind in every],
        "$defs": dict(sorted(definitions.items())),
    }


def close(definition: dict[str, Any], *, version: bool) -> None:
    """Every name is always there, and no other; `uspnet` is the version."""
    if version:
        definition["properties"] = {"uspnet": {"type": "string"}, **definition["properties"]}
    definition["required"] = list(definition["properties"])
    definition["additionalProperties"] = False


def main() -> int:
    """Writes or compares the files."""
    schema = make()
    names = {command: [kind.__name__ for kind in kinds] for command, kinds in ANSWERS.items()}
    texts = {
        ROOT / "uspnet/schema.json": json.dumps(schema, indent=1) + "\n",
        ROOT / "docs/json.md": schema_page(schema, names),
    }
    if "--check" not in sys.argv[1:]:
        for path, text in texts.items():
            path.write_text(text)
        return 0
    old = [path for path, text in texts.items() if not path.exists() or path.read_text() != text]
    for path in old:
        print(f"{path.relative_to(ROOT)} is out of date: run make man")
    return 1 if old else 0


if __name__ == "__main__":
    sys.exit(main())
