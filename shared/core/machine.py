"""The state machine, and the only place where a phase changes.

Its rules:

1. A phase changes here, in `decide`, and nowhere else.
2. Phase by event is a table, and the table is full: a cell is a move or a refusal with words.
3. A move names the phases it may lead to, and `decide` holds it to that.
4. `decide` is pure: the same plan, rollout and event give the same decision, now and in a replay.
5. A rise comes only from a start that passed preflight, a passing verdict, or a person's promote.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from shared.core import asks, looks
from shared.core.choices import Choice
from shared.core.effects import Effect
from shared.core.events import (
    AbortAsked,
    AlertFired,
    Event,
    HoldAsked,
    PromoteAsked,
    ResumeAsked,
    StartAsked,
    Ticked,
    TurnFailed,
)
from shared.core.model import Phase, Plan, Rollout

PENDING, SHIFTING, BAKING, HELD = Phase.PENDING, Phase.SHIFTING, Phase.BAKING, Phase.HELD
RETREATING, PROMOTED, REVERTED = Phase.RETREATING, Phase.PROMOTED, Phase.REVERTED
REFUSED = Phase.REFUSED


class ImpossibleMoveError(Exception):
    """A move led to a phase that its row in the table does not name: a bug of ours."""


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to one event: the record as it shall be, what to do, and why in one sentence.

    A refused event leaves the record as it was but for its count of history rows.
    """

    rollout: Rollout
    sentence: str
    effects: tuple[Effect, ...] = ()
    refused: bool = False


@dataclass(frozen=True, slots=True)
class Move:
    """A cell with an answer: who answers, and the phases it may lead to."""

    choose: Callable[[Plan, Rollout, Any], Choice]
    to: frozenset[Phase]


@dataclass(frozen=True, slots=True)
class No:
    """A cell that refuses, and says why."""

    words: str


type Cell = Move | No


def on[E](
    event: type[E], choose: Callable[[Plan, Rollout, E], Choice], *to: Phase
) -> tuple[type[object], Cell]:
    """One move of the table; strict typing checks that the answerer takes its own event."""
    return event, Move(choose, frozenset(to))


def no(event: type[object], words: str) -> tuple[type[object], Cell]:
    """One refusal of the table."""
    return event, No(words)


STARTED = no(StartAsked, "start: a rollout of this name exists; give this one another name")
NOT_HELD = no(ResumeAsked, "resume: nothing is held")
AT_ZERO = "the canary is on its way to zero, which nothing stops"
ENDED = "the rollout has ended; start a new one"

MOVES: dict[Phase, dict[type[object], Cell]] = {
    PENDING: dict(
        [
            on(StartAsked, asks.accept, PENDING),
            on(Ticked, looks.admit, PENDING, SHIFTING, REFUSED),
            no(PromoteAsked, "promote: preflight has not passed, there is no step to promote from"),
            on(HoldAsked, asks.hold, HELD),
            NOT_HELD,
            on(AbortAsked, asks.abort, REFUSED),
            on(AlertFired, asks.alarm, PENDING),
            on(TurnFailed, asks.stumble, PENDING, HELD),
        ]
    ),
    SHIFTING: dict(
        [
            STARTED,
            on(Ticked, looks.settle, SHIFTING, BAKING, HELD, RETREATING),
            no(
                PromoteAsked, "promote: this step's weights are not verified yet; ask when it bakes"
            ),
            on(HoldAsked, asks.hold, HELD),
            NOT_HELD,
            on(AbortAsked, asks.abort, RETREATING),
            on(AlertFired, asks.alarm, SHIFTING, RETREATING),
            on(TurnFailed, asks.stumble, SHIFTING, HELD),
        ]
    ),
    BAKING: dict(
        [
            STARTED,
            on(Ticked, looks.weigh, BAKING, SHIFTING, HELD, RETREATING, PROMOTED),
            on(PromoteAsked, asks.promote, SHIFTING, PROMOTED),
            on(HoldAsked, asks.hold, HELD),
            NOT_HELD,
            on(AbortAsked, asks.abort, RETREATING),
            on(AlertFired, asks.alarm, BAKING, RETREATING),
            on(TurnFailed, asks.stumble, BAKING, HELD),
        ]
    ),
    HELD: dict(
        [
            STARTED,
            on(Ticked, looks.watch, HELD, RETREATING, REFUSED),
            on(PromoteAsked, asks.promote, SHIFTING, PROMOTED),
            on(HoldAsked, asks.hold, HELD),
            on(ResumeAsked, asks.resume, PENDING, SHIFTING, BAKING),
            on(AbortAsked, asks.abort, RETREATING, REFUSED),
            on(AlertFired, asks.alarm, HELD, RETREATING),
            on(TurnFailed, asks.stumble, HELD),
        ]
    ),
    RETREATING: dict(
        [
            STARTED,
            on(Ticked, looks.drain, RETREATING, REVERTED),
            no(PromoteAsked, f"promote: {AT_ZERO}"),
            no(HoldAsked, f"hold: {AT_ZERO}"),
            no(ResumeAsked, f"resume: {AT_ZERO}"),
            no(AbortAsked, "abort: the canary is on its way to zero already"),
            no(AlertFired, "alert: the canary is on its way to zero already"),
            on(TurnFailed, asks.stumble, RETREATING),
        ]
    ),
    PROMOTED: dict(
        [
            STARTED,
            on(Ticked, looks.guard, PROMOTED),
            no(PromoteAsked, f"promote: {ENDED}"),
            no(HoldAsked, f"hold: {ENDED}"),
            no(ResumeAsked, f"resume: {ENDED}"),
            on(AbortAsked, asks.abort, RETREATING),
            no(AlertFired, "alert: the rollout has ended; an abort would take traffic back"),
            on(TurnFailed, asks.stumble, PROMOTED),
        ]
    ),
    REVERTED: dict(
        [
            STARTED,
            on(Ticked, looks.guard, REVERTED),
            no(PromoteAsked, f"promote: {ENDED}"),
            no(HoldAsked, f"hold: {ENDED}"),
            no(ResumeAsked, f"resume: {ENDED}"),
            no(AbortAsked, "abort: the canary is at zero already"),
            no(AlertFired, "alert: the canary is at zero already"),
            on(TurnFailed, asks.stumble, REVERTED),
        ]
    ),
    REFUSED: dict(
        [
            STARTED,
            on(Ticked, looks.guard, REFUSED),
            no(PromoteAsked, f"promote: {ENDED}"),
            no(HoldAsked, f"hold: {ENDED}"),
            no(ResumeAsked, f"resume: {ENDED}"),
            no(AbortAsked, "abort: no traffic ever moved"),
            no(AlertFired, "alert: no traffic ever moved"),
            on(TurnFailed, asks.stumble, REFUSED),
        ]
    ),
}


def decide(plan: Plan, rollout: Rollout, event: Event) -> Decision:
    """What this event means for this rollout. Raises ImpossibleMoveError on a broken table."""
    cell = MOVES[rollout.phase][type(event)]
    if isinstance(cell, No):
        choice = Choice(rollout, cell.words, refused=True)
    else:
        choice = cell.choose(plan, rollout, event)
    if choice.refused:
        numbered = replace(rollout, sequence=rollout.sequence + 1)
        return Decision(numbered, choice.sentence, refused=True)
    to = choice.to or rollout.phase
    if isinstance(cell, Move) and to not in cell.to:
        raise ImpossibleMoveError(f"{rollout.phase} on {type(event).__name__} led to {to}")
    after = enter(choice, to, event.at_s)
    if after != rollout or not isinstance(event, Ticked):
        after = replace(after, sequence=rollout.sequence + 1)
    return Decision(after, choice.sentence, choice.effects)


def enter(choice: Choice, to: Phase, at_s: float) -> Rollout:
    """The record in its phase: what belonged to the one before is left behind."""
    after = replace(choice.rollout, sentence=choice.sentence)
    if choice.to is None:
        return after
    hold = after.hold if to is HELD else None
    return replace(after, phase=to, phase_since_s=at_s, hold=hold)
