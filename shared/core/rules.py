"""What a comparison is asked to overlook, compiled into one automaton over paths.

1. A walk carries a state along: one look-up for each step, however many patterns there are.
   No state (None) means that no rule holds from here down.
2. The automaton is finished before the first document is seen: it cannot grow with what arrives.
3. Rules only ever take differences away. Of several tolerances at one place the widest holds, of
   several ways to align one array the first listed.
4. In an unordered array an index means nothing: only `[*]` reaches its elements.
"""

import math
from dataclasses import dataclass, field

from shared.core.paths import Step, parsed

_MOST_PATTERNS = 500
_MOST_STATES = 5_000
_DEEPEST = 100


@dataclass(frozen=True, slots=True)
class Tolerance:
    """Numbers here are equal up to `absolute`, or up to `relative` times the larger magnitude."""

    pattern: str
    absolute: float = 0.0
    relative: float = 0.0


@dataclass(frozen=True, slots=True)
class Unordered:
    """The elements named by the pattern, which ends in `[*]`, may come in any order.

    With `key` they are aligned by that field and compared one by one; without, the array is a
    multiset whose elements are there or not, since nothing says which belong together.
    """

    pattern: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much is read and kept: levels, bytes of a body, differences, of these of one kind."""

    depth: int = 64
    body_bytes: int = 2 * 1024 * 1024
    differences: int = 100
    alike: int = 10
    shown_chars: int = 120


@dataclass(frozen=True, slots=True)
class Rules:
    """What to compare and what to overlook."""

    ignore: tuple[str, ...] = ()
    unordered: tuple[Unordered, ...] = ()
    tolerances: tuple[Tolerance, ...] = ()
    headers: tuple[str, ...] = ("content-type",)
    compare_status: bool = True
    normalise_text: bool = True
    bounds: Bounds = Bounds()


@dataclass(slots=True, eq=False)
class State:
    """What holds at a place, and where each step from there leads."""

    ignored: bool
    unordered: Unordered | None
    tolerance: tuple[float, float] | None
    names: dict[str | int, "State | None"] = field(default_factory=dict)
    other_name: "State | None" = None
    indices: dict[str | int, "State | None"] = field(default_factory=dict)
    other_index: "State | None" = None


@dataclass(frozen=True, slots=True)
class Compiled:
    """Rules made ready: `start` is the state at `$`."""

    rules: Rules
    start: State | None


def compiled(rules: Rules) -> Compiled:
    """Make rules ready for many comparisons. Raises ValueError that names what is wrong."""
    bounds = rules.bounds
    if not 1 <= bounds.depth <= _DEEPEST:
        raise ValueError(f"depth must be from 1 to {_DEEPEST}, not {bounds.depth}")
    if min(bounds.body_bytes, bounds.differences, bounds.alike, bounds.shown_chars) < 1:
        raise ValueError("each bound must be at least 1")
    placed = [_Placed(parsed(pattern), None) for pattern in rules.ignore]
    placed += [_Placed(_to_array(rule), rule) for rule in rules.unordered]
    placed += [_Placed(_to_number(rule), rule) for rule in rules.tolerances]
    if len(placed) > _MOST_PATTERNS:
        raise ValueError(f"{len(placed)} patterns are more than {_MOST_PATTERNS}")
    return Compiled(rules, _Automaton(tuple(placed)).start())


def within(left: float, right: float, tolerance: tuple[float, float]) -> bool:
    """Whether two numbers lie within a tolerance; what is not finite lies within none."""
    absolute, relative = tolerance
    try:
        gap = abs(left - right)
        if gap <= absolute:
            return True
        return gap < math.inf and gap <= relative * max(abs(left), abs(right))
    except OverflowError:  # a whole number beyond every double
        return False


@dataclass(frozen=True, slots=True)
class _Placed:
    """A rule (None: ignore) and the steps to the place where it holds."""

    steps: tuple[Step, ...]
    rule: Tolerance | Unordered | None


def _to_array(rule: Unordered) -> tuple[Step, ...]:
    steps = parsed(rule.pattern)
    if not steps or steps[-1] != Step(int, None, deep=False):
        raise ValueError(f"pattern {rule.pattern!r} of unordered elements must end in [*]")
    return steps[:-1]


def _to_number(rule: Tolerance) -> tuple[Step, ...]:
    if not (0 <= rule.absolute < math.inf and 0 <= rule.relative <= 1):
        raise ValueError(
            f"tolerance of {rule.pattern!r}: absolute must be 0 or more, relative from 0 to 1"
        )
    return parsed(rule.pattern)


type _Places = frozenset[tuple[int, int]]


class _Automaton:
    """Subset construction: a state is the set of places in patterns where a walk may stand."""

    def __init__(self, placed: tuple[_Placed, ...]) -> None:
        self._placed = placed
        self._states: dict[_Places, State] = {}
        self._unfinished: list[_Places] = []

    def start(self) -> State | None:
        """The state at `$`, with all that can be reached from it."""
        first = self._state(frozenset((number, 0) for number in range(len(self._placed))))
        while self._unfinished:
            places = self._unfinished.pop()
            state = self._states[places]
            for step in self._next(places):
                if step.wanted is not None:
                    ways = state.names if step.of is str else state.indices
                    ways[step.wanted] = self._after(places, step.of, step.wanted)
            state.other_name = self._after(places, str, None)
            state.other_index = self._after(places, int, None)
        return first

    def _next(self, places: _Places) -> list[Step]:
        steps = [self._placed[number].steps[at:] for number, at in sorted(places)]
        return [rest[0] for rest in steps if rest]

    def _after(self, places: _Places, of: type[str | int], key: str | int | None) -> State | None:
        reached: set[tuple[int, int]] = set()
        for number, at in places:
            for step in self._placed[number].steps[at : at + 1]:
                reached |= {(number, at)} if step.deep else set()
                reached |= {(number, at + 1)} if step.takes(of, key) else set()
        return self._state(frozenset(reached))

    def _state(self, places: _Places) -> State | None:
        if not places:
            return None
        if places not in self._states:
            if len(self._states) == _MOST_STATES:
                raise ValueError("the patterns are too entangled: use fewer .. with * behind them")
            self._states[places] = state = self._settled(places)
            self._unfinished += [] if state.ignored else [places]
        return self._states[places]

    def _settled(self, places: _Places) -> State:
        """What holds where the patterns end that end here."""
        here = [
            self._placed[n].rule for n, at in sorted(places) if at == len(self._placed[n].steps)
        ]
        widths = [(rule.absolute, rule.relative) for rule in here if isinstance(rule, Tolerance)]
        return State(
            ignored=None in here,
            unordered=next((rule for rule in here if isinstance(rule, Unordered)), None),
            tolerance=(max(a for a, _ in widths), max(r for _, r in widths)) if widths else None,
        )
