"""Affected clients instead of requests: counted where the source does, compared only when fair."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from shared.core import clients, questions
from shared.core.judge import Counts
from shared.core.model import Phase
from shared.core.questions import bin_at, read_up_to
from shared.core.telemetry import Answer, ArmBin, BinSeen, Sight, Standard
from tests.given import profile, saw, step
from tests.told import MINUTE_S, Told, minutes, minutes_plan

BLIND = "neither good nor bad can be said now"
SOURCE = replace(minutes_plan().source, client="UserId")
LONG = minutes_plan(steps=(step(10, min_s=36_000, max_s=72_000), step(100)), source=SOURCE)


def seen(weights: tuple[float, float], *, exempt_bad: int = 0) -> Callable[[Answer], Answer]:
    """Six thousand requests of a thousand clients, a row standing for so many of either arm."""

    def arm(items: int, weight: float, bad: int) -> ArmBin:
        rows = round((items - bad) / weight) + bad
        return ArmBin(items, rows, (float(bad),), (bad,), (items // 6,), (min(bad, items // 6),))

    def bent(answer: Answer) -> Answer:
        stable, canary = arm(5400, weights[0], 0), arm(600, weights[1], exempt_bad)
        return replace(answer, bins=tuple(BinSeen(s.index, stable, canary) for s in answer.bins))

    return bent


def walked(weights: tuple[float, float] = (1, 1), looks: int = 12, **more: int) -> Told:
    walk = minutes(plan=LONG).bake()
    walk.bend = seen(weights, **more)
    walk.looks(looks)
    return walk


def counts(walk: Told) -> Counts:
    assert walk.rollout.verdict is not None
    return walk.rollout.verdict.weighings[0].step_counts


@pytest.mark.parametrize(
    "weights", [(1, 1), (10, 10), (10, 10.9)], ids=["whole", "alike", "nearly"]
)
def test_clients_are_the_events(weights: tuple[float, float]) -> None:
    """Nine hundred of stable and a hundred of the canary a minute, whatever the rows."""
    walk = walked(weights)
    assert BLIND not in walk.rollout.sentence
    bins = counts(walk).stable_events / 900
    assert bins >= 5
    assert counts(walk) == Counts(900 * bins, 0, 100 * bins, 0)


@pytest.mark.parametrize("weights", [(1, 10), (10, 1), (10, 11.5)])
def test_arms_sampled_differently_are_no_evidence_for_a_pass(
    weights: tuple[float, float],
) -> None:
    """Blind, with both rates and what to do; the step's evidence stays as it was."""
    walk = minutes(plan=LONG).bake()
    walk.looks(10)
    before = counts(walk)
    walk.bend = seen(weights)
    said = walk.look()
    assert said == (
        f"{BLIND}: clients cannot be compared: a row stands for {weights[0]:g} "
        f"requests of stable and {weights[1]:g} of the canary, and a coarser sample shows fewer "
        "clients as bad; sample both versions alike, or leave evidence.client out"
    )
    assert counts(walk) == before
    assert walk.rollout.last_row_s == walk.now_s


@pytest.mark.parametrize("weights", [(1, 10), (10, 1)])
@pytest.mark.parametrize("bad", [60, 240])
def test_harm_is_found_however_the_arms_are_sampled(weights: tuple[float, float], bad: int) -> None:
    """Blindness to clients blocks a pass; a canary that fails its requests goes all the same."""
    walk = walked(weights, looks=20, exempt_bad=bad)
    assert walk.phase in {Phase.RETREATING, Phase.REVERTED}
    assert any("client visits and requests" in each.sentence for each in walk.told)


def test_requests_are_compared_however_they_are_sampled() -> None:
    """Without a client column the weights are known, and nothing is unfair."""
    answer = seen((1, 10))(Answer(Sight.SEEN, bins=(BinSeen(0, None, None),)))
    assert clients.unlike(SOURCE, answer)
    assert not clients.unlike(replace(SOURCE, client=None), answer)


@pytest.mark.parametrize("bad", [300, 600], ids=["half", "all"])
def test_failures_that_escape_the_sampling_make_no_arm_unlike(bad: int) -> None:
    """A dead canary whose failures are all kept is found, not hidden by blindness."""
    walk = walked((10, 10), exempt_bad=bad)
    assert "clients cannot be compared" not in "".join(each.sentence for each in walk.told)
    assert Phase.RETREATING in {each.rollout.phase for each in walk.told}


def open_bins(walk: Told) -> list[Counts]:
    return [counts for _, counts in (walk.rollout.evidence or {})["errors"].open_bins]


def used_up(canary_bad: int, left: int = 0) -> Callable[[Answer], Answer]:
    """Whoever asks was bad in this step before, but for so many of either arm."""

    def arm(items: int, bad: int) -> ArmBin:
        return ArmBin(items, items, (float(bad),), (bad,), (left,), (0,))

    def bent(answer: Answer) -> Answer:
        bins = [BinSeen(s.index, arm(5400, 54), arm(600, canary_bad)) for s in answer.bins]
        return replace(answer, bins=tuple(bins))

    return bent


@pytest.mark.parametrize(
    ("bad", "said"),
    [(600, "half or more bad in two blocks in a row (canary 1200 of 1200 requests bad"), (150, "")],
    ids=["down", "a quarter"],
)
def test_a_canary_that_fails_only_those_it_failed_before_is_found(bad: int, said: str) -> None:
    """No client is left to turn bad, and none need be: their requests tell."""
    walk = walked(looks=10)
    walk.bend = used_up(bad)
    walk.looks(30)
    assert walk.phase in {Phase.RETREATING, Phase.REVERTED}
    assert any(said in each.sentence for each in walk.told)


def test_when_too_few_clients_are_left_a_step_is_blind_and_no_longer_passes() -> None:
    """Old merit says nothing of a version that nobody can turn bad at."""
    walk = walked(looks=10)
    walk.bend = used_up(6, left=20)
    walk.looks(7)
    assert walk.phase is Phase.BAKING
    assert walk.rollout.sentence == (
        f"{BLIND}: clients are used up: 40 in the newest block were not bad "
        "in this step before, where 1000 were in its fullest; leave evidence.client out, or bake "
        "shorter"
    )


def test_a_quiet_hour_uses_up_no_clients() -> None:
    """Fewer ask, and fewer of them are there: each request comes from as many as before."""
    walk = walked(looks=10)
    whole = walk.bend

    def quiet(answer: Answer) -> Answer:
        def tenth(arm: ArmBin | None) -> ArmBin | None:
            return arm and replace(arm, items=arm.items / 20, clients=(arm.clients[0] // 20,))

        bins = [replace(s, stable=tenth(s.stable), canary=tenth(s.canary)) for s in answer.bins]
        return replace(answer, bins=tuple(bins))

    walk.bend = lambda answer: quiet(whole(answer))
    walk.looks(20)
    assert "used up" not in "".join(each.sentence for each in walk.told)


def test_blocks_of_the_step_below_are_counted_in_clients_while_weights_shift_to_100() -> None:
    """One of them who retries for all he is worth is no reason to go back."""
    steps = (step(50, max_s=72_000), step(100, min_s=7200, max_s=72_000))
    walk = Chronic(minutes_plan(source=SOURCE, steps=steps), tick_s=MINUTE_S)
    while walk.rollout.wanted_percent < 100:
        walk.look()
    walk.look()
    assert walk.phase is Phase.SHIFTING
    assert {each.canary_events for each in open_bins(walk)} == {1960}, "2000 requests"
    verdict = walk.rollout.verdict
    assert verdict is not None
    assert verdict.unit == "client visits"
    walk.looks(20)
    verdict = walk.rollout.verdict
    assert verdict is not None
    assert (verdict.unit, verdict.unit_before) == ("requests", "client visits")
    assert (
        verdict.weighings[0].counts.canary_events < verdict.weighings[0].step_counts.canary_events
    )


def test_when_sampling_is_put_right_the_window_moves_on() -> None:
    """Whole looks of bins that can never be compared are passed by, so sight comes back."""
    walk = walked((1, 10), looks=300)
    assert BLIND in walk.rollout.sentence
    assert walk.phase is Phase.BAKING

    walk.bend = seen((1, 1))
    walk.looks(60)

    assert BLIND not in walk.rollout.sentence
    assert read_up_to(walk.rollout) == bin_at(walk.now_s - 300, MINUTE_S)


@pytest.mark.parametrize(("keyless", "blind"), [(0.5, False), (0.64, True)])
def test_rows_without_a_client_blind_when_they_are_most(keyless: float, *, blind: bool) -> None:
    """Half is still enough; and it matters only where clients are counted."""
    walk = minutes(plan=LONG).bake()
    walk.bend = lambda answer: replace(seen((1, 1))(answer), keyless=keyless)
    walk.looks(3)
    assert ("64 % of the rows carry no UserId" in walk.rollout.sentence) == blind
    other = minutes(bend=walk.bend).bake()
    other.look()
    assert "carry no" not in other.rollout.sentence


def test_what_was_seen_of_a_bin_before_it_was_passed_by_is_no_evidence_for_a_pass() -> None:
    """Its failures may have come later than its other rows, when nothing could be compared."""
    walk = walked(looks=4)
    before = counts(walk)
    assert (walk.rollout.evidence or {})["errors"].open_bins

    walk.bend = seen((1, 10))
    walk.looks(300)

    assert (walk.rollout.evidence or {})["errors"].step == before
    assert (walk.rollout.evidence or {})["errors"].rollout.canary_events > before.canary_events


class Chronic(Told):
    """Two thousand clients, all there each minute; one of fifty fails in whatever they do.

    So do `worse` of all requests besides.
    """

    worse = 0.0

    def answer(self) -> Answer | None:
        question = questions.needed(self.plan, self.rollout, self.now_s)
        if question is None:
            return None
        start = question.from_bin if question.step_bin is None else question.step_bin
        bins = tuple(
            BinSeen(
                index,
                *(self.clients(share, index - start) for share in (1 - self.share, self.share)),
            )
            for index in range(question.from_bin, question.to_bin)
        )
        return Answer(Sight.SEEN, bins=bins, newest_s=self.now_s, to_bin=question.to_bin)

    def clients(self, share: float, age: int) -> ArmBin | None:
        there = round(2000 * share)
        always, now_and_then = there // 50, age % 2 if share > 1 / 2 else 0
        bad, left = (always, there) if age == 0 else (now_and_then, there - always)
        rows = always + now_and_then + round(self.worse * there)
        return ArmBin(there, there, (rows,), (rows,), (left,), (bad,)) if there else None


def test_clients_who_always_fail_are_no_news_in_any_step() -> None:
    """They all turn bad at once in each step: neither stable nor the canary has become worse."""
    source = replace(SOURCE, risk=replace(SOURCE.risk, tolerance=0.005))
    steps = tuple(step(percent, max_s=72_000) for percent in (10, 50, 100))
    walk = Chronic(minutes_plan(source=source, steps=steps), tick_s=MINUTE_S)

    said = walk.looks(120)

    assert walk.phase is Phase.PROMOTED, walk.rollout.sentence
    assert not [each for each in said if "gone bad" in each]


class Staying(Chronic):
    """A hundred clients come each minute and stay for ten; so many turn bad in each minute."""

    a_minute = 5

    def answer(self) -> Answer | None:
        question = questions.needed(self.plan, self.rollout, self.now_s)
        if question is None:
            return None
        minutes = question.bin_s / MINUTE_S
        shares = (1 - self.share, self.share)
        seen = [self.staying(minutes, share) for share in shares]
        bins = [BinSeen(index, *seen) for index in range(question.from_bin, question.to_bin)]
        return Answer(Sight.SEEN, bins=tuple(bins), newest_s=self.now_s, to_bin=question.to_bin)

    def staying(self, minutes: float, share: float) -> ArmBin | None:
        there = round(100 * (minutes + 9) * share)
        bad = round(self.a_minute * minutes * share)
        rows = round(1000 * minutes * share)
        return ArmBin(rows, rows, (bad,), (bad,), (there,), (bad,)) if there else None


@pytest.mark.parametrize("ttl_s", [30, 120, 300])
@pytest.mark.parametrize(("turn_bad", "held"), [(5, False), (65, True)])
def test_a_healthy_stable_is_healthy_in_blocks_of_any_length(
    ttl_s: int, turn_bad: int, *, held: bool
) -> None:
    """Its past is read by the minute, which makes more visits of the same clients."""
    source = replace(SOURCE, bin_s=None, risk=replace(SOURCE.risk, tolerance=0.003))
    plan = minutes_plan(source=source, steps=(step(20, min_s=21_600, max_s=72_000), step(100)))
    walk = Staying(plan, tick_s=MINUTE_S)
    for _ in range(500):
        walk.look(traffic=saw(profile(walk.weights, ttl_s=ttl_s)))
        if walk.rollout.step or walk.phase is Phase.HELD:
            break
        walk.a_minute = turn_bad if walk.phase is Phase.BAKING else walk.a_minute
    assert walk.rollout.bin_s == max(60, 2 * ttl_s)
    assert ("stable itself has gone bad" in walk.rollout.sentence) == held
    assert (walk.phase, walk.rollout.step) == ((Phase.HELD, 0) if held else (Phase.SHIFTING, 1))


def test_at_100_percent_requests_are_held_against_what_stable_failed_of_them() -> None:
    """No other step is like the last, but requests are: five times as many failures are found."""
    steps = (step(50, max_s=72_000), step(100, min_s=7200, max_s=72_000))
    walk = Chronic(minutes_plan(source=SOURCE, steps=steps), tick_s=MINUTE_S)
    while walk.rollout.wanted_percent < 100:
        walk.look()
    walk.looks(10)
    assert walk.phase is Phase.BAKING

    walk.worse = 0.08
    said = walk.looks(30)

    assert walk.phase in {Phase.RETREATING, Phase.REVERTED}
    assert any("requests bad" in each and "was expected" in each for each in said)


@pytest.mark.parametrize(
    ("client", "standard", "unit"),
    [
        (None, None, "requests"),
        (None, Standard((), {}), "requests"),
        ("UserId", None, "client visits"),
        (None, Standard((), {"errors": (1.0,)}), "weighed requests"),
    ],
    ids=["requests", "nothing foretold", "clients", "strata"],
)
def test_a_sentence_says_what_it_counts(
    client: str | None, standard: Standard | None, unit: str
) -> None:
    """A client that comes back counts in each block, and a weighed request is no request."""
    walk = minutes(plan=replace(LONG, source=replace(SOURCE, client=client))).bake()
    walk.rollout = replace(walk.rollout, standard=standard)
    said = walk.looks(10)[-1]
    assert f" {unit} bad" in said
    assert walk.rollout.verdict is not None
    assert walk.rollout.verdict.unit == unit
