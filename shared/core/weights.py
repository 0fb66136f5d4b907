"""Percentages as Traffic Manager weights, and the order of the writes between two of them.

Rules: a weight is 1..1000 and there is no 0, so 0 % is the canary disabled and 100 % is stable
disabled. Never are both disabled (NXDOMAIN). The pair keeps one sum, so that other endpoints
keep their share. Every intermediate share lies between the old and the new one, and a share
is rounded down: an intermediate write never exceeds what was asked for.
"""

from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import permutations
from typing import Literal

from shared.core.model import Arm, Pair

MAX_WEIGHT = 1000
FULL = 100.0
# A share may fall short of the plan's by at most this part of it before the plan is refused.
SHORTFALL = Fraction(1, 10)


@dataclass(frozen=True, slots=True)
class Write:
    """One endpoint PATCH: exactly this weight and status."""

    arm: Literal["stable", "canary"]
    to: Arm


def share(pair: Pair) -> Fraction:
    """The canary's share of the pair's DNS answers; 0 when both are disabled."""
    canary = pair.canary.weight if pair.canary.enabled else 0
    stable = pair.stable.weight if pair.stable.enabled else 0
    return Fraction(canary, canary + stable) if canary + stable else Fraction(0)


def canary_weight(scale: int, percent: float) -> int:
    """The canary's weight for a percentage of `scale`, rounded down; tenths of a percent count."""
    return scale * round(percent * 10) // 1000


def expresses(scale: int, percent: float) -> bool:
    """Whether a pair with this sum can show this percentage closely enough."""
    if percent in (0, 100):
        return True
    weight = canary_weight(scale, percent)
    wanted = Fraction(round(percent * 10), 1000)
    return 1 <= weight < scale and Fraction(weight, scale) >= wanted * (1 - SHORTFALL)


def target(before: Pair, scale: int, percent: float) -> Pair:
    """The pair that means `percent`. 0 % is what was there before the rollout."""
    if percent == 0:
        return Pair(Arm(before.stable.weight, enabled=True), replace(before.canary, enabled=False))
    if percent == 100:  # noqa: PLR2004  # a hundred per cent is its own name
        return Pair(Arm(scale, enabled=False), Arm(scale, enabled=True))
    canary = canary_weight(scale, percent)
    return Pair(Arm(scale - canary, enabled=True), Arm(canary, enabled=True))


def apply(pair: Pair, write: Write) -> Pair:
    """The pair after one write."""
    if write.arm == "stable":
        return replace(pair, stable=write.to)
    return replace(pair, canary=write.to)


def writes(now: Pair, wanted: Pair) -> tuple[Write, ...] | None:
    """The writes from `now` to `wanted`, canary first where that keeps inside; None: no safe order.

    There is always an order when `wanted` has the canary disabled and stable enabled (a retreat),
    and between two pairs of the same sum.
    """
    wished: tuple[Write, ...] = (Write("canary", wanted.canary), Write("stable", wanted.stable))
    needed = tuple(write for write in wished if apply(now, write) != now)
    orders = permutations(needed)
    return next((order for order in orders if keeps_inside(now, wanted, order)), None)


def path(now: Pair, wanted: Pair) -> tuple[Pair, ...]:
    """Every pair that a shift from `now` to `wanted` may show, both ends included."""
    pairs = [now]
    for write in writes(now, wanted) or ():
        pairs.append(apply(pairs[-1], write))
    return (*pairs, wanted)


def keeps_inside(now: Pair, wanted: Pair, order: tuple[Write, ...]) -> bool:
    """Whether each pair on the way has somebody serving and a share in [old, new]."""
    low, high = sorted((share(now), share(wanted)))
    pair = now
    for write in order:
        pair = apply(pair, write)
        serving = pair.stable.enabled or pair.canary.enabled
        if not serving or not low <= share(pair) <= high:
            return False
    return True
