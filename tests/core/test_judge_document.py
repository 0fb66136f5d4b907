"""docs/judge.md says what the code does: constants, defaults, and files that are there."""

import re
from pathlib import Path

import pytest

from bench.judge import rollouts, tried
from bench.judge.tables import named
from shared.core import advice, blindness, evidence, judge, questions, risk, stats, strata

ROOT = Path(__file__).parents[2]
TEXT = " ".join((ROOT / "docs" / "judge.md").read_text(encoding="utf-8").split())
RISK = judge.Risk()


@pytest.mark.parametrize(
    "claim",
    [
        f"a grid of {len(stats.THETAS)} ratios and {len(stats.RHOS)} values of rho",
        f"lse over theta > {RISK.worse_than:g} and rho",
        f"{judge._ROLLOUT_WEIGHT:g} E_worse(rollout) + ({judge._STEPS_WEIGHT:g} / steps) E_worse",
        f"rules with fewer than {judge._LEAST_BAD} bad of the canary",
        f"two blocks in a row with k_c >= {evidence._DEAD_BAD},",
        f"over {risk.MIN_BINS} blocks and {questions.SHORTEST_BAKE_S // 60} minutes at least",
        "u = " + ", ".join(f"1/{1 / each:g}" for each in stats._SMALLER_RATES),
        f"the {strata.MOST_STRATA} largest strata have a weight each",
        f"within 1/{1 / strata._LEAST:g} and {strata._MOST:g}",
        "c in {" + ", ".join(f"{each:g}" for each in strata._LENT) + "}",
        f"foretells it by {strata._LEAST_GAIN:g} nats better",
        f"| alpha | {RISK.false_rollback:.0%}".replace("%", " %"),
        f"| beta | {RISK.false_promotion:.0%}".replace("%", " %"),
        f"| h | {RISK.inflation:.0%}".replace("%", " %"),
        f"| delta | {100 * RISK.tolerance:g} points",
        f"where the plan names a `role` | more than {100 * advice._NOTED_UNLABELLED:g} %: advice;",
        f"advice; more than {100 * blindness.MOST_UNLABELLED:g} %: blind |",
        "without a version label, without a `role` | not looked for",
        f"| block | max({questions.SHORTEST_BLOCK_S} s, 2 TTL), with strata max(",
        f"strata max({questions.SHORTEST_STANDARD_BLOCK_S} s, 2 TTL)",
    ],
)
def test_a_number_of_the_method_is_the_codes(claim: str) -> None:
    """Who changes one changes the other."""
    assert claim in TEXT


def test_the_bench_judges_by_the_products_blocks() -> None:
    """The tables are about what runs, not about something quicker."""
    blocks = rollouts.SHORTEST_BLOCK_S, rollouts.SHORTEST_BAKE_S
    assert blocks == (questions.SHORTEST_STANDARD_BLOCK_S, questions.SHORTEST_BAKE_S)


def test_every_line_that_was_tried_is_in_the_document() -> None:
    """What the bench can show again, and nothing that it cannot."""
    lines = [f"| {named(each.cell)} | {each.judge} |" for each in tried.tasks(1)]
    assert lines
    assert [line for line in lines if line not in TEXT] == []


def test_every_file_that_is_named_is_there() -> None:
    """Tests and worlds to look at."""
    found = re.findall(r"`((?:tests|bench|shared)/[\w./]+)`", TEXT)
    assert found
    assert [path for path in found if not (ROOT / path).exists()] == []
