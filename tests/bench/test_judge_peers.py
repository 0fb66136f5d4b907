"""The rules of others, and the tables drawn from a small simulation."""

import numpy as np
import pytest

from bench.judge import kayenta, peers, rollouts, tables, wald
from bench.judge.engine import CONTINUE, PASS, ROLLBACK, Bins
from bench.judge.kayenta import Label
from bench.judge.worlds import Cell

ONE = np.array([0])


def minute(canary_bad: float, canary: float = 100) -> Bins:
    return Bins(*(np.array([float(count)]) for count in (900, 9, canary, canary_bad)))


def verdicts(judge: peers.Judge, bins: list[Bins]) -> list[int]:
    return [int(judge.look(ONE, one, np.array([0.5]))[0]) for one in bins]


def test_argo_rolls_back_on_the_fourth_failed_measurement_of_a_step() -> None:
    """Three in one step and three in the next are forgiven."""
    judge = peers.Argo(1, 0.01)
    assert verdicts(judge, [minute(5)] * 3 + [minute(0)] * 7) == [CONTINUE] * 9 + [PASS]
    judge.advance(ONE)
    assert verdicts(judge, [minute(5)] * 4) == [CONTINUE] * 3 + [ROLLBACK]


def test_flagger_forgets_no_failed_check_and_counts_silence_as_one() -> None:
    """The tick after the fifth failed check rolls back."""
    judge = peers.Flagger(1, 0.01)
    feed = [minute(5), minute(0), minute(0, 0), minute(5), minute(5), minute(5), minute(0)]
    assert verdicts(judge, feed)[:3] == [CONTINUE, PASS, CONTINUE]
    assert verdicts(judge, [minute(0)]) == [ROLLBACK]


def test_the_fixed_bake_looks_once() -> None:
    """However bad the first minutes are."""
    feed = [minute(50)] * 10
    assert verdicts(peers.FixedBake(1, 0.01), feed) == [CONTINUE] * 9 + [ROLLBACK]


def test_the_z_test_needs_no_threshold() -> None:
    """Five of a hundred against one of a hundred is enough at once."""
    assert verdicts(peers.RepeatedZ(1, 0.01), [minute(5)]) == [ROLLBACK]


@pytest.mark.parametrize(
    ("control", "experiment", "label"),
    [
        ([], [1.0], Label.NODATA),
        ([0.0] * 15, [0.0] * 15, Label.PASS),
        ([1.0, 2.0, 3.0], [3.0, 2.0, 1.0], Label.PASS),
        ([0.0] * 3, [1.0] * 3, Label.ERROR),
        ([i / 10 for i in range(15)], [5 + i / 10 for i in range(15)], Label.HIGH),
        ([5 + i / 10 for i in range(15)], [i / 10 for i in range(15)], Label.PASS),
        ([i / 10 for i in range(15)], [0.02 + i / 10 for i in range(15)], Label.PASS),
    ],
)
def test_kayenta_labels_a_step(control: list[float], experiment: list[float], label: Label) -> None:
    """No data, equal data, tied data, clearly more, clearly less, hardly more."""
    assert kayenta.classify(control, experiment) is label


def test_the_root_search_finds_a_smooth_root_to_its_tolerance() -> None:
    """Whichever end is nearer."""
    found = kayenta.brent((0.0, 3.0), (-2.0, 7.0), lambda x: x * x - 2)
    assert found == pytest.approx(2**0.5, abs=1e-4)


def test_a_part_of_the_tables_is_the_same_each_time_and_all_rollouts_end() -> None:
    """Seeded by name: a terrible release is rolled back by ours, early, twice alike."""
    task = rollouts.Task(Cell("dns", 100, 0.01, 5.0), "ours", 4)
    first, again = rollouts.run(task), rollouts.run(task)
    assert first.minutes.tolist() == again.minutes.tolist()
    assert (first.verdict == ROLLBACK).all()
    assert (first.minutes < 120).all()
    text = "\n".join(table.markdown() for table in tables.of_rollouts({task: first}))
    assert "| dns, 100, 1.0%, x5 | 0.0 % [0.0, 49.0] |" in text


def test_walds_bound_is_that_of_the_judges_document() -> None:
    """4.18 nats over the information of one bad event."""
    bounds = [wald.Bound(share, 2.0, None, 10, "ours", 1) for share in (0.05, 0.5)]
    assert [round(wald.wald_events(bound)) for bound in bounds] == [243, 74]


@pytest.mark.parametrize(("hits", "low", "high"), [(0, 0.0, 0.037), (50, 0.404, 0.596)])
def test_wilsons_interval(hits: int, low: float, high: float) -> None:
    """Of a hundred."""
    assert tables.wilson(hits, 100) == pytest.approx((low, high), abs=1e-3)
