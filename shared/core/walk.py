"""The differences between two JSON documents, one by one, each with its place.

1. Values are equal as JSON means them: 1 is 1.0 and not true; the order of keys means nothing, that
   of elements does unless a rule says otherwise.
2. Arrays of one length are compared element by element, or have one ORDER difference if they hold
   exactly the same elements. Arrays of different lengths have a LENGTH difference, equal ends are
   set aside, and what stands between is compared element by element; the surplus is MISSING or
   EXTRA. Unordered arrays have no ORDER, and what has no counterpart is MISSING or EXTRA.
3. Swapped sides give the same differences, swapped: MISSING for EXTRA. Only where a key aligned two
   elements, the index shown is the left one's.
4. What is equal as it stands is passed over at C's speed, and nothing is allocated for it.
5. Differences come one at a time: who only asks whether there is any stops at the first.

Documents come from `bodies.read`: of bounded depth, so that recursion is safe, and with every
number that is whole as an int.
"""

from collections.abc import Iterable, Iterator, Sequence
from enum import StrEnum, auto
from typing import Final

from shared.core.bags import Member, Printer, Weighed, is_number, permuted, plain_text, unmatched
from shared.core.bodies import Json
from shared.core.paths import Trail
from shared.core.rules import State, within


class Kind(StrEnum):
    """How two answers differ at one place; LATENCY is left to whoever counts."""

    TYPE = auto()
    VALUE = auto()
    MISSING = auto()
    EXTRA = auto()
    ORDER = auto()
    LENGTH = auto()
    STATUS = auto()
    HEADER = auto()
    LATENCY = auto()
    BODY = auto()


class Absent:
    """Stands where one side has nothing; null is something."""


ABSENT: Final = Absent()
type Side = Json | Absent
type Found = tuple[Trail, Kind, Side, Side]


def found_in(left: Json, right: Json, start: State | None) -> Iterable[Found]:
    """All differences, in the order of the left document, under the rules from `start` on."""
    return () if _equal(left, right) else _Walk().between(left, right, start, None)


def _equal(left: Json, right: Json) -> bool:
    """Whether two values are equal without any rule. NaN is one object, hence the identity."""
    return left is right or (left == right and _agree(left, right))


def _agree(left: Json, right: Json) -> bool:
    """Whether two values that are equal to Python have truth values at the same places."""
    if isinstance(left, dict) and isinstance(right, dict):
        pairs: Iterable[tuple[Json, Json]] = zip(
            left.values(), map(right.__getitem__, left), strict=True
        )
    elif isinstance(left, list) and isinstance(right, list):
        pairs = zip(left, right, strict=True)
    else:
        return (type(left) is bool) is (type(right) is bool)
    for ours, theirs in pairs:
        kind = type(ours)
        if kind is dict or kind is list:
            if not _agree(ours, theirs):
                return False
        elif (kind is bool) is not (type(theirs) is bool):
            return False
    return True


class _Walk:
    """One comparison; it remembers the prints of what was asked about order."""

    def __init__(self) -> None:
        self._printer = Printer()

    def between(
        self, left: Json, right: Json, state: State | None, trail: Trail
    ) -> Iterable[Found]:
        """The differences between two values that are not equal as they stand."""
        if state is not None and state.ignored:
            return ()
        if isinstance(left, dict) and isinstance(right, dict):
            return self._objects(left, right, state, trail)
        if isinstance(left, list) and isinstance(right, list):
            return self._arrays(left, right, state, trail)
        if is_number(left) and is_number(right):
            near = state and state.tolerance and within(left, right, state.tolerance)
            return () if near else ((trail, Kind.VALUE, left, right),)
        kind = Kind.VALUE if type(left) is type(right) else Kind.TYPE
        return ((trail, kind, left, right),)

    def _objects(
        self, left: dict[str, Json], right: dict[str, Json], state: State | None, trail: Trail
    ) -> Iterator[Found]:
        for key, ours in left.items():
            theirs = right.get(key, ABSENT)
            if ours is theirs or (ours == theirs and _agree(ours, theirs)):
                continue
            below = None if state is None else state.names.get(key, state.other_name)
            if not isinstance(theirs, Absent):
                yield from self.between(ours, theirs, below, (trail, key))
            elif below is None or not below.ignored:
                yield (trail, key), Kind.MISSING, ours, ABSENT
        if right.keys() <= left.keys():
            return
        for key, theirs in right.items():
            if key not in left:
                below = None if state is None else state.names.get(key, state.other_name)
                if below is None or not below.ignored:
                    yield (trail, key), Kind.EXTRA, ABSENT, theirs

    def _arrays(
        self, left: list[Json], right: list[Json], state: State | None, trail: Trail
    ) -> Iterator[Found]:
        if len(left) != len(right):
            yield trail, Kind.LENGTH, len(left), len(right)
        if state is not None and state.unordered is not None:
            yield from self._unordered(left, right, state, trail)
        elif len(left) == len(right):
            yield from self._aligned(left, right, state, trail)
        else:
            yield from self._shifted(left, right, state, trail)

    def _aligned(
        self, left: list[Json], right: list[Json], state: State | None, trail: Trail
    ) -> Iterator[Found]:
        """Arrays of one length; order is asked about once there is a difference."""
        changed = _changed(range(len(left)), left, right)
        found = self._at(changed, left, right, state, trail)
        first = next(found, None)
        if first is None:
            return
        if len(changed) > 1 and self._reordered(changed, left, right, state):
            yield trail, Kind.ORDER, left, right
        else:
            yield first
            yield from found

    def _at(
        self,
        changed: Iterable[int],
        left: list[Json],
        right: list[Json],
        state: State | None,
        trail: Trail,
    ) -> Iterator[Found]:
        for at in changed:
            yield from self.between(left[at], right[at], _element(state, at), (trail, at))

    def _reordered(
        self, places: Sequence[int], left: list[Json], right: list[Json], state: State | None
    ) -> bool:
        """Whether the elements at these places are the same but for the order."""
        theirs = [right[at] for at in places]
        if state is None and left[places[0]] not in theirs:
            return False
        states = [_element(state, at) for at in places]
        ours = (left[at] for at in places)
        return permuted(
            map(self._printer.exact, ours, states), map(self._printer.exact, theirs, states)
        )

    def _shifted(
        self, left: list[Json], right: list[Json], state: State | None, trail: Trail
    ) -> Iterator[Found]:
        """Arrays of different lengths: equal ends are set aside under the rules."""
        most, start, end = min(len(left), len(right)), 0, 0
        while start < most and self._same(left[start], right[start], _element(state, start)):
            start += 1
        while end < most - start:
            ours, theirs = len(left) - 1 - end, len(right) - 1 - end
            if not self._same(left[ours], right[theirs], _element(state, min(ours, theirs))):
                break
            end += 1
        changed = _changed(range(start, most - end), left, right)
        yield from self._at(changed, left, right, state, trail)
        yield from _surplus(left, range(most - end, len(left) - end), Kind.MISSING, state, trail)
        yield from _surplus(right, range(most - end, len(right) - end), Kind.EXTRA, state, trail)

    def _same(self, left: Json, right: Json, state: State | None) -> bool:
        if _equal(left, right):
            return True
        return state is not None and not any(True for _ in self.between(left, right, state, None))

    def _unordered(
        self, left: list[Json], right: list[Json], state: State, trail: Trail
    ) -> Iterator[Found]:
        below = state.other_index
        if below is not None and below.ignored:
            return
        key = state.unordered.key if state.unordered is not None else None
        for name, (ours, theirs) in _groups(left, right, key).items():
            if name and len(ours) == len(theirs) == 1:
                mine, other = left[ours[0]], right[theirs[0]]
                if not _equal(mine, other):
                    yield from self.between(mine, other, below, (trail, ours[0]))
                continue
            missing, extra = unmatched(
                self._members(left, ours, below), self._members(right, theirs, below)
            )
            for at in missing:
                yield (trail, at), Kind.MISSING, left[at], ABSENT
            for at in extra:
                yield (trail, at), Kind.EXTRA, ABSENT, right[at]

    def _members(
        self, elements: list[Json], places: list[int], below: State | None
    ) -> Iterator[tuple[str, Member]]:
        for at in places:
            weighed: Weighed = []
            yield self._printer.loose(elements[at], below, weighed), (weighed, at)


def _groups(
    left: list[Json], right: list[Json], key: str | None
) -> dict[str, tuple[list[int], list[int]]]:
    """Indices of either side by the key's text; all that have no key are one group, named ''."""
    groups: dict[str, tuple[list[int], list[int]]] = {}
    for side, elements in enumerate((left, right)):
        for at, each in enumerate(elements):
            value = each.get(key) if key is not None and isinstance(each, dict) else None
            name = "" if value is None or isinstance(value, dict | list) else plain_text(value)
            groups.setdefault(name, ([], []))[side].append(at)
    return groups


def _changed(places: Iterable[int], left: list[Json], right: list[Json]) -> list[int]:
    return [at for at in places if not _equal(left[at], right[at])]


def _surplus(
    elements: list[Json], places: range, kind: Kind, state: State | None, trail: Trail
) -> Iterator[Found]:
    for at in places:
        below = _element(state, at)
        if below is None or not below.ignored:
            sides = (elements[at], ABSENT) if kind is Kind.MISSING else (ABSENT, elements[at])
            yield (trail, at), kind, *sides


def _element(state: State | None, at: int) -> State | None:
    return None if state is None else state.indices.get(at, state.other_index)
