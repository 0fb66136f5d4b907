"""Since when an alert has been firing: what fired before any traffic moved is no canary's fault.

A stateful rule says `Fired` once and `Resolved` once; a stateless one says `Fired` at every
evaluation and never `Resolved`. Both are told as spells: a spell goes on while the rule keeps
firing, and ends when it is resolved or when nothing was heard of it for the lapse time, which
follows from the rule's own window: a rule that tells none has a spell for each firing.
"""

from dataclasses import dataclass, replace

MAX_LISTENERS = 20


@dataclass(frozen=True, slots=True)
class Spell:
    """One alert rule on its targets and dimensions: since when it fires, and who was told.

    `key` tells alerts apart; `fired_s` is its latest firing as its sender tells it, `last_s` when
    we last heard of it; `listeners` is empty when nobody listened the last time.
    """

    key: str
    rule: str
    severity: int | None
    targets: tuple[str, ...]
    since_s: float
    last_s: float
    resolved_s: float | None = None
    listeners: tuple[str, ...] = ()
    fired_s: float = 0.0


def fired(before: Spell | None, now: Spell, lapse_s: float) -> Spell:
    """The spell that this firing belongs to: the one that is known, or a new one.

    A firing that is older than the resolution is one that was delivered late or twice.
    """
    if before is None:
        return now
    if before.resolved_s is None:
        over = now.last_s - before.last_s > lapse_s
    else:
        over = now.since_s >= before.resolved_s
    if over:
        return now
    return replace(
        now,
        since_s=min(before.since_s, now.since_s),
        last_s=max(before.last_s, now.last_s),
        resolved_s=before.resolved_s,
        fired_s=max(before.fired_s, now.fired_s),
    )


def resolved(before: Spell | None, now: Spell, at_s: float) -> Spell:
    """The spell is over; one that was never heard to begin is over as well.

    What fired after the resolution, and was heard before it, is a spell of its own.
    """
    if before and before.fired_s > at_s:
        return replace(before, since_s=max(before.since_s, before.fired_s), last_s=now.last_s)
    return replace(before or now, resolved_s=at_s, last_s=now.last_s)
