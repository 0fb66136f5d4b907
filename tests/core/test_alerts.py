"""Spells of alerts: what was firing before the start is told from what began to fire after it."""

from dataclasses import replace

import pytest

from shared.core.alerts import Spell, fired, resolved

LAPSE_S = 3600.0


def spell(since_s: float, last_s: float | None = None) -> Spell:
    return Spell("k", "shop-5xx", 1, ("/app",), since_s, since_s if last_s is None else last_s)


def test_the_first_firing_begins_a_spell() -> None:
    assert fired(None, spell(100), LAPSE_S) == spell(100)


def test_a_stateless_rule_that_keeps_firing_is_in_one_spell() -> None:
    """It has a new alert id at every evaluation, and never says that it is resolved."""
    known = spell(100)
    for at_s in (400, 700, 1000):
        known = fired(known, spell(at_s), LAPSE_S)

    assert (known.since_s, known.last_s) == (100, 1000)


def test_silence_for_the_lapse_time_ends_a_spell() -> None:
    assert fired(spell(100), spell(100 + LAPSE_S), LAPSE_S).since_s == 100
    assert fired(spell(100), spell(101 + LAPSE_S), LAPSE_S).since_s == 101 + LAPSE_S


def test_what_fires_after_it_was_resolved_is_news() -> None:
    over = resolved(spell(100), spell(100, 200), 150)

    assert fired(over, spell(160), LAPSE_S) == spell(160)


def test_a_firing_that_comes_after_its_own_resolution_does_not_begin_again() -> None:
    """Two messages overtake each other, or the first one is delivered twice."""
    over = resolved(spell(100), spell(100, 200), 150)

    again = fired(over, spell(100, 300), LAPSE_S)

    assert (again.since_s, again.resolved_s) == (100, 150)


def test_a_resolution_of_something_never_heard_is_kept_as_over() -> None:
    assert resolved(None, spell(100), 150) == replace(spell(100), resolved_s=150)


@pytest.mark.parametrize(("late", "since_s"), [(50, 50), (400, 100)])
def test_a_spell_began_when_its_earliest_firing_did(late: float, since_s: float) -> None:
    assert fired(spell(100), spell(late, 500), LAPSE_S).since_s == since_s
