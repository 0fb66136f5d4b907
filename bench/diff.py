"""Comparisons per second of ours, DeepDiff and jsondiff on the same documents.

All three get the same parsed documents (read once by `shared.core.bodies`), so parsing is in no
number. They take turns within each round of one run, and medians are shown. Ours is timed with all
it does for a caller: rules consulted, paths written, values shortened, bounds wide open. DeepDiff
runs as it comes but for `threshold_to_diff_deeper=0`, without which it reports a whole object
where many fields differ.

Before anything is timed, ours and DeepDiff must find differences at the same paths. Where an array
has another length we also say so for the array itself, which DeepDiff does not; that is left out.
jsondiff has another idea of arrays (it looks for the cheapest edit), so its findings are not
compared, and it sits out the large documents: the nested ones take it seconds each, the arrays
minutes.

Run it as `python -m bench.diff`; the last line is the smallest ratio to DeepDiff.
"""

import copy
import gc
import json
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import jsondiff
from deepdiff import DeepDiff
from rich.console import Console
from rich.table import Table

from shared.core.bodies import read
from shared.core.diff import (
    Bounds,
    Kind,
    Reply,
    Rules,
    Tolerance,
    compare_documents,
    compiled,
)
from shared.core.paths import Trail, written

SEED = 20_240_229
ROUNDS = 5
LEAST_TURN_S = 0.02
MOST_BYTES_FOR_JSONDIFF = 10_000
WIDE = Bounds(body_bytes=1 << 24, differences=1 << 20, alike=1 << 20)
# A rule that touches nothing here: a caller has some, so the walk must carry them.
READY = compiled(
    Rules(ignore=("$.trace.id",), tolerances=(Tolerance("$.sensors[*].raw"),), bounds=WIDE)
)


@dataclass(frozen=True, slots=True)
class Corpus:
    """Two documents, and the size of the left one as JSON."""

    name: str
    left: Any
    right: Any
    size_bytes: int


def _record(dice: random.Random, number: int) -> dict[str, Any]:
    return {
        "id": number,
        "sku": f"{dice.randrange(16**8):08x}",
        "title": " ".join(dice.choices(("oak", "table", "lamp", "blue", "large", "set"), k=4)),
        "price": round(dice.uniform(1, 900), 2),
        "stock": dice.randrange(500),
        "active": dice.choice((True, False)),
        "discount": None,
        "tags": dice.sample(("new", "sale", "eco", "gift", "last"), k=2),
        "size": {"width_cm": dice.randrange(200), "depth_cm": dice.randrange(200)},
    }


def _small(dice: random.Random) -> Any:
    return {"page": 1, "next": None, "items": [_record(dice, at) for at in range(5)]}


def _nested(dice: random.Random, levels: int = 7) -> Any:
    if levels == 0:
        return _record(dice, dice.randrange(10**6))
    return {
        "name": f"region-{dice.randrange(1000)}",
        "open": dice.choice((True, False)),
        "total": round(dice.uniform(0, 10**6), 3),
        "children": [_nested(dice, levels - 1) for _ in range(2)],
        "detail": {"west": _nested(dice, levels - 2)} if levels > 1 else {},
    }


def _arrays(dice: random.Random) -> Any:
    return {
        "items": [_record(dice, at) for at in range(4_000)],
        "series": [round(dice.gauss(20, 4), 3) for _ in range(20_000)],
    }


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    """Every container with each key of a plain value in it."""
    waiting = [document]
    while waiting:
        here = waiting.pop()
        for key, value in here.items() if isinstance(here, dict) else enumerate(here):
            if isinstance(value, dict | list):
                waiting.append(value)
            else:
                yield here, key


def _changed(document: Any, share: float, dice: random.Random) -> Any:
    """A copy with this share of its plain values changed, of which some go or change type."""
    changed = copy.deepcopy(document)
    places = list(_places(changed))
    for here, key in dice.sample(places, k=max(1, round(share * len(places))) if share else 0):
        how = dice.choice(("remove", "add", "retype", "change"))
        if how == "remove" and isinstance(here, dict):
            del here[key]
        elif how == "add" and isinstance(here, dict):
            here[f"{key}_new"] = 1
        elif how == "retype":
            here[key] = {"was": here[key]}
        else:
            here[key] = f"changed {dice.randrange(10**6)}"
    if share:
        min((here for here in _arrays_in(changed) if here), key=len).pop()
    return changed


def _arrays_in(document: Any) -> Iterator[list[Any]]:
    for here, _ in _places(document):
        if isinstance(here, list):
            yield here


def _reread(document: Any) -> Any:
    """As it would come off the wire, sharing no object with any other document."""
    reply = Reply(200, {"content-type": "application/json"}, json.dumps(document).encode(), 0)
    return read(reply, WIDE).value


def corpora() -> Iterator[Corpus]:
    """Three shapes, each without, with few and with many differences; the same at every run."""
    for name, make in (("small", _small), ("nested", _nested), ("arrays", _arrays)):
        dice = random.Random(SEED)  # noqa: S311  # the same documents at every run, no secret
        document = make(dice)
        size_bytes = len(json.dumps(document))
        for amount, share in (("none", 0.0), ("few", 0.001), ("many", 0.2)):
            changed = _changed(document, share, dice)
            yield Corpus(f"{name}, {amount}", _reread(document), _reread(changed), size_bytes)


def ours(corpus: Corpus) -> Any:
    """All differences, as a caller gets them."""
    return compare_documents(corpus.left, corpus.right, READY)


def deepdiff(corpus: Corpus) -> Any:
    """All differences, in DeepDiff's default view."""
    return DeepDiff(corpus.left, corpus.right, threshold_to_diff_deeper=0)


def jsondiffs(corpus: Corpus) -> Any:
    """An edit from left to right."""
    return jsondiff.diff(corpus.left, corpus.right)


def our_paths(corpus: Corpus) -> set[str]:
    """Where we find differences, but for the mere lengths of arrays."""
    return {each.path for each in ours(corpus).differences if each.kind is not Kind.LENGTH}


def their_paths(corpus: Corpus) -> set[str]:
    """Where DeepDiff finds differences, written our way."""
    tree = DeepDiff(corpus.left, corpus.right, threshold_to_diff_deeper=0, view="tree")
    found = set()
    for level in (level for levels in tree.values() for level in levels):
        trail: Trail = None
        for key in level.path(output_format="list"):
            trail = (trail, key)
        found.add(written(trail)[0])
    return found


def _turn(compare: Callable[[Corpus], Any], corpus: Corpus, times: int) -> float:
    """Seconds for each of so many comparisons in a row."""
    gc.collect()
    start = time.perf_counter()
    for _ in range(times):
        compare(corpus)
    return (time.perf_counter() - start) / times


def medians_s(corpus: Corpus) -> dict[str, float]:
    """The median time of each contestant, which take turns within each round."""
    contestants = {"ours": ours, "DeepDiff": deepdiff}
    if corpus.size_bytes <= MOST_BYTES_FOR_JSONDIFF:
        contestants["jsondiff"] = jsondiffs
    times = {
        name: max(1, round(LEAST_TURN_S / _turn(compare, corpus, 1)))
        for name, compare in contestants.items()
    }
    turns: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, compare in contestants.items():
            turns[name].append(_turn(compare, corpus, times[name]))
    return {name: statistics.median(each) for name, each in turns.items()}


def main() -> int:
    """Print the table and the smallest ratio; fails where the findings are not the same."""
    table = Table("corpus", "kB", "differences", "findings", title="Comparisons per second")
    for name in ("ours", "DeepDiff", "jsondiff", "to DeepDiff", "to jsondiff"):
        table.add_column(name, justify="right")
    ratios, equal = [], True
    for corpus in corpora():
        found = our_paths(corpus)
        same = found == their_paths(corpus)
        equal &= same
        medians = medians_s(corpus)
        ratios.append(medians["DeepDiff"] / medians["ours"])
        rest = medians.get("jsondiff")
        table.add_row(
            corpus.name,
            f"{corpus.size_bytes / 1000:,.1f}",
            f"{len(found):,}",
            "equal" if same else "[red]not equal",
            *(f"{1 / medians[name]:,.1f}" for name in ("ours", "DeepDiff")),
            f"{1 / rest:,.1f}" if rest else "-",
            f"{ratios[-1]:,.1f}",
            f"{rest / medians['ours']:,.1f}" if rest else "-",
        )
    Console(width=120).print(table)
    print(f"smallest ratio to DeepDiff: {min(ratios):.1f}")  # noqa: T201  # what it is run for
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
