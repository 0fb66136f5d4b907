"""Given: evidence and steps for the judge, and one rule's verdict on them."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from shared.core import judge
from shared.core.judge import Counts, Evidence, Risk, Step, Verdict, Weighing

RISK = Risk()
ALL = 10**6
QUIET = Counts(3000, 30, 3000, 30)
HARM = Counts(5400, 54, 600, 30)


def step(**changes: Any) -> Step:
    return replace(Step(next_share=1.0, steps=5, sealed_before=ALL), **changes)


def seen(bins: Iterable[Counts], objective: float = 0.0) -> Evidence:
    began = judge.start_step(judge.begin(0), 0, objective)
    return judge.gather(began, enumerate(bins))


def one(evidence: Evidence, at: Step | None = None, **more: Any) -> tuple[Verdict, Weighing]:
    verdict = judge.weigh({"errors": evidence}, at or step(), RISK, **more)
    return verdict, verdict.weighings[0]
