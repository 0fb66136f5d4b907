"""Arrays as multisets: two elements are the same if their prints are.

1. A print is canonical text: keys sorted, ignored places left out, unordered arrays sorted. Under
   a rule a container is printed as a hash of its parts, so prints stay short.
2. Asked about order, a print has every number as it is, and each container is printed once however
   often arrays within arrays are asked about. Asked about membership, it has a mark for a number
   under a tolerance, and elements of equal print are matched by these numbers.
3. Texts are the keys of every dict: Python salts their hashes, while whole numbers can be chosen
   to collide. Apart from sorting, time is linear.

With one tolerated number to an element no matching is larger. With several it is greedy, and may
leave a pair apart that a search would join; aligned by a key, such elements need no matching.
"""

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterable, Iterator
from json.encoder import encode_basestring_ascii
from typing import TypeGuard

from shared.core.bodies import Json
from shared.core.rules import State, within

type Weighed = list[tuple[float, tuple[float, float]]]
"""The tolerated numbers of an element, each with its tolerance."""
type Member = tuple[Weighed, int]
"""An element of an array: its tolerated numbers and its index."""

_MARK = "#"
_MOST_TRIES = 64
_ENCODER = json.JSONEncoder(sort_keys=True, separators=(",", ":"))


def plain_text(value: Json) -> str:
    """Canonical JSON text of a value as `bodies` reads it, ASCII only."""
    if type(value) is str:
        return encode_basestring_ascii(value)
    return repr(value) if type(value) is int else _ENCODER.encode(value)


class Printer:
    """Prints the parts of two documents; both must outlive it."""

    def __init__(self) -> None:
        self._known: dict[tuple[int, int], str] = {}

    def exact(self, value: Json, state: State | None) -> str:
        """The print that tells one value from all others, but for what rules ignore."""
        if state is None or not isinstance(value, dict | list):
            return plain_text(value)
        place = id(value), id(state)
        if place not in self._known:
            self._known[place] = self._container(value, state, None)
        return self._known[place]

    def loose(self, value: Json, state: State | None, weighed: Weighed) -> str:
        """The print without tolerated numbers, which are added to `weighed`."""
        if state is None:
            return plain_text(value)
        if isinstance(value, dict | list):
            return self._container(value, state, weighed)
        if state.tolerance is None or not is_number(value) or not abs(value) < math.inf:
            return plain_text(value)
        weighed.append((value, state.tolerance))
        return _MARK

    def _container(
        self, value: dict[str, Json] | list[Json], state: State, weighed: Weighed | None
    ) -> str:
        if isinstance(value, dict):
            return _hashed(self._fields(value, state, weighed))
        if state.unordered is None:
            return _hashed(self._elements(value, state, weighed))
        if weighed is None:
            return _hashed(sorted(self.exact(each, state.other_index) for each in value))
        return _hashed(self._sorted(value, state.other_index, weighed))

    def _fields(
        self, value: dict[str, Json], state: State, weighed: Weighed | None
    ) -> Iterator[str]:
        yield "{"
        for key in sorted(value):
            below = state.names.get(key, state.other_name)
            if below is None or not below.ignored:
                yield plain_text(key)
                yield self._either(value[key], below, weighed)

    def _elements(self, value: list[Json], state: State, weighed: Weighed | None) -> Iterator[str]:
        yield "["
        for index, each in enumerate(value):
            below = state.indices.get(index, state.other_index)
            if below is not None and below.ignored:
                yield ""
            else:
                yield self._either(each, below, weighed)

    def _sorted(self, value: list[Json], below: State | None, weighed: Weighed) -> Iterator[str]:
        found = []
        for each in value:
            numbers: Weighed = []
            found.append((self.loose(each, below, numbers), numbers))
        for text, numbers in sorted(found):
            yield text
            weighed += numbers

    def _either(self, value: Json, state: State | None, weighed: Weighed | None) -> str:
        return self.exact(value, state) if weighed is None else self.loose(value, state, weighed)


def is_number(value: Json) -> TypeGuard[float]:
    """Whether it is a JSON number, which a truth value is not."""
    return type(value) is int or type(value) is float


def permuted(ours: Iterable[str], theirs: Iterable[str]) -> bool:
    """Whether two lists of prints are the same but for the order."""
    return Counter(ours) == Counter(theirs)


def unmatched(
    ours: Iterable[tuple[str, Member]], theirs: Iterable[tuple[str, Member]]
) -> tuple[list[int], list[int]]:
    """The indices of what is in one of two multisets (prints and members) and not in the other."""
    left: list[Member] = []
    right: list[Member] = []
    for mine, other in _buckets(ours, theirs):
        missing, extra = _rest(mine, other)
        left += missing
        right += extra
    return sorted(index for _, index in left), sorted(index for _, index in right)


type _Sides = tuple[list[Member], list[Member]]


def _buckets(
    ours: Iterable[tuple[str, Member]], theirs: Iterable[tuple[str, Member]]
) -> Iterable[_Sides]:
    """The members of either side that share a print."""
    buckets: dict[str, _Sides] = {}
    for side, members in enumerate((ours, theirs)):
        for text, member in members:
            buckets.setdefault(text, ([], []))[side].append(member)
    return buckets.values()


def _rest(ours: list[Member], theirs: list[Member]) -> _Sides:
    """What stays unmatched of members with the same print."""
    width = len(ours[0][0]) if ours and theirs else 0
    if width == 0:
        return ours[len(theirs) :], theirs[len(ours) :]
    if width > 1:
        ours, theirs = _unequal(ours, theirs)
    ours, theirs = sorted(ours), sorted(theirs)
    if theirs < ours:  # the same search, whichever side is called ours
        extra, missing = _greedy(theirs, ours)
        return missing, extra
    return _greedy(ours, theirs)


def _unequal(ours: list[Member], theirs: list[Member]) -> _Sides:
    """Equal numbers cancel first: a greedy search might spend them on what is merely near."""
    named = [[(repr(member[0]), member) for member in side] for side in (ours, theirs)]
    left: list[Member] = []
    right: list[Member] = []
    for mine, other in _buckets(*named):
        left += mine[len(other) :]
        right += other[len(mine) :]
    return left, right


def _greedy(ours: list[Member], theirs: list[Member]) -> _Sides:
    """Match each with the first that is near in all numbers; both sides are sorted."""
    missing, used, start = [], set[int](), 0
    for member in ours:
        mine = member[0]
        while start < len(theirs) and (start in used or _is_under(theirs[start][0], mine)):
            start += 1
        for at in range(start, min(start + _MOST_TRIES, len(theirs))):
            if at not in used and all(map(_near, mine, theirs[at][0])):
                used.add(at)
                break
        else:
            missing.append(member)
    return missing, [member for at, member in enumerate(theirs) if at not in used]


def _near(mine: tuple[float, tuple[float, float]], other: tuple[float, object]) -> bool:
    return within(mine[0], other[0], mine[1])


def _is_under(other: Weighed, mine: Weighed) -> bool:
    return other[0][0] < mine[0][0] and not _near(mine[0], other[0])


def _hashed(parts: Iterable[str]) -> str:
    """No text of a value starts with @, so a hash is never taken for one."""
    return "@" + hashlib.blake2b("\n".join(parts).encode(), digest_size=16).hexdigest()
