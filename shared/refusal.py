"""Why a document is refused, in its sender's words: the field, what was given, what is allowed.

Findings are pydantic's. What only its models know (tags of a choice, units gone, a list that is
empty since its parts were refused) is nobody's business and is said in the terms of the document.
"""

import json
import reprlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import Any

from pydantic import ValidationError

from shared.written import CHOICE, UNKNOWN_KIND, in_unit_of

MAX_REASONS = 20
SHOWN_FIELD, SHOWN_MESSAGE, SHOWN_INPUT = 120, 200, 80
# In a longer body that is refused anyway it is not looked for what is given twice besides.
SOUGHT_BYTES = 16_384
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_WORDS = {
    "bool_type": "true or false is allowed",
    "extra_forbidden": "there is no field of this name",
    "finite_number": "a finite number is allowed",
    "float_type": "a number is allowed",
    "int_type": "a whole number is allowed",
    "literal_error": "{expected} is allowed",
    "missing": "must be given",
    "model_type": "an object with fields of its own is allowed",
    "model_attributes_type": "an object with fields of its own is allowed",
    "string_too_long": "at most {max_length} characters are allowed",
    "string_too_short": "at least {min_length} characters are needed",
    "string_type": "text is allowed",
    "too_long": "at most {max_length} are allowed",
    "too_short": "at least {min_length} must be given",
    "tuple_type": "a list is allowed",
}
# Whose words may begin with the name of a field of the object that was given.
_SPOKEN = frozenset({"value_error", UNKNOWN_KIND})
_NOT_GIVEN = object()

type Detail = Mapping[str, Any]


class Beginning(reprlib.Repr):
    """Writes how a value begins: one of many thousand parts is not written out to be cut.

    Of texts too only the beginning: what a secret ends with is nobody's business.
    """

    def repr_str(self, text: str, _level: int) -> str:
        """How a text begins."""
        return repr(text[:SHOWN_INPUT])

    def repr_bytes(self, data: bytes, _level: int) -> str:
        """How a body begins."""
        return repr(data[:SHOWN_INPUT])


SHOWN = Beginning(maxlevel=3, maxother=SHOWN_INPUT)


def reasons(error: ValidationError, body: bytes) -> str:
    """All that is wrong with a body, at most MAX_REASONS, in one line."""
    details = [detail for detail in error.errors() if not _only_emptied(detail)]
    found = [_reason(detail) for detail in details[:MAX_REASONS]]
    sound = all(detail["type"] != "json_invalid" for detail in details)
    sought = sound and len(body) <= SOUGHT_BYTES
    return "; ".join([*found, *(repeated(body) if sought else ())][:MAX_REASONS])


def repeated(body: bytes) -> list[str]:
    """The fields that an object of a sound JSON body has more than once."""
    found = False

    def fields(pairs: list[tuple[str, Any]]) -> _Fields:
        nonlocal found
        found |= len(dict(pairs)) < len(pairs)
        return _Fields(pairs)

    document = json.loads(body, object_pairs_hook=fields)
    if not found:
        return []
    return [
        f"{_plain(place, SHOWN_FIELD)}: once is allowed (given {times} times)"
        for place, times in islice(_again(document, ()), MAX_REASONS)
    ]


class _Fields(list[tuple[str, Any]]):
    """An object's fields as they stand, each as often as it is given."""


def _again(value: object, path: tuple[str, ...]) -> Iterator[tuple[str, int]]:
    """The places given more than once, with how often."""
    fields: Iterable[tuple[object, object]] = ()
    if isinstance(value, _Fields):
        fields, counted = value, Counter(name for name, _ in value)
        for name, times in counted.items():
            if times > 1:
                yield ".".join((*path, name)), times
    elif isinstance(value, list):
        fields = enumerate(value)
    for part, inside in fields:
        yield from _again(inside, (*path, str(part)))


def _only_emptied(detail: Detail) -> bool:
    """A list is not too short for parts that were refused, each with its own reason."""
    short = detail["type"] == "too_short"
    return short and bool(len(detail["input"]) >= detail["ctx"]["min_length"])


def _reason(detail: Detail) -> str:
    path = [str(part) for part in detail["loc"] if not str(part).startswith(CHOICE)]
    given, message = f"given {_shown(detail['input'])}", _message(detail)
    if detail["type"] == "missing":
        given = "not given"
    field, _, rest = message.partition(": ")
    if detail["type"] in _SPOKEN and field.isidentifier() and isinstance(detail["input"], dict):
        value = detail["input"].get(field, _NOT_GIVEN)
        given = "not given" if value is _NOT_GIVEN else f"given {_shown(value)}"
        path, message = [*path, field], rest
    name = _plain(".".join(path) or "body", SHOWN_FIELD)
    return f"{name}: {_plain(message, SHOWN_MESSAGE)} ({given})"


def _message(detail: Detail) -> str:
    """What is allowed there."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"{words} {in_unit_of(detail['input'], context[name])} is allowed"
    if kind == "string_type" and isinstance(detail["input"], int | float):
        return "text is allowed, in YAML in quotes"
    if kind in _WORDS:
        return _WORDS[kind].format(**context)
    return str(detail["msg"]).removeprefix("Value error, ")


def _shown(given: object) -> str:
    return _plain(SHOWN.repr(given), SHOWN_INPUT)


def _plain(text: str, most: int) -> str:
    """Words of a sender's as part of one line: cut, and without what could begin another."""
    cut = text if len(text) <= most else f"{text[:most]}…"
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in cut)
