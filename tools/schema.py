# SPDX-License-Identifier: Apache-2.0
"""Writes uspnet/schema.json, the JSON schema of what each command prints under `--json`, from the
dataclasses that it is made of, and docs/json.md from the schema; `--check` only compares.
"""

from __future__ import annotations

import json
import sys
from dataclasses import is_dataclass
from functools import reduce
from operator import or_
from pathlib import Path
from typing import Any

from field_docs import field_docs
from pydantic import TypeAdapter
from schema_page import schema_page

from uspnet.answer import ErrorAnswer
from uspnet.binding.answer import BindAnswer, BindRefused, OutcomesAnswer
from uspnet.binding.inventory import DevicesAnswer
from uspnet.extcap.places import ExtcapAnswer
from uspnet.jobs.attach.result import AttachResult
from uspnet.jobs.change import Changed
from uspnet.jobs.demo.result import DemoResult
from uspnet.jobs.doctor import Examination
from uspnet.jobs.listing import FilterAnswer
from uspnet.jobs.plotting import PlotAnswer
from uspnet.jobs.reading.answer import ReadAnswer
from uspnet.jobs.reading.export import ExportAnswer
from uspnet.jobs.reading.lines import PacketAnswer
from uspnet.jobs.registers import RegistersAnswer
from uspnet.jobs.result import (
    CaptureResult,
    ForwardResult,
    GenerateResult,
    ReflectResult,
    ReplayResult,
    Result,
)
from uspnet.jobs.returned import MeasureResult
from uspnet.jobs.streamed import ProfileMeasureResult, ProfileResult
from uspnet.jobs.supervise.result import RunChecked, RunResult
from uspnet.jobs.upgrade import Upgraded
from uspnet.telemetry.stats import StatsAnswer

ROOT = Path(__file__).resolve().parent.parent
WITH_ERROR = "WithError"  # ends the names of results that an error ended
ANSWERS: dict[str, list[type]] = {
    "pktgen": [ReplayResult, ProfileMeasureResult, ProfileResult, MeasureResult, GenerateResult],
    "capture": [CaptureResult, FilterAnswer],
    "attach": [AttachResult],
    "fwd": [ForwardResult, Changed],
    "reflect": [ReflectResult],
    "stats": [StatsAnswer],
    "devices": [DevicesAnswer],
    "doctor": [Examination],
    "regs": [RegistersAnswer],
    "plot": [PlotAnswer],
    "extcap": [ExtcapAnswer],
    "read": [PacketAnswer, ReadAnswer, ExportAnswer],
    "run": [RunResult, RunChecked],
    "demo": [DemoResult],
    "bind": [BindAnswer, BindRefused, OutcomesAnswer],
    "unbind": [OutcomesAnswer],
    "upgrade": [Upgraded],
    "error": [ErrorAnswer],
}


def make() -> dict[str, Any]:
    """Return the schema: any of the commands' objects."""
    every = list(dict.fromkeys(kind for kinds in ANSWERS.values() for kind in kinds))
    made = TypeAdapter(reduce(or_, every)).json_schema(ref_template="#/$defs/{model}")
    definitions = made["$defs"]
    describe(definitions)
    for kind in every:
        close(definitions[kind.__name__], version=kind is not ErrorAnswer)
    runs = [
        kind.__name__
        for kind in every
        if issubclass(kind, Result | RunResult | ReadAnswer | ExportAnswer)
    ]
    definitions |= {f"{run}{WITH_ERROR}": with_error(definitions, run) for run in runs}
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "uspnet --json",
        "anyOf": [
            {"$ref": f"#/$defs/{name}"}
            for name in [
                *(kind.__name__ for kind in every),
                *(f"{run}{WITH_ERROR}" for run in runs),
            ]
        ],
        "$defs": dict(sorted(definitions.items())),
    }


def describe(definitions: dict[str, Any]) -> None:
    """Put the text below each field into the schema."""
    modules = [each for name, each in sys.modules.items() if name.startswith("uspnet")]
    kinds = {
        kind.__name__: kind
        for module in modules
        for kind in vars(module).values()
        if isinstance(kind, type) and is_dataclass(kind)
    }
    for name, definition in definitions.items():
        texts = field_docs(kinds[name])
        for field, value in definition["properties"].items():
            value["description"] = texts[field]


def with_error(definitions: dict[str, Any], run: str) -> dict[str, Any]:
    """Return the object of a run that an error ended: the error, and the result so far."""
    result, error = definitions[run], definitions["ErrorAnswer"]
    counted = {name: each for name, each in result["properties"].items() if name != "uspnet"}
    properties = {**error["properties"], **counted}
    about = f"{error['description']} Here: {run}."
    return {**error, "title": f"{run}{WITH_ERROR}", "description": about,
            "properties": properties, "required": list(properties)}  # fmt: skip


def close(definition: dict[str, Any], *, version: bool) -> None:
    """Every name is always there, and no other; `uspnet` is the version."""
    if version:
        version_of = {"type": "string", "description": "The version of uspnet."}
        definition["properties"] = {"uspnet": version_of, **definition["properties"]}
    definition["required"] = list(definition["properties"])
    definition["additionalProperties"] = False


def main() -> int:
    """Write or compare the files."""
    schema = make()
    names = {command: [kind.__name__ for kind in kinds] for command, kinds in ANSWERS.items()}
    texts = {
        ROOT / "uspnet/schema.json": json.dumps(schema, indent=1) + "\n",
        ROOT / "docs/json.md": schema_page(schema, names, WITH_ERROR),
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
