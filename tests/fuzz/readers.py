"""The door's readers, and what each promises of whatever bytes it is given.

1. RefusedError is the only exception, with one bounded line of text that names a field.
2. What is accepted keeps the core's own rules, and comes back from the record as it went in.
3. The work is bounded: a message as long as the queues allow costs a fraction of a second.

A new reader is a new entry of READERS and of `mutate.DOCUMENTS`.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from time import thread_time
from typing import Any

from shared import record
from shared.cloud import gauges, kql
from shared.core import questions, risk, weights
from shared.core.events import Event, StartAsked
from shared.core.machine import decide
from shared.core.model import AlertMatch, Plan, Step, newborn, step_name
from shared.core.telemetry import Rule, Source
from shared.errors import RefusedError
from shared.wire import Alert, Ask, Start, read_alert, read_command, read_plan

AT_S = 1_800_000_000.0
DAY_S = 86_400
# The longest message that the inbox hands on, by default.
MOST_BYTES = 262_144
# Twice what MAX_REASONS of the longest ordinary reasons come to.
MOST_WORDS = 8_000
# Of one processor. A message of MOST_BYTES needs a few hundredths.
MOST_S = 0.25
# Escapes are as long in the record as in the message; only the defaults come on top.
MOST_RECORD_BYTES = MOST_BYTES + 10_000
REFUSAL = re.compile(r"not an? [a-z ]+: .+: .+", re.DOTALL)
NAMELESS = re.compile(r"not an? [a-z ]+: \s*: (Extra|Field|Input|String|Tuple|Value) \w+")
# What only the code's models know.
JARGON = re.compile(r": (Input|String|Tuple|Value|Extra) |validator|function-|constrained-")
# Control characters (line ends, the terminal's escapes), and halves of characters.
FORGING = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Reader:
    """A way in, and the promise about what it returns, which raises AssertionError."""

    read: Callable[[bytes], object]
    promise: Callable[[Any], None]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one body was met; `broken` says which promise was, `words` is the refusal's length."""

    accepted: bool
    took_s: float
    words: int = 0
    broken: str = ""


def attempt(reader: Reader, body: bytes) -> Outcome:
    """Hand a body in and hold the reader to its promises.

    One that took long is tried again: a collection of garbage that fell into it is not its fault.
    """
    first = _attempt(reader, body)
    return first if first.took_s <= MOST_S else _attempt(reader, body)


def _attempt(reader: Reader, body: bytes) -> Outcome:
    began_s = thread_time()
    try:
        said = reader.read(body)
        took_s = thread_time() - began_s
    except RefusedError as refused:
        took_s = thread_time() - began_s
        words = str(refused)
        return Outcome(False, took_s, len(words), refusal_is_sound(words) or in_time(took_s))
    except (KeyboardInterrupt, SystemExit):
        raise
    except BaseException as error:  # noqa: BLE001  # a panic of pydantic's core is no Exception
        return Outcome(False, thread_time() - began_s, 0, f"{type(error).__name__} came out")
    try:
        reader.promise(said)
    except Exception as error:  # noqa: BLE001  # whatever the core says of it, it is a finding
        return Outcome(True, took_s, 0, f"accepted: {type(error).__name__}: {error}"[:300])
    return Outcome(True, took_s, 0, in_time(took_s))


def in_time(took_s: float) -> str:
    """Empty, or that the parse took too long."""
    return f"it took more than {MOST_S} s" if took_s > MOST_S else ""


def refusal_is_sound(words: str) -> str:
    """Empty, or what is wrong with the text of a refusal."""
    if len(words) > MOST_WORDS:
        return f"a refusal has more than {MOST_WORDS} characters"
    if not REFUSAL.fullmatch(words) or NAMELESS.match(words):
        return "a refusal names no field"
    if JARGON.search(words):
        return "a refusal speaks of how it was read"
    return "a refusal can forge a line of the log" if FORGING.search(words) else ""


def plan_is_sound(plan: Plan) -> None:
    """The core's rules of a plan, and that a rollout can begin with it."""
    steps_are_sound(plan.steps)
    source_is_sound(plan.source)
    assert 0 <= plan.name_servers_s <= 3600, "name_servers"
    assert 0 < plan.patience_s <= DAY_S, "patience"
    assert 0 <= plan.guard_s <= DAY_S, "guard"
    assert plan.stable.casefold() != plan.canary.casefold(), "one endpoint"
    assert len(plan.rollback_on) <= 20, "rollback_on"
    text = record.plan_to_json(plan)
    assert record.plan_from_json(text) == plan, "the record has another plan"
    assert len(text.encode()) <= MOST_RECORD_BYTES, "the record is too long"
    begins(plan)


def steps_are_sound(steps: tuple[Step, ...]) -> None:
    percents = [step.percent for step in steps]
    assert 2 <= len(steps) <= 20, "number of steps"
    assert percents == sorted(set(percents)), "steps do not rise"
    assert percents[0] > 0, "a step at zero"
    assert percents[-1] == 100, "the last step"
    assert all(round(percent * 10) == percent * 10 for percent in percents), "tenths"
    assert all(weights.expresses(weights.MAX_WEIGHT, percent) for percent in percents), "weights"
    for step in steps:
        assert 0 <= step.bake_min_s <= step.bake_max_s <= 14 * DAY_S, "bake"
        assert step.bake_max_s > 0, "no time to bake"


def source_is_sound(source: Source) -> None:
    bin_s = source.bin_s or questions.SHORTEST_BLOCK_S
    assert source.bin_s is None or type(source.bin_s) is int, "bin"
    assert 1 <= bin_s <= 3600, "bin"
    assert DAY_S % bin_s == 0, "bin"
    assert 0 <= source.ingestion_delay_s <= min(3600, 120 * bin_s), "ingestion_delay"
    assert 1 <= source.lookback_s <= 7 * DAY_S, "lookback"
    assert source.arms.stable != source.arms.canary, "one version"
    assert 0 < source.risk.inflation <= 5, "inflation"
    assert 0 < source.risk.tolerance <= 0.5, "tolerance"
    assert 0 < risk.fail_bound(source.risk) < math.inf, "false_rollback"
    assert 0 < risk.pass_bound(source.risk) < math.inf, "false_promotion"
    rules_are_sound(source.rules)
    assert len({gauge.name for gauge in source.gauges}) == len(source.gauges) <= 5, "gauges"
    assert all(0 < gauge.above < 10 for gauge in source.gauges), "above"
    queries_are_written(source)


def rules_are_sound(rules: tuple[Rule, ...]) -> None:
    assert 1 <= len(rules) <= 10, "number of rules"
    assert len({rule.name for rule in rules}) == len(rules), "names of rules"
    for rule in rules:
        assert rule.slower_than_ms is None or 0 < rule.slower_than_ms <= 3_600_000, "slower_than"
        assert rule.slower_than_quantile in {None, 0.5, 0.95, 0.99}, "a quantile"
        assert len(rule.result_code or "") <= 64, "result_code"
        re.compile(rule.result_code or "")


def queries_are_written(source: Source) -> None:
    """A plan that the door lets in can be asked about: its labels may be refused, nothing else."""
    question = questions.Question(source, 60, 10, 20, step_bin=5)
    refusal = ""
    try:
        kql.merged([question])
        gauges.query(questions.LevelQuestion(source, 900, 1, 2))
    except RefusedError as refused:
        refusal = str(refused)
    assert not refusal or "control characters" in refusal, "a query cannot be written"


def begins(plan: Plan) -> None:
    born = newborn(plan, AT_S, "fuzz", dry_run=False)
    question = questions.needed(plan, born, AT_S)
    assert question is not None, "no first question"
    assert 1 <= question.to_bin - question.from_bin <= questions.MAX_BINS, "bins of the lookback"
    accepted = decide(plan, born, StartAsked(AT_S, "fuzz")).rollout
    assert record.rollout_from_json(record.rollout_to_json(accepted)) == accepted, "record"
    assert all(step_name(plan, number) for number in range(len(plan.steps))), "names of steps"


def command_is_sound(said: Start | Ask) -> None:
    """A start has a sound plan; an ask becomes an event that history can keep."""
    if isinstance(said, Start):
        plan_is_sound(said.plan)
        event_is_kept(StartAsked(AT_S, said.by, said.reason, said.dry_run))
        return
    assert re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", said.rollout), "name"
    event_is_kept(said.event(AT_S, 0.0))


def event_is_kept(event: Event) -> None:
    kind = record.BY_NAME[type(event).__name__]
    text = kind.dump_json(event)
    assert kind.validate_json(text) == event, "history has another event"
    assert len(text) <= MOST_RECORD_BYTES, "the event is too long"
    assert len(getattr(event, "by", "")) <= 260, "by"
    assert len(getattr(event, "reason", "")) <= 500, "reason"


def alert_is_sound(alert: Alert) -> None:
    """An alert becomes an event and a spell, and can be held against any plan."""
    assert alert.severity in {None, 0, 1, 2, 3, 4}, "severity"
    assert 0 < len(alert.alert_id) <= 2000, "alert_id"
    assert alert.rule, "no rule"
    assert len(alert.targets) <= 1000, "targets"
    for moment_s in (alert.fired_s, alert.resolved_s):
        assert moment_s is None or math.isfinite(moment_s), "a moment"
    spell = alert.spell(AT_S)
    assert 0 < spell.since_s <= AT_S, "since when"
    event_is_kept(alert.event(AT_S, spell.since_s))
    for name in alert.names:
        assert alert.concerns(AlertMatch(name)), "its own name is not its name"
        alert.concerns(AlertMatch(name, next(iter(alert.targets), None), 4))


READERS: Mapping[str, Reader] = {
    "command": Reader(read_command, command_is_sound),
    "alert": Reader(read_alert, alert_is_sound),
    "plan": Reader(read_plan, plan_is_sound),
}
