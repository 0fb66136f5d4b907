"""What the dark launches found, for people: where answers differed, how often, and an example.

Rule: it prints what Linnet's API says, and examples are as redacted there as in its logs.
"""

from collections.abc import Iterator
from typing import Any, Final

from rich import box
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from sandbox.watch import Seat

SHOWN_PLACES: Final = 5
_EXAMPLE_COLUMNS: Final = 46


def shadow_report(seat: Seat) -> Iterator[RenderableType]:
    """A heading, and a table of the places that differ most; nothing without a dark launch.

    The count of samples that differ is not shown: it holds those that only showed what is noise.
    """
    shadow = seat.shadow
    if not shadow:
        return
    places = [place for place in shadow["places"] if place["path"] not in shadow["noise"]]
    yield Text.assemble(
        (f"Dark launch of {seat.scene.name}: ", "bold"),
        f"{shadow['samples']:,} samples compared, {shadow['noise_samples']:,} of them with stable "
        f"too, {shadow['unreachable']:,} unanswered.\n",
        f"Noise that it found by itself: {', '.join(shadow['noise']) or 'none'}. ",
        f"Beyond that {len(places) or 'no'} place{'' if len(places) == 1 else 's'} differ"
        f"{'s' if len(places) == 1 else ''}.",
    )
    if places:
        yield _table(places[:SHOWN_PLACES])


def _table(places: list[dict[str, Any]]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for heading, justify in (("differs beyond noise at", "left"), ("how", "left")):
        table.add_column(heading, justify=justify, no_wrap=True)  # type: ignore[arg-type]
    for heading in ("canary", "stable"):
        table.add_column(heading, justify="right")
    table.add_column("example: what the user got became", max_width=_EXAMPLE_COLUMNS)
    for place in places:
        shares = (f"{place[f'{arm}_percent']:.1f} %" for arm in ("canary", "stable"))
        kinds = place["kinds"]
        how = kinds if isinstance(kinds, str) else " ".join(kinds)
        table.add_row(Text(place["path"]), how, *shares, Text(place["example"]))
    return table
