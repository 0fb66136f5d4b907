"""Prints the documents that are drawn from the code: the state machine and the schemas.

`make docs` writes them; a test fails when a document and the code have parted.
"""

import inspect
import json
import re
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from shared.core.machine import MOVES, Move
from shared.core.model import FINAL, Phase
from shared.planfile import PlanIn
from shared.samples import SampleIn

HERE = Path(__file__).parent


def state_machine() -> str:
    """The whole table as a diagram and as words."""
    return "\n".join(
        [
            "# The state machine",
            "",
            "Drawn from the table in `shared/core/machine.py` by `make docs`; a test fails when",
            "the two part. A cell without an arrow stays in its phase or refuses with words.",
            "",
            "```mermaid",
            "stateDiagram-v2",
            "    [*] --> PENDING: StartAsked",
            *_arrows(),
            *(f"    {phase} --> [*]" for phase in Phase if phase in FINAL),
            "```",
            "",
            "## Every cell",
            "",
            "| phase | event | leads to | how |",
            "| --- | --- | --- | --- |",
            *_cells(),
            "",
        ]
    )


def plan_schema() -> str:
    """The JSON Schema of a plan."""
    return _schema(PlanIn)


def sample_schema() -> str:
    """The JSON Schema of a sample of production traffic."""
    return _schema(SampleIn)


DOCUMENTS = {
    "state-machine.md": state_machine,
    "plan.schema.json": plan_schema,
    "sample.schema.json": sample_schema,
}


def _schema(model: type[BaseModel]) -> str:
    dialect = {"$schema": "https://json-schema.org/draft/2020-12/schema"}
    return json.dumps({**dialect, **_portable(model.model_json_schema())}, indent=2) + "\n"


def _portable(schema: Any) -> Any:
    """Patterns as ECMAScript reads them too, which has no (?i)."""
    if isinstance(schema, dict):
        return {key: _portable(value) for key, value in schema.items()}
    if isinstance(schema, list):
        return [_portable(each) for each in schema]
    if isinstance(schema, str) and schema.startswith("(?i)"):
        return re.sub(r"\[[^]]*]|\\.|[A-Za-z]", _either_case, schema.removeprefix("(?i)"))
    return schema


def _either_case(found: re.Match[str]) -> str:
    """A letter that stands for itself; sets of characters and escapes stay as they are."""
    letter = found[0]
    return f"[{letter.upper()}{letter.lower()}]" if len(letter) == 1 else letter


def _arrows() -> list[str]:
    arrows = []
    for phase, row in MOVES.items():
        for to in Phase:
            events = [
                event.__name__
                for event, cell in row.items()
                if isinstance(cell, Move) and to in cell.to and to is not phase
            ]
            if events:
                arrows.append(f"    {phase} --> {to}: {', '.join(events)}")
    return arrows


def _cells() -> list[str]:
    cells = []
    for phase, row in MOVES.items():
        for event, cell in row.items():
            if isinstance(cell, Move):
                leads = ", ".join(to for to in Phase if to in cell.to)
                how = (inspect.getdoc(cell.choose) or "").partition("\n")[0]
                cells.append(f"| {phase} | {event.__name__} | {leads} | {how} |")
            else:
                cells.append(f"| {phase} | {event.__name__} | refused | {cell.words} |")
    return cells


def main() -> None:
    """Write every document beside this file."""
    for name, text in DOCUMENTS.items():
        (HERE / name).write_text(text(), encoding="utf-8")
        sys.stdout.write(f"docs/{name}\n")


if __name__ == "__main__":
    main()
