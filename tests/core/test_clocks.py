"""Wrong clocks, long nights, gaps and empty answers: no false verdict comes of them."""

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from shared.core import questions
from shared.core.judge import Kind
from shared.core.model import Phase, TrafficSeen
from shared.core.telemetry import Answer, Sight
from tests.given import step
from tests.told import MINUTE_S, Told, minutes, minutes_plan, skewed

LONG = minutes_plan(
    steps=(step(10, min_s=3600, max_s=36_000), step(50, min_s=3600, max_s=36_000), step(100))
)
BERLIN = ZoneInfo("Europe/Berlin")


def kinds(walk: Told, count: int) -> set[Kind]:
    """The verdicts of so many looks."""
    found = set()
    for _ in range(count):
        walk.look()
        assert walk.rollout.verdict is not None
        found.add(walk.rollout.verdict.kind)
    return found


@pytest.mark.parametrize("canary_s", [120, -120], ids=["ahead", "behind"])
def test_a_canary_whose_clock_is_two_minutes_off_is_judged_all_the_same(canary_s: float) -> None:
    """No false verdict, no blindness, and the evidence gathers to a pass."""
    walk = minutes(plan=LONG)
    walk.bend = lambda answer: skewed(walk, answer, canary_s)
    walk.bake()
    assert kinds(walk, 40) == {Kind.UNSURE, Kind.PASS}
    walk.bake(2)
    assert walk.told[-1].sentence.startswith("Baking at step 2")


def test_a_canary_whose_rows_are_older_than_the_patience_is_silent() -> None:
    """Behind by twenty minutes, all its rows come after their bins were complete."""
    walk = minutes(plan=LONG)
    walk.bake()
    walk.looks(20)
    walk.bend = lambda answer: skewed(walk, answer, -1200)
    walk.looks(14)
    assert "no request of the canary for" in walk.rollout.sentence


@pytest.mark.parametrize("newest_of", [(None, None), (None, 9e9), (9e9, 9e9)])
def test_a_row_from_the_future_does_not_hide_that_telemetry_stopped(
    newest_of: tuple[float | None, float | None],
) -> None:
    """One row of a clock that is hours ahead is in every answer; all others stop."""
    walk = minutes(plan=LONG).bake()
    walk.looks(5)
    stopped = walk.now_s
    last = questions.bin_at(stopped, MINUTE_S)

    def ahead(answer: Answer) -> Answer:
        bins = tuple(seen for seen in answer.bins if seen.index < last)
        return replace(answer, bins=bins, newest_s=stopped + 9 * 3600, newest_of=newest_of)

    walk.bend = ahead
    walk.looks(12)
    assert "telemetry is late: the newest row is 720 s old" in walk.rollout.sentence


def test_a_row_from_the_future_in_the_look_before_the_start_hides_nothing() -> None:
    """A clock of stable is hours ahead already then."""
    walk = minutes(plan=LONG)
    told = walk.answer()
    assert told is not None
    walk.tick(answer=replace(told, newest_s=walk.now_s + 9 * 3600))
    walk.bake()
    stopped = replace(told, bins=(), newest_s=None)
    for _ in range(15):
        walk.look(answer=stopped)
    assert "telemetry is late" in walk.rollout.sentence


def test_a_row_a_few_seconds_ahead_counts_as_now() -> None:
    """It is in the bin that has begun, and there it is no older than the look."""
    walk = minutes(plan=LONG).bake()
    walk.bend = lambda answer: replace(answer, newest_s=walk.now_s + 20)
    walk.looks(3)
    assert walk.rollout.last_row_s == walk.now_s


def test_a_row_of_a_bin_to_come_tells_nothing() -> None:
    """An answer whose only rows lie ahead leaves the newest row as it was."""
    walk = minutes(plan=LONG).bake()
    walk.looks(2)
    last_s = walk.rollout.last_row_s

    def ahead(answer: Answer) -> Answer:
        bins = tuple(replace(seen, index=seen.index + 500) for seen in answer.bins)
        return replace(answer, bins=bins, newest_s=walk.now_s + 30_000)

    walk.bend = ahead
    walk.look()
    assert walk.rollout.last_row_s == last_s


@pytest.fixture
def _in_berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_in_berlin")
@pytest.mark.parametrize("night", ["2026-10-25", "2026-03-29"], ids=["longer", "shorter"])
def test_a_night_in_which_clocks_change_is_like_any_other(night: str) -> None:
    """Bins are UTC from the epoch: none is seen twice, none is left out, at either change."""
    began = datetime.fromisoformat(f"{night}T00:30:00Z").astimezone(BERLIN)
    walk = minutes(plan=LONG, now_s=began.timestamp()).bake()
    assert walk.rollout.evidence is not None
    first = walk.rollout.evidence["errors"].step_floor

    while walk.rollout.step == 0 and walk.phase is Phase.BAKING:
        walk.look()

    ended = datetime.fromtimestamp(walk.now_s, BERLIN)
    assert walk.phase is Phase.SHIFTING
    verdict = walk.rollout.verdict
    assert verdict is not None
    sealed = questions.bin_at(walk.now_s - 300, MINUTE_S)
    assert verdict.weighings[0].step_bins == sealed - first
    assert began.utcoffset() != ended.utcoffset()


def test_gaps_of_bins_say_nothing_of_either_version() -> None:
    """Every other minute is empty for both: half of the bins count, and a pass still comes."""
    walk = minutes(plan=LONG).bake()
    walk.bend = lambda answer: replace(
        answer, bins=tuple(seen for seen in answer.bins if seen.index % 2)
    )
    assert kinds(walk, 40) == {Kind.UNSURE, Kind.PASS}


def test_a_look_after_an_outage_reads_up_the_gap() -> None:
    """Six hours away: the bins come in several looks, each once, and nothing rises before."""
    walk = minutes(plan=LONG).bake()
    walk.looks(5)
    walk.now_s += 6 * 3600
    said = walk.looks(2)
    assert "first look in" in said[0] or "bins behind" in said[0]
    while walk.rollout.step == 0 and walk.phase is Phase.BAKING:
        walk.look()
    assert walk.phase is Phase.SHIFTING
    evidence, attendance = walk.rollout.evidence, walk.rollout.attendance
    assert evidence is not None
    assert attendance is not None
    assert evidence["errors"].step_bins > 6 * 60
    assert attendance.requests[0] == evidence["errors"].step_bins * 5400


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(Sight.FAILED, "only a part of the answer came: too many rows"), "only a part"),
        (Answer(Sight.FAILED, "429, too many requests"), "could not be asked: 429"),
        (Answer(Sight.ABSENT, "nothing", to_bin=2**40), "telemetry is late"),
        (Answer(Sight.LATE, "nothing new", to_bin=2**40), "telemetry is late"),
    ],
    ids=["partial", "throttled", "204", "nothing new"],
)
def test_what_could_not_be_seen_is_asked_again_and_counts_once(answer: Answer, words: str) -> None:
    """A quarter of an hour of such answers costs only time."""
    walk = minutes(plan=LONG).bake()
    walk.looks(10)
    for _ in range(15):
        walk.look(answer=answer)
    assert words in walk.rollout.sentence
    assert walk.rollout.verdict is not None
    assert walk.rollout.verdict.kind is Kind.BLIND

    walk.looks(10)

    plain = minutes(plan=LONG).bake()
    plain.looks(35)
    assert walk.rollout.evidence == plain.rollout.evidence
    assert walk.rollout.bad_weights == plain.rollout.bad_weights
    assert walk.rollout.attendance == plain.rollout.attendance


def test_traffic_that_cannot_be_read_is_said_although_telemetry_is_well() -> None:
    """The weights are as much a part of what must be seen."""
    walk = minutes(plan=LONG).bake()
    said = walk.look(traffic=TrafficSeen(Sight.FAILED, "503 from ARM"))
    assert "Traffic Manager could not be read" in said


def test_rows_without_a_version_blind_the_verdict() -> None:
    """A third of the requests may be of either version."""
    walk = minutes(plan=LONG, bend=lambda answer: replace(answer, unlabelled=0.34)).bake()
    walk.look()
    assert "34 % of the requests carry no version (AppVersion)" in walk.rollout.sentence
    walk.bend = lambda answer: replace(answer, unlabelled=0.1)
    walk.look()
    assert "carry no version" not in walk.rollout.sentence
