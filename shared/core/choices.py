"""The choices an event can lead to, as values: where to go, what to want, why.

A choice proposes a phase; only `machine.decide` enters it. Whatever wants more of the canary
passes through `shift`, whatever wants none of it through `retreat`.
"""

from dataclasses import dataclass, replace

from shared.core import judge, questions
from shared.core.effects import Effect, SetPercent, Tell
from shared.core.evidence import total
from shared.core.model import Hold, Phase, Plan, Rollout, step_name
from shared.core.weights import FULL

# Who holds a rollout when no person did.
LINNET = "linnet"


@dataclass(frozen=True, slots=True)
class Choice:
    """What one event leads to; `to` None stays in the phase. A refused one changes nothing."""

    rollout: Rollout
    sentence: str
    to: Phase | None = None
    effects: tuple[Effect, ...] = ()
    refused: bool = False


def stay(rollout: Rollout, sentence: str, effects: tuple[Effect, ...] = ()) -> Choice:
    """The phase goes on; the record may have learnt something."""
    return Choice(rollout, sentence, effects=effects)


def refuse(rollout: Rollout, words: str) -> Choice:
    """The event means nothing here: said, recorded, and nothing else."""
    return Choice(rollout, words, refused=True)


def go(rollout: Rollout, to: Phase, sentence: str, effects: tuple[Effect, ...] = ()) -> Choice:
    """Another phase, told to whoever listens."""
    return Choice(rollout, sentence, to, (*effects, Tell(sentence)))


def shift(plan: Plan, rollout: Rollout, index: int, at_s: float, why: str) -> Choice:
    """To a step's percentage. Going to 100 % freezes what stable has shown as the objective."""
    percent = plan.steps[index].percent
    objectives = rollout.objectives
    if percent == FULL and rollout.evidence:
        objectives = {
            name: judge.objective(
                (rollout.requests or {}).get(name, total(evidence)), plan.source.risk
            )
            for name, evidence in rollout.evidence.items()
        }
    rollout = replace(rollout, bin_s=questions.step_bin_s(plan, rollout, index))
    after = replace(
        wanting(rollout, percent),
        step=index,
        objectives=objectives,
        evidence=questions.for_step(plan, rollout, index, at_s),
        bake_since_s=None,
        blind_since_s=None,
    )
    sentence = f"{why}: going to {step_name(plan, index)}."
    return go(after, Phase.SHIFTING, sentence, (SetPercent(percent, after.generation),))


def advance(plan: Plan, rollout: Rollout, at_s: float, why: str) -> Choice:
    """To the next step, or to the end when this was the last."""
    if rollout.step + 1 < len(plan.steps):
        return shift(plan, rollout, rollout.step + 1, at_s, why)
    return go(rollout, Phase.PROMOTED, f"{why}; {plan.canary} has all traffic.")


def retreat(rollout: Rollout, why: str) -> Choice:
    """To zero, whatever else is going on."""
    after = wanting(rollout, 0.0)
    sentence = f"{why}: taking all traffic off the canary."
    return go(after, Phase.RETREATING, sentence, (SetPercent(0.0, after.generation),))


def wait_for_person(rollout: Rollout, hold: Hold) -> Choice:
    """Hold here until somebody says otherwise."""
    return go(replace(rollout, hold=hold), Phase.HELD, f"{hold.reason}: waiting for a person.")


def turn_down(rollout: Rollout, reasons: tuple[str, ...]) -> Choice:
    """End before any traffic moved, with every reason."""
    sentence = f"Refused: {'; '.join(reasons)}."
    return go(replace(rollout, reasons=reasons), Phase.REFUSED, sentence)


def wanting(rollout: Rollout, percent: float) -> Rollout:
    """The rollout with another wish, which is not verified yet."""
    return replace(
        rollout,
        wanted_percent=percent,
        generation=rollout.generation + 1,
        verified_at_s=None,
    )
