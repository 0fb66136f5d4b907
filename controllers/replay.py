"""A rollout's stored history, decided again, held against the record that is stored.

It does while the code decides as it did then. A difference means that a row was tampered with, or
that a later version of the controller would decide otherwise, and names the first such row.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

from controllers.turn import row_of
from shared.core.events import StartAsked
from shared.core.machine import ImpossibleMoveError, decide
from shared.core.model import Rollout, newborn
from shared.ports import HistoryRow, Stored, World

PAGE_ROWS = 500


@dataclass(frozen=True, slots=True)
class Replay:
    """How many rows gave again what they say; `difference` is empty when all did."""

    rows: int
    difference: str = ""


async def replay(world: World, name: str) -> Replay | None:
    """Replay one rollout up to its present record; None when there is no such rollout."""
    stored = await world.store.load(name)
    if stored is None:
        return None
    rollout: Rollout | None = None
    number = 0
    try:
        async for row in recorded(world, stored):
            before = born(stored, row) if rollout is None else rollout
            rollout, difference = decided_again(stored, before, row)
            if difference:
                return Replay(number, difference)
            number = row.number
    except (ArithmeticError, LookupError, TypeError, ValueError, ImpossibleMoveError) as error:
        return Replay(number, f"row {number + 1} cannot be read or decided again: {error}")
    if rollout != stored.rollout:
        return Replay(stored.rollout.sequence, "every row is as recorded, the record is not")
    return Replay(stored.rollout.sequence)


async def recorded(world: World, stored: Stored) -> AsyncIterator[HistoryRow]:
    """The rows that the record counts, in order, a page at a time."""
    last = 0
    while last < stored.rollout.sequence:
        limit = min(PAGE_ROWS, stored.rollout.sequence - last)
        page = await world.store.history(stored.rollout.name, after=last, limit=limit)
        if not page:
            return
        for row in page:
            yield row
        last = page[-1].number


def born(stored: Stored, row: HistoryRow) -> Rollout:
    """The rollout before its first row, which is the start that was accepted."""
    event, by = row.event, stored.rollout.by
    dry_run = isinstance(event, StartAsked) and event.dry_run
    return newborn(stored.plan, event.at_s, by, dry_run=dry_run)


def decided_again(stored: Stored, before: Rollout, row: HistoryRow) -> tuple[Rollout, str]:
    """The record after this row, and what differs from what the row says."""
    decision = decide(stored.plan, before, row.event)
    again = row_of(before, row.event, decision)
    if again == row:
        return decision.rollout, ""
    return (
        decision.rollout,
        f"row {row.number} says {spoken(row)}; decided again it says {spoken(again)}",
    )


def spoken(row: HistoryRow) -> str:
    """A row in a few words."""
    refused = " (refused)" if row.refused else ""
    return (
        f"#{row.number} {row.before} to {row.after} at {row.percent:g} %{refused}: {row.sentence!r}"
    )
