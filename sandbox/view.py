"""How the demo looks in a terminal: a panel per rollout, the stream of decisions, the summary.

Rules: made for 100 columns; draws what `watch.py` knows and asks nobody anything.
"""

from collections.abc import Sequence
from typing import Any, Final

from rich.console import Console, ConsoleOptions, Group, RenderResult
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from sandbox.watch import Seat, Told, Watch

COLUMNS: Final = 100
BAR: Final = 28
# A panel is as high as there is room for: from all numbers and a long sentence to one line each.
PANEL_LINES: Final = range(7, 3, -1)
WANTED_DECISIONS: Final = 3
COLOURS: Final = {
    "PENDING": "white",
    "SHIFTING": "cyan",
    "BAKING": "blue",
    "HELD": "yellow",
    "RETREATING": "red",
    "PROMOTED": "green",
    "REVERTED": "magenta",
    "REFUSED": "yellow",
}
_NEVER: Final = "-"


class View:
    """The whole picture; drawn anew from the watch whenever it is rendered."""

    def __init__(self, watch: Watch, notes: Sequence[str] = ()) -> None:
        self._watch = watch
        self._notes = notes
        self.elapsed_s = 0.0
        self.now = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        del options
        yield self._title()
        seats, frame = len(self._watch.seats), 3
        fitting = (console.height - frame - WANTED_DECISIONS) // max(1, seats)
        lines = max(PANEL_LINES[-1], min(PANEL_LINES[0], fitting))
        notes = [*self._notes] + [""] * len(self._watch.seats)
        for seat, note in zip(self._watch.seats.values(), notes, strict=False):
            yield panel(seat, note, lines)
        room = console.height - frame - lines * seats
        yield decisions(list(self._watch.told), max(1, room))

    def _title(self) -> Text:
        minutes, seconds = divmod(int(self.elapsed_s), 60)
        title = Text(" Linnet on a local Azure", style="bold")
        title.append(f"   {minutes}:{seconds:02}   ", style="dim")
        title.append(self.now, style="italic")
        return title


def panel(seat: Seat, note: str, lines: int = PANEL_LINES[0]) -> Panel:
    """One rollout: weight, answers and requests side by side, errors, and its last sentence."""
    colour = COLOURS.get(seat.phase, "white")
    summary = seat.summary
    title = Text.assemble((seat.scene.name, "bold"), (f"  {seat.phase}", f"bold {colour}"))
    if summary:
        wanted, step = summary["wanted_percent"], summary["step"]
        title.append(f"  step {step} of {summary['of_steps']}, {wanted:g} % wanted")
    sentence = Text(str(summary.get("sentence", "")), overflow="ellipsis")
    sentence.no_wrap = lines < PANEL_LINES[0]
    body = Group(_numbers(seat, colour, lines - 3), sentence)
    subtitle = Text(note, style="dim")
    return Panel(
        body,
        title=title,
        title_align="left",
        subtitle=subtitle,
        subtitle_align="right",
        border_style=colour,
        height=lines,
    )


def _numbers(seat: Seat, colour: str, rows: int) -> Table:
    stable, canary = seat.error_rates()
    tally = seat.scene.tally
    hurt = f"users {len(tally.hurt['canary'])}, requests {tally.bad['canary']}"
    dark = seat.shadow if seat.summary.get("step") == 1 else {}
    grid = Table.grid(padding=(0, 1))
    grid.add_column(width=11, style="dim")
    grid.add_column(width=BAR)
    grid.add_column(width=7, justify="right")
    grid.add_column(width=18, style="dim", justify="right")
    grid.add_column(no_wrap=True)
    rates = Text.assemble(
        f"{percent(stable)} stable  ",
        (f"{percent(canary)} canary", "red" if (canary or 0) > 0.05 else ""),  # noqa: PLR2004  # plainly bad
    )
    shares = (
        ("weight", seat.scene.share, *(_dark(dark) if dark else ("errors, last 5 s", rates))),
        ("DNS answers", seat.answer_share(), "hurt by the canary", Text(hurt)),
        ("requests", seat.request_share(), "all requests", Text(f"{tally.requests.total():,}")),
    )
    for name, share, label, value in shares[:rows]:
        grid.add_row(name, bar(share or 0.0, colour), percent(share), label, value)
    return grid


def _dark(shadow: dict[str, Any]) -> tuple[str, Text]:
    """What replays have shown so far, where there are no requests of users to speak of."""
    beyond = [place for place in shadow["places"] if place["path"] not in shadow["noise"]]
    worst = f"{beyond[0]['canary_percent']:.1f} % differ" if beyond else "no difference"
    return "samples, replayed", Text(f"{shadow['samples']}, {worst}")


def bar(share: float, colour: str) -> Text:
    """A share (0..1) as a bar; anything above nothing shows."""
    full = min(BAR, max(round(share * BAR), 1 if share > 0 else 0))
    return Text.assemble(("━" * full, colour), ("┄" * (BAR - full), "grey23"))


def percent(share: float | None) -> str:
    """A share (0..1) in percent; a dash when there is none."""
    return _NEVER if share is None else f"{100 * share:.1f} %"


def decisions(told: Sequence[Told], room: int) -> Panel:
    """The latest decisions, newest last, a line each."""
    shown = [each for each in told if each.after != "BAKING" or each.event != "Ticked"]
    lines = [decision(each) for each in shown[-room:]]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
    return Panel(Group(*lines), title="decisions", title_align="left", height=room + 2)


def decision(told: Told) -> Text:
    """One decision in a line: what it rests on, and its sentence as far as there is room."""
    rests = Text(f"{told.numbers}  " if told.numbers else "", style="bold")
    return Text.assemble(_when_and_where(told), rests, told.sentence)


def told_in_full(told: Told) -> Table:
    """One decision with its whole sentence beneath what it rests on, at most 100 columns wide."""
    grid = Table.grid()
    grid.add_column(no_wrap=True)
    grid.add_column(width=COLUMNS - len(_when_and_where(told)))
    rests = Text(f"{told.numbers}\n" if told.numbers else "", style="bold")
    grid.add_row(_when_and_where(told), Text.assemble(rests, told.sentence))
    return grid


def _when_and_where(told: Told) -> Text:
    colour = COLOURS.get(told.after, "white")
    return Text.assemble(
        (f"{told.at} ", "dim"),
        (f"{told.rollout:<5}", "bold"),
        (f" {told.after:<10} {told.percent:>3g} % ", colour),
    )
