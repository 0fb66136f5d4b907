"""Why a document is refused, in its sender's words: the field, what was given, what is allowed.

Findings are pydantic's. What only its models know (tags of a choice, units gone, a list that is
empty since its parts were refused) is nobody's business and is said in the terms of the document.
"""

import json
import reprlib
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import from_json

from shared.written import in_unit_of

MAX_REASONS = 20
SHOWN_FIELD, SHOWN_MESSAGE, SHOWN_INPUT = 120, 200, 80
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}
_WORDS = {
    "extra_forbidden": "there is no field of this name",
    "missing": "must be given",
    "string_type": "text is allowed, in YAML in quotes",
    "float_type": "a number is allowed",
    "int_type": "a whole number is allowed",
    "tuple_type": "a list is allowed",
    "model_type": "an object with fields of its own is allowed",
}

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
    document = _document(body)
    return "; ".join(_reason(detail, document) for detail in details[:MAX_REASONS])


def twice(body: bytes) -> str:
    """The first name that one object of a sound JSON body has twice; empty when there is none."""
    found: list[str] = []

    def look(pairs: list[tuple[str, object]]) -> None:
        found.extend(
            name for name, times in Counter(name for name, _ in pairs).items() if times > 1
        )

    json.loads(body, object_pairs_hook=look)
    return f"{_plain(found[0], SHOWN_FIELD)}: once is allowed (given twice)" if found else ""


def _only_emptied(detail: Detail) -> bool:
    """A list is not too short for parts that were refused, each with its own reason."""
    short = detail["type"] == "too_short"
    return short and bool(len(detail["input"]) >= detail["ctx"]["min_length"])


def _document(body: bytes) -> object:
    try:
        return from_json(body)
    except ValueError:
        return None


def _reason(detail: Detail, document: object) -> str:
    path, given, message = list(_path(detail, document)), detail["input"], _message(detail)
    field, _, rest = message.partition(": ")
    if detail["type"] == "value_error" and isinstance(given, dict) and field.isidentifier():
        path, given, message = [*path, field], given.get(field), rest
    name = _plain(".".join(path) or "body", SHOWN_FIELD)
    return f"{name}: {_plain(message, SHOWN_MESSAGE)} (given {_shown(given)})"


def _path(detail: Detail, document: object) -> Iterator[str]:
    """The parts of a place that the document has, or lacks: not the models' own names."""
    here: Any = document
    for part in detail["loc"]:
        numbered = isinstance(here, list) and isinstance(part, int)
        if numbered or (isinstance(here, dict) and part in here):
            here = here[part]
            yield str(part)
    if detail["type"] == "missing":
        yield str(detail["loc"][-1])


def _message(detail: Detail) -> str:
    """What is allowed there."""
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"{words} {in_unit_of(detail['input'], context[name])} is allowed"
    if kind == "literal_error":
        return f"{context['expected']} is allowed"
    if kind == "too_short":
        return f"at least {context['min_length']} must be given"
    return _WORDS.get(kind) or str(detail["msg"]).removeprefix("Value error, ")


def _shown(given: object) -> str:
    return _plain(SHOWN.repr(given), SHOWN_INPUT)


def _plain(text: str, most: int) -> str:
    """Words of a sender's as part of one line: cut, and without what could begin another."""
    cut = text if len(text) <= most else f"{text[:most]}…"
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in cut)
