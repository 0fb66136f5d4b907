"""How the tally becomes evidence, through decide: learning, blindness, deadlines, its own words."""

from dataclasses import dataclass, replace

import pytest

from shared.core import tallies
from shared.core.events import HoldAsked, ResumeAsked, Ticked
from shared.core.model import Phase, Plan, Step, TrafficSeen
from shared.core.redact import Redaction
from shared.core.rules import Rules
from shared.core.shadow import SHADOW_RULES, Judged, Margins, Shadow
from shared.core.tally import Place, Tally, counted
from shared.core.telemetry import Answer, Sight
from tests.given import Walk, plan, step

SHADOW = Shadow(
    Rules(),
    Redaction(),
    margins=Margins(0.02, 0.05, 0.02),
    samples=200,
    learn=20,
    timeout_s=1,
    most_samples=5000,
)


def dark_plan(shadow: Shadow = SHADOW, *, max_s: float = 300, **changes: object) -> Plan:
    steps = (Step(0, 0, max_s, shadow=shadow), step(1), step(100))
    return plan(**{"steps": steps, **changes})


@dataclass
class DarkWalk(Walk):
    """A walk whose samples are one tally: so many a second, wrong by these shares."""

    seen: Tally | None = None
    samples_per_s: int = 25
    wrong: tuple[float, float] = (0.0, 0.0)
    made: int = 0

    def sample(self) -> None:
        """One sample, answered by stable too each other time."""
        self.made += 1
        twice = self.made % 2 == 0

        def bad(share: float) -> bool:
            return int(self.made * share) > int((self.made - 1) * share)

        judged = Judged(
            mismatch=bad(self.wrong[0]),
            unreachable=False,
            slower=False if twice else None,
            stable_mismatch=bad(2 * self.wrong[1]) if twice else None,
            stable_unreachable=False if twice else None,
            stable_slower=False if twice else None,
        )
        learning = tallies.learning(SHADOW, self.rollout)
        places = {"$.price": Place(canary=1, kinds="value")} if judged.mismatch else {}
        added = Tally(
            samples=1,
            noise_samples=int(twice),
            different=int(judged.mismatch),
            differences=len(places),
            newest_s=self.now_s,
            bins={int(self.now_s): counted(judged, learning=learning)},
            places=places,
        )
        self.seen = (self.seen or Tally()) + added

    def look(self, **changes: object) -> None:
        """A second with its samples, and a look."""
        if tallies.wanted(self.plan, self.rollout):
            for _ in range(self.samples_per_s):
                self.sample()
            self.tick(tally=self.seen or Tally(), **changes)
        else:
            self.tick(**changes)

    def looks(self, most: int = 400) -> "DarkWalk":
        """Until the dark launch is over, or held."""
        for _ in range(most):
            if self.rollout.step or self.phase in {Phase.HELD, Phase.RETREATING}:
                return self
            self.look()
        return self

    def baking(self) -> "DarkWalk":
        while self.phase is not Phase.BAKING:
            self.look()
        return self


def dark(**changes: object) -> DarkWalk:
    return DarkWalk(plan=dark_plan(**changes)).baking()  # type: ignore[arg-type]  # as in plan()


# --- the step -------------------------------------------------------------------------------------


def test_samples_are_wanted_while_the_dark_step_bakes_or_is_held_and_never_else() -> None:
    walk = DarkWalk(plan=dark_plan())
    while walk.phase is not Phase.BAKING:
        assert tallies.wanted(walk.plan, walk.rollout) is None
        walk.look()
    assert tallies.wanted(walk.plan, walk.rollout) == SHADOW
    walk.tell(HoldAsked(walk.now_s, "ada"))
    assert tallies.wanted(walk.plan, walk.rollout) == SHADOW
    walk.tell(ResumeAsked(walk.now_s, "ada"))
    walk.looks()
    assert walk.rollout.step == 1
    assert tallies.wanted(walk.plan, walk.rollout) is None


def test_telemetrys_evidence_begins_after_the_samples_own() -> None:
    walk = dark()
    assert tuple(walk.rollout.evidence or ()) == SHADOW_RULES
    walk.looks()
    assert tuple(walk.rollout.evidence or ()) == ("errors",)
    assert walk.reach(Phase.BAKING, 2).rollout.sentence == "Baking at step 2 of 3 (1 %)."


def test_a_pass_names_its_own_margin_and_no_percentage() -> None:
    """The plan's tolerance of 2 points is for telemetry; the narrowest rule here allows 5."""
    walk = dark(shadow=replace(SHADOW, margins=Margins(0.03, 0.05, 0.04))).looks()

    assert walk.rollout.step == 1
    assert (
        "slower: it adds less than 5 points of bad samples, with evidence " in walk.rollout.sentence
    )


def test_a_wrong_answer_leads_back_and_its_place_is_named() -> None:
    walk = dark()
    walk.wrong = (0.2, 0.0)
    walk.looks()

    assert walk.phase is Phase.RETREATING
    assert walk.rollout.sentence.startswith("mismatch: bad are 20.0 % of the canary's samples ")
    assert "; most at $.price (value: canary in 20.0 %, stable in 0.0 %" in walk.rollout.sentence


@pytest.mark.parametrize("places", [{}, None])
def test_harm_whose_place_nobody_kept_is_said_without_it(places: dict[str, Place] | None) -> None:
    walk = dark()
    walk.wrong = (0.5, 0.0)
    while walk.phase is Phase.BAKING:
        for _ in range(25):
            walk.sample()
        assert walk.seen is not None
        walk.tick(tally=None if places is None else replace(walk.seen, places=places))
        if places is None and walk.made > 1500:
            break

    assert "most at" not in walk.rollout.sentence


def test_an_unreachable_look_at_the_profile_raises_nothing() -> None:
    walk = dark()
    walk.look(traffic=TrafficSeen(Sight.FAILED, "503"))
    assert "Traffic Manager could not be read: 503" in walk.rollout.sentence


def test_a_manual_gate_waits_for_a_person_after_the_dark_launch() -> None:
    steps = (replace(dark_plan().steps[0], gate=step(1, manual=True).gate), step(1), step(100))
    walk = DarkWalk(plan=dark_plan(steps=steps)).baking().looks()

    assert walk.phase is Phase.HELD
    assert "The gate of step 1 of 3 (0 %) is manual" in walk.rollout.sentence


def test_an_empty_window_of_telemetry_is_nothing_to_a_dark_launch() -> None:
    """Its evidence are samples, and no user has met the canary yet."""
    walk = dark()
    while walk.phase is Phase.BAKING:
        walk.look(answer=Answer(Sight.ABSENT, "no request"))
    assert (walk.phase, walk.rollout.step) == (Phase.SHIFTING, 1)


def test_the_shortest_bake_holds_for_a_dark_launch_too() -> None:
    steps = (replace(dark_plan().steps[0], bake_min_s=100), step(1), step(100))
    walk = DarkWalk(plan=dark_plan(steps=steps)).baking()
    began_s = walk.now_s
    walk.looks()

    assert walk.rollout.step == 1
    assert walk.now_s - began_s == 100


# --- too few, none, and too late ------------------------------------------------------------------


def test_it_says_how_many_samples_it_still_needs() -> None:
    walk = dark(shadow=replace(SHADOW, samples=2000))
    walk.look()
    assert "still learnt: stable answered 12 of 20 samples again" in walk.rollout.sentence
    for _ in range(30):
        walk.look()
    assert walk.phase is Phase.BAKING
    assert walk.rollout.sentence.endswith("; only 775 of 2000 samples were compared")


def test_learning_slowly_is_no_blindness() -> None:
    """One sample in two seconds: noise is learnt for longer than the plan's patience of 30 s."""
    walk = dark()
    walk.samples_per_s = 0
    for second in range(60):
        if second % 2:
            walk.sample()
        walk.look()

    assert walk.phase is Phase.BAKING
    assert "still learnt: stable answered 15 of 20 samples" in walk.rollout.sentence


def test_undecided_at_its_deadline_it_waits_for_a_person() -> None:
    """Also when all that is missing are samples."""
    walk = dark(shadow=replace(SHADOW, samples=2000), max_s=40).looks()

    assert walk.phase is Phase.HELD
    assert walk.rollout.sentence.startswith("Undecided after 40 s of baking: ")
    assert "of 2000 samples were compared: waiting for a person." in walk.rollout.sentence


@pytest.mark.parametrize(
    ("seen", "words"),
    [
        (Tally(), "no sample has come for "),
        (Tally(skipped=7), "7 samples came and were skipped: none was replayed for "),
        (Tally(samples=9), "no further sample was replayed for "),
        (Tally(samples=5000), "all 5000 samples that the plan allows were replayed"),
    ],
)
def test_without_new_samples_it_is_blind_and_after_its_patience_held(
    seen: Tally, words: str
) -> None:
    walk = dark()
    walk.samples_per_s, walk.seen = 0, seen
    walk.looks()

    assert walk.phase is Phase.HELD
    assert walk.rollout.sentence.startswith(
        "Blind for 30 s: neither good nor bad can be said now: "
    )
    assert words in walk.rollout.sentence


def test_a_tally_that_was_not_read_is_blindness_and_changes_nothing() -> None:
    walk = dark()
    for _ in range(8):
        walk.look()
    before = walk.rollout
    walk.tick(tally=None)

    assert "the samples were not counted" in walk.rollout.sentence
    assert (walk.rollout.evidence, walk.rollout.samples) == (before.evidence, before.samples)


def test_a_bin_stays_open_for_as_long_as_replays_take() -> None:
    walk = dark()
    assert tallies.sealed_after_s(SHADOW, walk.rollout) == 3
    slow = replace(SHADOW, timeout_s=30)
    assert tallies.sealed_after_s(slow, walk.rollout) == tallies.SEALED_AFTER_S


def test_nothing_is_learnt_before_there_is_evidence_to_learn_into() -> None:
    walk = DarkWalk(plan=dark_plan())
    assert tallies.learn(SHADOW, walk.rollout, Tally(samples=3), walk.now_s) == walk.rollout


def test_the_same_looks_give_the_same_record() -> None:
    """History replays: every event again, from the start."""
    walk = dark()
    walk.wrong = (0.2, 0.0)
    walk.looks()
    again = DarkWalk(plan=walk.plan)
    for event in walk.events[1:]:
        again.tell(event)

    assert again.rollout == walk.rollout
    assert isinstance(walk.events[-1], Ticked)
