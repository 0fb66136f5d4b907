"""How plans, rollouts and history rows are written down, and read back in any later version.

The stored form is the JSON of the core's own values, but for the judge's tables (`tables`).
Unknown fields are ignored and new ones have defaults, so that a record outlives an upgrade of
the controller.
"""

from typing import Any, Final

from pydantic import TypeAdapter
from pydantic_core import from_json, to_json

from shared.core.alerts import Spell
from shared.core.events import EVENTS, Event
from shared.core.judge import Verdict
from shared.core.model import Phase, Plan, Rollout
from shared.core.tally import Tally
from shared.ports import HistoryRow
from shared.tables import packed, unpacked

PLANS: TypeAdapter[Plan] = TypeAdapter(Plan)
ROLLOUTS: TypeAdapter[Rollout] = TypeAdapter(Rollout)
VERDICTS: TypeAdapter[Verdict | None] = TypeAdapter(Verdict | None)
SPELLS: TypeAdapter[Spell] = TypeAdapter(Spell)
TALLIES: TypeAdapter[Tally] = TypeAdapter(Tally)
BY_NAME: dict[str, TypeAdapter[Event]] = {kind.__name__: TypeAdapter(kind) for kind in EVENTS}


TABLES, SHARE_TABLES = ("rollout_table", "step_table"), ("share_table",)
BUT_TABLES: Final[dict[str, Any]] = {
    "evidence": {"__all__": set(TABLES)},
    "attendance": set(SHARE_TABLES),
}


def plan_to_json(plan: Plan) -> str:
    """A plan as stored."""
    return PLANS.dump_json(plan).decode()


def plan_from_json(text: str) -> Plan:
    """A stored plan. Raises ValueError when it is none."""
    return PLANS.validate_json(text)


def rollout_to_json(rollout: Rollout) -> str:
    """A record as stored."""
    data = ROLLOUTS.dump_python(rollout, mode="json", exclude=BUT_TABLES)
    for rule, evidence in (rollout.evidence or {}).items():
        data["evidence"][rule] |= {name: packed(getattr(evidence, name)) for name in TABLES}
    if rollout.attendance:
        data["attendance"]["share_table"] = packed(rollout.attendance.share_table)
    return to_json(data).decode()


def rollout_from_json(text: str) -> Rollout:
    """A stored record. Raises ValueError when it is none."""
    data = _json(text)
    if isinstance(data, dict):
        evidence = data.get("evidence")
        for each in evidence.values() if isinstance(evidence, dict) else ():
            _unpack(each, TABLES)
        _unpack(data.get("attendance"), SHARE_TABLES)
    return ROLLOUTS.validate_python(data)


def _unpack(written: object, tables: tuple[str, ...]) -> None:
    if isinstance(written, dict):
        written |= {name: unpacked(written.get(name)) for name in tables}


def _json(text: str) -> Any:
    try:
        return from_json(text)
    except ValueError as error:
        raise ValueError(f"Invalid JSON: {error}") from None


def spell_to_json(spell: Spell) -> str:
    """An alert's spell as stored."""
    return SPELLS.dump_json(spell).decode()


def spell_from_json(text: str) -> Spell:
    """A stored spell. Raises ValueError when it is none."""
    return SPELLS.validate_json(text)


def tally_to_json(tally: Tally) -> str:
    """A tally as stored."""
    return TALLIES.dump_json(tally).decode()


def tally_from_json(text: str) -> Tally:
    """A stored tally. Raises ValueError when it is none."""
    return TALLIES.validate_json(text)


def row_to_dict(row: HistoryRow) -> dict[str, Any]:
    """A history row as plain JSON values; the event carries its kind."""
    kind = type(row.event).__name__
    return {
        "number": row.number,
        "event": {"kind": kind, **BY_NAME[kind].dump_python(row.event, mode="json")},
        "before": row.before.value,
        "after": row.after.value,
        "step": row.step,
        "percent": row.percent,
        "sentence": row.sentence,
        "refused": row.refused,
        "verdict": VERDICTS.dump_python(row.verdict, mode="json"),
    }


def row_from_dict(data: dict[str, Any]) -> HistoryRow:
    """A stored history row. Raises ValueError or KeyError when it is none."""
    event = dict(data["event"])
    return HistoryRow(
        number=data["number"],
        event=BY_NAME[event.pop("kind")].validate_python(event),
        before=Phase(data["before"]),
        after=Phase(data["after"]),
        step=data["step"],
        percent=data["percent"],
        sentence=data["sentence"],
        refused=data["refused"],
        verdict=VERDICTS.validate_python(data["verdict"]),
    )
