"""Evidence gathers, folds and starts anew with a step; late data and sealing keep their rules."""

import json
from dataclasses import asdict, replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.core import judge
from shared.core.judge import Counts, Evidence, Kind
from tests.weighed import HARM, QUIET, one, seen, step

DEAD = Counts(5400, 54, 600, 400)


def from_json(text: str) -> Evidence:
    raw = json.loads(text)
    for name in ("rollout_table", "step_table"):
        raw[name] = tuple(raw[name])
    for name in ("rollout", "step", "dead"):
        raw[name] = Counts(**raw[name])
    raw["open_bins"] = tuple((index, Counts(**counts)) for index, counts in raw["open_bins"])
    return Evidence(**raw)


# --- sealed and open bins -------------------------------------------------------------------------


COUNTS = st.builds(
    lambda n, k, m, j: Counts(n, min(k, n), m, min(j, m)),
    st.integers(0, 5000),
    st.integers(0, 60),
    st.integers(0, 5000),
    st.integers(0, 60),
)
BINS = st.lists(COUNTS, min_size=1, max_size=7)


@given(BINS, BINS, BINS)
@settings(max_examples=25, deadline=None)
def test_bins_that_still_grow_never_change_what_a_pass_rests_on(
    sealed: list[Counts], growing: list[Counts], others: list[Counts]
) -> None:
    """Evidence of no harm, margin and counts of the step come from sealed bins alone."""
    at, before = step(sealed_before=len(sealed)), seen(sealed)
    rest = [
        one(judge.gather(before, enumerate(bins, len(sealed))), at)[1] for bins in (growing, others)
    ]
    for name in ("ok", "absolute", "margin", "step_counts", "step_bins", "passed"):
        assert getattr(rest[0], name) == getattr(rest[1], name)


def test_a_fail_may_rest_on_bins_that_still_grow() -> None:
    """Nothing is sealed, and harm is seen all the same."""
    verdict, shown = one(seen([HARM] * 6), step(sealed_before=0))
    assert verdict.kind is Kind.FAIL
    assert shown.step_counts == Counts()
    assert shown.counts == Counts(32400, 324, 3600, 180)


@given(BINS, st.randoms(use_true_random=False), st.integers(0, 8))
@settings(max_examples=25, deadline=None)
def test_arrival_repetition_folding_and_json_change_nothing(
    bins: list[Counts], random: Random, before: int
) -> None:
    """In any order, twice, partly grown first, folded early, through JSON: the same verdict."""
    plain = seen(bins)
    shuffled = list(enumerate(bins))
    random.shuffle(shuffled)
    other = judge.begin(0)
    for index, counts in shuffled:
        partial = replace(counts, canary_bad=counts.canary_bad // 2)
        for answer in (partial, counts, counts):
            other = judge.gather(other, [(index, answer)])
        other = from_json(json.dumps(asdict(other)))
    assert other == plain
    folded = from_json(json.dumps(asdict(judge.fold(other, before))))
    assert one(folded) == one(plain)


@given(BINS, BINS)
@settings(max_examples=25, deadline=None)
def test_a_folded_bin_ignores_later_growth(bins: list[Counts], late: list[Counts]) -> None:
    """What is frozen stays as it was, and folding twice is folding once."""
    folded = judge.fold(seen(bins), len(bins))
    assert folded.open_bins == ()
    assert judge.gather(folded, enumerate(late[: len(bins)])) == folded
    assert judge.fold(folded, 0) == judge.fold(folded, len(bins)) == folded


def test_the_newest_bins_are_dropped_when_too_many_are_open() -> None:
    """The state stays bounded; old bins go first so that folding can catch up."""
    evidence = judge.gather(judge.begin(5), ((index, QUIET) for index in range(1000, 0, -1)))
    assert len(evidence.open_bins) == judge.MAX_OPEN_BINS
    assert [evidence.open_bins[0][0], evidence.open_bins[-1][0]] == [5, 5 + judge.MAX_OPEN_BINS - 1]


# --- steps ----------------------------------------------------------------------------------------


def test_a_new_step_starts_its_own_evidence_and_keeps_the_rollouts() -> None:
    """Open bins of the old weight count for the rollout, never for the step."""
    before = judge.fold(seen([HARM] * 3 + [QUIET] * 5), 5)
    after = judge.start_step(before, 8)
    shown = one(after)[1]
    assert shown.counts == one(before)[1].counts
    assert (shown.ratio_low, shown.ratio_high) == (
        one(before)[1].ratio_low,
        one(before)[1].ratio_high,
    )
    assert (shown.step_counts, shown.step_bins, shown.ok) == (Counts(), 0, 0)
    assert one(judge.gather(after, [(8, QUIET)]))[1].step_counts == QUIET


def test_a_release_that_turns_bad_late_is_found_by_its_step() -> None:
    """The step's own evidence fails it earlier than the rollout's, and its counts are shown."""
    late = judge.start_step(judge.fold(seen([Counts(5400, 54, 600, 6)] * 60), 60), 60)
    late = judge.gather(late, ((60 + i, Counts(3000, 30, 3000, 90)) for i in range(9)))
    verdict, _ = one(late)
    assert verdict.kind is Kind.FAIL
    assert "bad are 3.0 % of the canary's requests in this step (810 of 27000)" in verdict.sentence


def test_a_dead_canary_fails_after_two_bins_in_a_row() -> None:
    """One dead bin is not enough, a healthy bin breaks the row, an empty one does not."""
    silent = Counts(5400, 54, 0, 0)
    fails = [
        "down" in one(seen(bins))[0].sentence
        for bins in ([DEAD], [DEAD, QUIET, DEAD], [DEAD, DEAD], [DEAD, silent, DEAD])
    ]
    assert fails == [False, False, True, True]
    verdict = one(seen([DEAD, DEAD]), step(sealed_before=0), blind="late")[0]
    assert verdict.kind is Kind.FAIL


@pytest.mark.parametrize(
    "counts",
    [Counts(900, 0, 40, 29), Counts(9000, 90, 100, 49), Counts(100, 11, 100, 90)],
    ids=["few", "less than half", "stable bad too"],
)
def test_the_dead_canary_guard_needs_a_dead_canary_and_a_live_stable(counts: Counts) -> None:
    """Each of its three conditions matters."""
    assert judge.fold(seen([counts] * 3), 3).dead_bins == 0


@pytest.mark.parametrize(
    ("weighed", "requests", "dead"),
    [
        (Counts(9000, 90, 50, 30), (9000, 90, 1000, 30), 0),
        (Counts(9000, 90, 2000, 60), (9000, 90, 100, 60), 2),
        (Counts(900, 0, 0, 0), (9000, 90, 600, 600), 2),
    ],
    ids=["light strata", "heavy strata", "no client left to turn bad"],
)
def test_the_dead_canary_guard_asks_requests(
    weighed: Counts, requests: tuple[float, float, float, float], dead: int
) -> None:
    """Neither the weights of strata nor whom the canary hurt before make it dead or alive."""
    bins = [replace(weighed, requests=requests)] * 2
    assert judge.fold(seen(bins), 2).dead_bins == dead


def test_the_dead_canary_guard_remembers_folded_bins() -> None:
    """The row runs across folding, and once tripped it stays tripped."""
    evidence = judge.fold(seen([DEAD]), 1)
    assert evidence.dead_bins == 1
    evidence = judge.gather(evidence, [(1, DEAD), (2, QUIET)])
    assert one(evidence)[0].kind is Kind.FAIL
    assert judge.fold(evidence, 3).dead_bins == 2
