"""The table is full, tells the truth, and keeps its promises whatever happens in whatever order."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core import machine
from shared.core.effects import SetPercent
from shared.core.events import (
    EVENTS,
    AbortAsked,
    AlertFired,
    Event,
    HoldAsked,
    PromoteAsked,
    ResumeAsked,
    Ticked,
    TurnFailed,
)
from shared.core.machine import MOVES, ImpossibleMoveError, Move, No
from shared.core.model import FINAL, Phase, TrafficSeen
from shared.core.telemetry import Answer, Sight
from tests.given import Walk, pair, plan, profile, saw, step


def test_every_phase_has_a_cell_for_every_event() -> None:
    assert set(MOVES) == set(Phase)
    assert all(set(row) == set(EVENTS) for row in MOVES.values())


def test_every_refusal_has_words_that_name_what_was_asked() -> None:
    words = [cell.words for row in MOVES.values() for cell in row.values() if isinstance(cell, No)]

    assert all(":" in sentence and len(sentence) > 20 for sentence in words)


def test_only_a_start_a_look_or_a_promote_leads_to_more_traffic() -> None:
    """Promise 2, read off the table: who may enter SHIFTING, and who PROMOTED."""
    rises = {
        (phase, event)
        for phase, row in MOVES.items()
        for event, cell in row.items()
        if isinstance(cell, Move) and cell.to & {Phase.SHIFTING, Phase.PROMOTED} - {phase}
    }

    assert rises == {
        (Phase.PENDING, Ticked),
        (Phase.BAKING, Ticked),
        (Phase.BAKING, PromoteAsked),
        (Phase.HELD, PromoteAsked),
        (Phase.HELD, ResumeAsked),
    }


def test_final_phases_lead_nowhere_but_back_to_zero() -> None:
    for phase in FINAL:
        leads = {to for cell in MOVES[phase].values() if isinstance(cell, Move) for to in cell.to}
        assert leads <= {phase, Phase.RETREATING}


def test_a_move_that_breaks_the_table_is_a_bug_that_shows(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = MOVES[Phase.BAKING][AbortAsked]
    assert isinstance(honest, Move)
    monkeypatch.setitem(
        machine.MOVES[Phase.BAKING], AbortAsked, replace(honest, to=frozenset({Phase.HELD}))
    )
    walk = Walk().reach(Phase.BAKING)

    with pytest.raises(ImpossibleMoveError, match="BAKING on AbortAsked led to RETREATING"):
        walk.tell(AbortAsked(walk.now_s, "ada"))


# What may happen: a look of some kind, a wish, an alert, a failure, a hand on the weights.
LOOKS = st.sampled_from(
    ["fine", "worse", "blind", "unseen", "gone", "degraded", "sick", "drifted", "stolen", "silent"]
)
WISHES = st.sampled_from(["promote", "stale", "hold", "resume", "abort", "alert", "error"])
HAPPENINGS = st.lists(st.one_of(LOOKS, LOOKS, WISHES), min_size=1, max_size=25)


def happen(walk: Walk, what: str) -> None:
    """One thing happens; ten quiet seconds pass with a fine look."""
    walk.rates = (0.0, 0.5) if what == "worse" else (0.0, 0.0)
    if what in {"fine", "worse"}:
        for _ in range(10):
            walk.tick()
        return
    wish = wishes(walk).get(what)
    if wish:
        walk.tell(wish)
    elif what == "drifted":
        # After a rollout has ended the weights are people's own again.
        walk.weights = walk.weights if walk.phase in FINAL else pair(70, 30)
        walk.tick()
    else:
        walk.tick(**look(walk, what))


def wishes(walk: Walk) -> dict[str, Event]:
    at_s, here = walk.now_s, walk.rollout.step + 1
    return {
        "promote": PromoteAsked(at_s, "ada", here),
        "stale": PromoteAsked(at_s, "ada", here + 1),
        "hold": HoldAsked(at_s, "ada"),
        "resume": ResumeAsked(at_s, "ada"),
        "abort": AbortAsked(at_s, "ada"),
        "alert": AlertFired(at_s, "a-1", "shop-5xx", 1, (), ""),
        "error": TurnFailed(at_s, "KeyError"),
    }


def look(walk: Walk, what: str) -> dict[str, object]:
    seen = profile(walk.weights)
    looks: dict[str, dict[str, object]] = {
        "blind": {"answer": Answer(Sight.FAILED, "429")},
        "silent": {"answer": Answer(Sight.ABSENT, "204")},
        "unseen": {"traffic": TrafficSeen(Sight.FAILED, "503")},
        "gone": {"traffic": TrafficSeen(Sight.ABSENT, "404")},
        "degraded": {"traffic": saw(profile(walk.weights, canary_health="Degraded"))},
        "sick": {"traffic": saw(profile(walk.weights, stable_health="Stopped"))},
        "stolen": {"traffic": saw(replace(seen, endpoints=seen.endpoints[:1]))},
    }
    return looks[what]


def short_plan(*, manual: bool) -> Walk:
    return Walk(plan=plan(steps=(step(10, manual=manual), step(50), step(100))))


@given(HAPPENINGS, st.booleans())
@settings(max_examples=150, deadline=None)
def test_whatever_happens_the_promises_hold(happenings: list[str], manual: bool) -> None:
    """The wish rises only by a look or a promote; going back means zero; zero is reached."""
    walk = short_plan(manual=manual)
    for what in happenings:
        happen(walk, what)
    check_promises(walk)

    walk.tell(AbortAsked(walk.now_s, "ada"))
    walk.until(lambda w: w.phase in FINAL, most=20)

    assert walk.share == 0 or walk.phase is Phase.REFUSED
    assert walk.weights == pair(100, 0) or walk.phase is Phase.REFUSED


def check_promises(walk: Walk) -> None:
    """Replays the walk and looks at each step of it."""
    again = Walk(plan=walk.plan)
    for event in walk.events[1:]:
        before = again.rollout
        decision = again.tell(event)
        after = decision.rollout
        if after.wanted_percent > before.wanted_percent:
            assert isinstance(event, Ticked | PromoteAsked)
            assert before.phase in {Phase.PENDING, Phase.BAKING, Phase.HELD}
        if after.phase in {Phase.RETREATING, Phase.REVERTED, Phase.REFUSED}:
            assert after.wanted_percent == 0
        if decision.refused:
            assert replace(after, sequence=before.sequence) == before
        for effect in decision.effects:
            if isinstance(effect, SetPercent):
                assert effect.percent == after.wanted_percent
    assert again.rollout == walk.rollout


@given(HAPPENINGS)
@settings(max_examples=50, deadline=None)
def test_no_pass_is_drawn_while_blind(happenings: list[str]) -> None:
    """A rise by a look rests on a look that saw both telemetry and weights."""
    walk = short_plan(manual=False)
    for what in happenings:
        happen(walk, what)

    for event, decision in zip(walk.events, walk.told, strict=True):
        if "going to" in decision.sentence and isinstance(event, Ticked):
            assert event.traffic.sight is Sight.SEEN
            assert event.answer is not None
            assert event.answer.sight is Sight.SEEN
