"""How the command shows a rollout: its last verdict as a small table, and how it came there.

Made for 100 columns. A rule has two lines: the rollout, on which harm rests, and this step, on
which a pass rests. All texts are others' and are shown as they are, whatever brackets they hold.
"""

from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from shared.core import words

_NOTHING = "-"

type Json = dict[str, Any]


def rollout(found: Json) -> Iterator[RenderableType]:
    """Where a rollout is and why, the numbers of its last verdict, advice, and its history."""
    yield Text.assemble((found["name"], "bold"), f" {found['phase']}: {found['sentence']}")
    if found.get("verdict"):
        yield from verdict(found["verdict"])
    for each in found.get("advice", ()):
        yield Text.assemble(("advice: ", "yellow" if each["off"] else ""), each["sentence"])
    for name, limit in found.get("thresholds_ms", {}).items():
        yield Text(f"{name} means slower than {limit:.0f} ms, which was frozen at the start")
    yield from map(Text, standardised(found))
    yield history(found["history"])
    left_out = found.get("rows", 0) - len(found["history"])
    if left_out > 0:
        yield Text(f"{left_out} more rows are kept, mostly looks: linnet history {found['name']}")


def verdict(shown: Json) -> Iterator[RenderableType]:
    """The table of its rules, its sentence, and how old the newest complete block was."""
    if shown["rules"]:
        yield rules(shown["rules"])
    yield Text.assemble((shown["kind"], "bold"), f": {shown['sentence']}")
    harm = shown["evidence_of_harm"]
    if len(shown["rules"]) > 1:
        yield Text(f"harm, all rules together: {_of_needed(harm)}")
    if shown["lag_s"] is not None:
        age = words.duration(shown["lag_s"])
        before = f", {shown['unit_before']} below 100 %" if shown.get("unit_before") else ""
        counted = f"counted are {shown['unit']}{before}"
        yield Text(f"The newest complete block ended {age} before; {counted}.")


def rules(shown: Sequence[Json]) -> Table:
    """Two lines a rule: what it shows in the rollout, and in this step alone."""
    table = Table("rule", "canary", "stable", "ratio", "evidence", box=None, pad_edge=False)
    table.add_column("blocks", justify="right")
    for each in shown:
        low, high = each["ratio_interval"]
        ratio = words.times(each["ratio"], low, high, "") or _NOTHING
        harm = f"harm {_of_needed(each['evidence_of_harm'])}"
        for name, counted, *cells in (
            (each["rule"], each, ratio, harm),
            ("  this step", each["step"], "", _of_step(each)),
        ):
            arms = (_rate(counted[arm]) for arm in ("canary", "stable"))
            table.add_row(*map(Text, (name, *arms, *cells, str(counted["blocks"]))))
    return table


def standardised(found: Json) -> Iterator[str]:
    """A line for each rule of a plan with strata: what its exposures are standardised by."""
    columns = ", ".join(found.get("strata", ()))
    for name, count in found.get("standardised", {}).items():
        if count is None:
            yield f"{name}: strata by {columns} foretell nothing, exposures count as they are"
        else:
            yield f"{name}: weighed by {columns} ({count} strata), as stable's past foretold"


def history(rows: Sequence[Json]) -> Table:
    """A line for each row; of the moment there is no year, and its fractions are left out."""
    table = Table("at", "event", "percent", "what and why", box=None)
    for row in rows:
        at = row["at"][5:19].replace("T", " ")
        table.add_row(*map(Text, (at, row["event"], f"{row['percent']:g}", row["sentence"])))
    return table


def _rate(arm: Json) -> str:
    if not arm["events"]:
        return _NOTHING
    return f"{words.percent(arm['bad'] / arm['events'])} of {arm['events']:.0f}"


def _of_step(shown: Json) -> str:
    """What a pass of this step hangs on: no harm, or at 100 % that the objective is not passed."""
    if no_harm := shown["evidence_of_no_harm"]:
        return f"no harm {_of_needed(no_harm)}"
    over = shown["evidence_over_objective"]
    return f"above objective {_of_needed(over)}" if over else _NOTHING


def _of_needed(evidence: Json) -> str:
    """Older records do not say what a pass needed."""
    if evidence["needed"] is None:
        return f"{evidence['seen']:.1f}"
    return words.of_needed(evidence["seen"], evidence["needed"])
