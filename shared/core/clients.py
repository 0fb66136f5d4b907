"""When affected clients of two versions can be compared.

A client seen through a sample is bad less often than it was, and the less often the coarser the
sample. Sampled alike, the versions lose alike; sampled differently, no count of clients is fair.
A client that was bad says nothing more in its step: when nearly all were, nobody is left to tell.
"""

from dataclasses import replace

from shared.core.attendance import Attendance
from shared.core.model import Plan, Rollout
from shared.core.questions import is_final
from shared.core.telemetry import Answer, ArmBin, BinSeen, Source

# Means of a few rows differ by chance; a sampler that treats arms differently does so by more.
_ALIKE = 1.1
# Beyond this share of rows that carry no client, the others stand for too few users.
_MOST_KEYLESS = 0.5
# So few of those who were there are no longer all kinds of them; fewer than ten were never many.
_LEAST_LEFT, _MANY = 0.1, 10


def untold(plan: Plan, rollout: Rollout, answer: Answer) -> str:
    """Why clients cannot tell the versions apart now; empty when they can.

    At 100 % requests are counted, which can always tell.
    """
    if is_final(rollout):
        return ""
    return unlike(plan.source, answer) or used_up(plan.source, rollout.attendance)


def used_up(source: Source, attendance: Attendance | None) -> str:
    """Why too few clients are left that were not bad yet; empty while enough are.

    In a bin with half the requests of the fullest one or more; a quiet one has fewer clients.
    """
    if source.client is None or attendance is None:
        return ""
    (most, then), (left, now) = attendance.most_clients, attendance.newest_clients
    if most < _MANY or left >= _LEAST_LEFT * most or now < then / 2:
        return ""
    return (
        f"clients are used up: {left} in the newest block were not bad in this step before, where "
        f"{most} were in its fullest; leave evidence.client out, or bake shorter"
    )


def unlike(source: Source, answer: Answer) -> str:
    """Why the clients of this answer cannot be compared; empty when they can.

    Bad rows of one rule may escape the sampling, so it is enough that the rest is alike.
    """
    if source.client is None:
        return ""
    pairs = [_weights(answer, number) for number in range(len(source.rules))]
    stable, canary = min(pairs, key=_apart)
    if _apart((stable, canary)) <= _ALIKE:
        return ""
    return (
        f"clients cannot be compared: a row stands for {stable:.3g} requests of stable and "
        f"{canary:.3g} of the canary, and a coarser sample shows fewer clients as bad; "
        "sample both versions alike, or leave evidence.client out"
    )


def as_requests(bins: tuple[BinSeen, ...]) -> tuple[BinSeen, ...]:
    """The same bins without their clients, whose requests can be compared however sampled."""

    def requests(arm: ArmBin | None) -> ArmBin | None:
        return arm and replace(arm, clients=(), bad_clients=(), exposed=())

    return tuple(BinSeen(each.index, requests(each.stable), requests(each.canary)) for each in bins)


def keyless(source: Source, answer: Answer) -> str:
    """Why too few rows name their client; empty when enough do."""
    if source.client is None or answer.keyless <= _MOST_KEYLESS:
        return ""
    return (
        f"evidence.client: {100 * answer.keyless:.0f} % of the rows carry no {source.client}, "
        f"at most {100 * _MOST_KEYLESS:.0f} % may; let the application set it, name another "
        "column, or leave client out and requests are counted"
    )


def _weights(answer: Answer, rule_number: int) -> tuple[float, float]:
    """What a row of either arm stands for, bad ones left out; alike where an arm shows none."""
    stable = _weight([each.stable for each in answer.bins if each.stable], rule_number)
    canary = _weight([each.canary for each in answer.bins if each.canary], rule_number)
    return stable or canary or 1.0, canary or stable or 1.0


def _weight(arms: list[ArmBin], rule_number: int) -> float | None:
    rows = sum(arm.rows - arm.bad_rows[rule_number] for arm in arms)
    items = sum(arm.items - arm.bad[rule_number] for arm in arms)
    return items / rows if rows and items > 0 else None


def _apart(weights: tuple[float, float]) -> float:
    return max(weights) / min(weights)
