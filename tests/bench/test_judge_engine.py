"""The bench's NumPy engine against the product's judge and the reference values."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench.judge import engine
from bench.judge.engine import BINOMIAL, Bins, Engine
from shared.core import judge, stats
from shared.core.judge import Counts, Evidence, Kind, Risk, Step, Weighing

SHARES = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
VERDICTS = {Kind.FAIL: engine.ROLLBACK, Kind.UNSURE: engine.CONTINUE, Kind.PASS: engine.PASS}
VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parent.parent / "core" / "judge-vectors.json").read_text(encoding="utf-8")
)


def bins_of(counts: Any) -> Bins:
    return Bins(*np.array(counts, dtype=np.float64).reshape(-1, 4).T)


class Product:
    """One rollout under the product's own judge, each bin sealed at once."""

    def __init__(self, risk: Risk) -> None:
        self.evidence: Evidence = judge.begin(0)
        self.risk, self.at = risk, 0

    def look(self, counts: Counts, next_share: float) -> tuple[Weighing, float, int]:
        self.evidence = judge.gather(self.evidence, [(self.at, counts)])
        self.at += 1
        self.evidence = judge.fold(self.evidence, self.at)
        step = Step(next_share=next_share, steps=5, sealed_before=self.at)
        verdict = judge.weigh({"errors": self.evidence}, step, self.risk)
        return verdict.weighings[0], verdict.worse, VERDICTS[verdict.kind]

    def advance(self) -> None:
        self.evidence = judge.start_step(self.evidence, self.at)


@pytest.mark.parametrize("inflation", [0.25, 0.5])
def test_both_engines_agree_on_random_rollouts(inflation: float) -> None:
    """Poor, rich, silent, one-armed and dead bins, with clusters: same decisions, same evidence."""
    rng, runs, risk = np.random.default_rng(11), 24, Risk(inflation=inflation)
    ours, products = Engine(runs, risk=risk, steps=5), [Product(risk) for _ in range(runs)]
    rps, rate = 10.0 ** rng.uniform(0, 3.5, runs), 10.0 ** rng.uniform(-3, -1, runs)
    ratio = rng.choice([0.5, 1, 1, 1, 1.5, 2, 5, 60], runs)
    steps, active, seen = np.zeros(runs, dtype=np.int64), np.arange(runs), set[int]()
    for _ in range(30):
        shares = np.array(SHARES)[steps]
        shaken = rng.lognormal(0, 0.5, (2, runs))
        both = 60 * rps * np.stack((1 - shares, shares)) * (rng.random((2, runs)) > 0.03)
        events = rng.poisson(both)
        bad = rng.binomial(events, np.minimum(1, rate * shaken * np.stack((ratio * 0 + 1, ratio))))
        counts = np.stack((events[0], bad[0], events[1], bad[1]), axis=1)[active]
        looked = ours.weigh(active, bins_of(counts), np.array(SHARES)[steps[active] + 1])
        for row, run in enumerate(active):
            shown, _, verdict = products[run].look(
                Counts(*counts[row].tolist()), SHARES[steps[run] + 1]
            )
            mine = looked.worse[row], looked.ok[row], looked.absolute[row], looked.margin[row]
            theirs = shown.worse, shown.ok, shown.absolute, shown.margin
            assert mine == pytest.approx(theirs, abs=1e-9, rel=0)
            assert looked.verdict[row] == verdict
            seen.add(verdict)
        passed = active[looked.verdict == engine.PASS]
        steps[passed] += 1
        ours.advance(passed)
        for run in passed:
            products[run].advance()
        active = active[(looked.verdict != engine.ROLLBACK) & (steps[active] < 5)]
    assert seen == {engine.ROLLBACK, engine.CONTINUE, engine.PASS}


def test_the_tables_agree_with_the_products_to_1e_9() -> None:
    """Each cell, from one event to a bin of five million requests, fractional counts included."""
    counts = [
        (5940, 0, 60, 1), (0, 3, 60, 1), (60, 3, 0, 0), (100, 0, 100, 0), (3000, 31, 3000, 33),
        (59400, 33, 600, 7), (4_950_000, 49_500, 50_000, 2_500), (2_500_000, 1, 2_500_000, 250_000),
        (1000.5, 3.25, 999.5, 40.75),
    ]  # fmt: skip
    tables = engine.log_likelihoods(bins_of(counts))
    for table, one in zip(tables, counts, strict=True):
        assert table.ravel() == pytest.approx(stats.log_likelihoods(*one), abs=1e-9, rel=0)


def test_the_binomial_grid_is_the_first_column() -> None:
    """Without clusters only rho 0 is left, with all the weight."""
    counts = bins_of([(5400, 52, 600, 12)])
    whole = engine.log_likelihoods(counts)
    alone = engine.log_likelihoods(counts, BINOMIAL)
    assert np.array_equal(alone, whole[:, :, :1])
    mixed, best = engine.summed(alone)
    assert np.array_equal(mixed, best)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: str(case["name"]))
def test_a_reference_case_gives_its_numbers(case: dict[str, Any]) -> None:
    """Profile and log e-values as written down."""
    bins = case["bins_ns_ks_nc_kc"]
    table = engine.log_likelihoods(bins_of(bins)).sum(axis=0, keepdims=True)
    mixed, best = engine.summed(table)
    assert best[0] == pytest.approx(case["profile"], abs=1e-9, rel=1e-14)
    for theta0, name in ((1.0, "log_e_worse_1"), (1.1, "log_e_worse_1_1")):
        assert engine.log_e_worse(mixed, best, theta0)[0] == pytest.approx(case[name], abs=1e-9)
    for margin, expected in case["log_e_ok"].items():
        found = engine.log_e_ok(mixed, best, np.array([float(margin)]))
        assert found[0] == pytest.approx(expected, abs=1e-9)
    events, bad = (np.array([float(sum(one[at] for one in bins))]) for at in (2, 3))
    absolute = engine.log_e_absolute(events, bad, np.array([0.01]))
    assert absolute[0] == pytest.approx(case["log_e_abs_1pct"], abs=1e-9)


@pytest.mark.parametrize("case", VECTORS["decisions"], ids=lambda case: str(case["name"]))
def test_a_reference_rollout_gives_its_numbers(case: dict[str, Any]) -> None:
    """Look by look with growing blocks; late counts, which the bench never has, are left out."""
    minutes = [minute for minute, _, _ in case["feed"]]
    if minutes != list(range(len(minutes))):
        pytest.skip("this feed sends minutes late or again")
    ours = Engine(1, risk=Risk(), steps=5, block=case["settings"].get("block", 2))
    for (_, counts, share), expected in zip(case["feed"], case["log"], strict=True):
        looked = ours.weigh(np.array([0]), bins_of(counts), np.array([share]))
        mine = looked.worse[0], looked.ok[0], looked.absolute[0], looked.margin[0]
        names = "worse", "ok", "absolute", "margin"
        assert mine == pytest.approx([expected[name] for name in names], abs=1e-9)
