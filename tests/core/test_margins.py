"""The judge of a dark launch: harm below its margin is not heard, and chance is seldom harm."""

from random import Random

from shared.core import judge
from shared.core.judge import Counts, Kind, Verdict
from shared.core.shadow import MISMATCH
from tests.weighed import RISK, step


def weighed(bins: list[Counts], margin: float, *, blind: str = "") -> Verdict:
    evidence = judge.gather(judge.begin(0), enumerate(bins))
    return judge.weigh({MISMATCH: evidence}, step(), RISK, margins={MISMATCH: margin}, blind=blind)


def test_harm_below_the_margin_is_not_heard_however_sure_it_is() -> None:
    """0.4 points more on millions of samples: no fail with 0.5 allowed, a fail with 0.3."""
    tiny = [Counts(50_000, 0, 100_000, 400)] * 60

    assert weighed(tiny, 0.005).worse == judge.NO_EVIDENCE
    assert weighed(tiny, 0.005).kind is not Kind.FAIL
    assert weighed(tiny, 0.003).kind is Kind.FAIL


def test_fewer_than_three_bad_answers_are_not_heard() -> None:
    assert weighed([Counts(10, 0, 1, 1)] * 2, 0.005).worse == judge.NO_EVIDENCE


def test_harm_beats_blindness_and_blindness_beats_a_pass() -> None:
    assert weighed([Counts(500, 0, 1000, 100)] * 60, 0.005, blind="x").kind is Kind.FAIL
    assert weighed([Counts(5000, 0, 10_000, 0)] * 10, 0.005, blind="x").kind is Kind.BLIND


def drawn_bins(chance: Random, canary: float, stable: float, bins: int) -> list[Counts]:
    """Bins of 50 samples, half of them answered by stable too."""

    def bad(of: int, share: float) -> int:
        return sum(chance.random() < share for _ in range(of))

    return [Counts(25, bad(25, stable), 50, bad(50, canary)) for _ in range(bins)]


def looks_until(bins: list[Counts], wanted: Kind) -> int | None:
    """After how many looks, one a bin, the verdict is the one; None if never."""
    evidence = judge.begin(0)
    for index, counts in enumerate(bins):
        evidence = judge.fold(judge.gather(evidence, [(index, counts)]), index)
        verdict = judge.weigh(
            {MISMATCH: evidence},
            step(steps=3, sealed_before=index),
            RISK,
            margins={MISMATCH: 0.005},
        )
        if verdict.kind is wanted:
            return index + 1
    return None


def test_noise_in_both_arms_is_hardly_ever_taken_for_harm() -> None:
    """300 runs of 1000 samples in which 5 % differ on both sides: alpha is 1 %."""
    chance = Random(4)
    fails = [looks_until(drawn_bins(chance, 0.05, 0.05, 20), Kind.FAIL) for _ in range(300)]

    assert sum(fail is not None for fail in fails) <= 1


def test_two_wrong_answers_in_a_hundred_are_found_within_three_thousand_samples() -> None:
    chance = Random(5)
    fails = [looks_until(drawn_bins(chance, 0.02, 0.0, 60), Kind.FAIL) for _ in range(60)]

    assert sum(fail is not None for fail in fails) >= 57
