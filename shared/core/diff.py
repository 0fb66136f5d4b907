"""The differences between two HTTP answers, for the dark launch.

1. Status, the headers asked for, and the body; each body as `bodies` reads it.
2. Documents are compared by structure (`walk`). Texts are equal up to white space (unless told
   not to), other bytes byte by byte.
3. Bodies of different forms, or of which one is odd, are equal if their bytes are, else they have
   one BODY difference at `$`. The oddities stand beside the differences: whoever counts may call
   such a comparison blind.
4. Equal bytes are not read. That one of them was cut is still told: nobody knows its rest.
5. What is kept is bounded, and no kind of difference at one pattern crowds out the others.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from shared.core.bodies import Form, Json, Oddity, Reply, described, read
from shared.core.paths import written
from shared.core.rules import Bounds, Compiled, Rules, Tolerance, Unordered, compiled
from shared.core.walk import ABSENT, Absent, Found, Kind, Side, found_in

__all__ = [
    "Bounds",
    "Comparison",
    "Compiled",
    "Difference",
    "Kind",
    "Oddity",
    "Reply",
    "Rules",
    "Tolerance",
    "Unordered",
    "compare",
    "compare_documents",
    "compiled",
]

_ENCODER = json.JSONEncoder(ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class Difference:
    """One difference; `left` and `right` are JSON text cut to the bound, empty for nothing."""

    path: str
    pattern: str
    kind: Kind
    left: str
    right: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """What was found: the differences kept, how many more there were, and odd bodies."""

    differences: tuple[Difference, ...]
    more: int = 0
    left: Oddity = Oddity.NONE
    right: Oddity = Oddity.NONE


def compare(left: Reply, right: Reply, rules: Compiled | Rules) -> Comparison:
    """Compare two answers; compile the rules first where there are many. Never raises for a reply.

    Paths are `status`, `header.<name>` and, in the body, JSON paths from `$`.
    """
    ready = compiled(rules) if isinstance(rules, Rules) else rules
    outer = [*_status(left, right, ready.rules), *_headers(left, right, ready.rules)]
    if left.body == right.body:
        cut = (Oddity.TRUNCATED if side.truncated else Oddity.NONE for side in (left, right))
        return Comparison(*_kept(outer, (), ready.rules.bounds), *cut)
    ours, theirs = read(left, ready.rules.bounds), read(right, ready.rules.bounds)
    found: Iterable[Found] = ()
    if ready.start is not None and ready.start.ignored:
        pass
    elif ours.oddity or theirs.oddity or ours.form is not theirs.form or ours.form is Form.BYTES:
        outer.append(_unlike(described(left, ours), described(right, theirs)))
    elif ours.form is Form.TEXT:
        outer += _texts(str(ours.value), str(theirs.value), ready.rules)
    else:
        found = found_in(ours.value, theirs.value, ready.start)
    kept, more = _kept(outer, found, ready.rules.bounds)
    return Comparison(kept, more, ours.oddity, theirs.oddity)


def compare_documents(left: Json, right: Json, ready: Compiled) -> Comparison:
    """Compare two documents as `bodies.read` gives them, which bounds their depth."""
    return Comparison(*_kept([], found_in(left, right, ready.start), ready.rules.bounds))


def _status(left: Reply, right: Reply, rules: Rules) -> Iterator[Difference]:
    if rules.compare_status and left.status != right.status:
        yield Difference("status", "status", Kind.STATUS, str(left.status), str(right.status))


def _headers(left: Reply, right: Reply, rules: Rules) -> Iterator[Difference]:
    for name in map(str.lower, rules.headers):
        ours, theirs = (_header(side, name) for side in (left, right))
        if ours != theirs:
            texts = (_text(value, rules.bounds.shown_chars) for value in (ours, theirs))
            yield Difference(f"header.{name}", f"header.{name}", Kind.HEADER, *texts)


def _header(reply: Reply, name: str) -> str | Absent:
    """The value up to white space; of a content type also up to case and quotes."""
    if name not in reply.headers:
        return ABSENT
    value = " ".join(reply.headers[name].split())
    if name != "content-type":
        return value
    return ";".join(part.strip() for part in value.lower().replace('"', "").split(";"))


def _texts(left: str, right: str, rules: Rules) -> Iterator[Difference]:
    if rules.normalise_text:
        left, right = " ".join(left.split()), " ".join(right.split())
    if left != right:
        chars = rules.bounds.shown_chars
        start = max(0, _parting(left, right) - chars // 4)
        yield _unlike(_text(left[start:], chars), _text(right[start:], chars))


def _parting(left: str, right: str) -> int:
    """Where two different texts part."""
    low, high = 0, min(len(left), len(right))
    while low < high:
        middle = (low + high + 1) // 2
        if left[low:middle] == right[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


def _unlike(left: str, right: str) -> Difference:
    return Difference("$", "$", Kind.BODY, left, right)


def _kept(
    outer: list[Difference], found: Iterable[Found], bounds: Bounds
) -> tuple[tuple[Difference, ...], int]:
    """The first differences, at most so many of one kind at one pattern, and how many more."""
    kept = outer[: bounds.differences]
    more = len(outer) - len(kept)
    alike: Counter[tuple[str, Kind]] = Counter()
    for trail, kind, left, right in found:
        if len(kept) >= bounds.differences:
            more += 1
            continue
        path, pattern = written(trail)
        alike[pattern, kind] += 1
        if alike[pattern, kind] > bounds.alike:
            more += 1
            continue
        ours, theirs = _text(left, bounds.shown_chars), _text(right, bounds.shown_chars)
        kept.append(Difference(path, pattern, kind, ours, theirs))
    return tuple(kept), more


def _text(value: Side, chars: int) -> str:
    """JSON text within the bound; whatever cannot be encoded stays escaped."""
    if isinstance(value, Absent):
        return ""
    if isinstance(value, str):
        value = value[:chars]
    text = _ENCODER.encode(value).encode(errors="backslashreplace").decode()
    return text if len(text) <= chars else text[: chars - 3] + "..."
