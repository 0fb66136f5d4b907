"""The body of an HTTP answer as something to compare: a JSON document, text or bytes.

1. The content type decides: JSON (`application/json`, `...+json`), lines of JSON (read as one
   array), text, else bytes. Without one, what parses is JSON, what decodes is text.
2. JSON is read strictly: UTF-8, UTF-16 or UTF-32 with or without a mark, no key twice in one
   object, nothing after the document, no deeper than the bound. Beyond the standard NaN and
   Infinity are taken, as many servers write them, each equal to itself alone.
3. Numbers are values, not spellings: 1, 1.0 and 10e-1 are one number, -0.0 is 0. A fraction is
   read as a double. What is finite and yet too large for a double with a point or an exponent, or
   longer than 4300 digits, cannot be weighed: the body counts as unreadable.
4. A body that cannot be read as what it claims to be is bytes, with a word for why. Nothing here
   raises, whatever the bytes are.
5. Compressed bodies stay bytes: the caller asks for identity or unpacks, under its own bounds.
"""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum, auto
from itertools import accumulate

from shared.core.rules import Bounds

type Json = bool | int | float | str | list[Json] | dict[str, Json] | None

# Possessive, and an open string runs to the end: else backslashes would cost quadratic time.
_STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+(?:"|\\?\Z)', re.DOTALL)
_RISE = {ord("["): 1, ord("{"): 1, ord("]"): -1, ord("}"): -1}
_NO_BRACKET = bytes(set(range(256)) - set(_RISE))
_CONSTANTS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
# Named one by one: some of Python's codecs take quadratic time.
_CHARSETS = {
    "utf-8": "utf-8-sig",
    "utf8": "utf-8-sig",
    "us-ascii": "ascii",
    "ascii": "ascii",
    "utf-16": "utf-16",
    "utf-16le": "utf-16-le",
    "utf-16be": "utf-16-be",
    "iso-8859-1": "latin-1",
    "latin1": "latin-1",
    "windows-1252": "cp1252",
}
_LINES = frozenset({"application/x-ndjson", "application/ndjson", "application/jsonl"})
_TEXTS = frozenset(
    {"application/javascript", "application/x-www-form-urlencoded", "application/xml"}
)


class Form(StrEnum):
    """What a body was read as."""

    EMPTY = auto()
    JSON = auto()
    TEXT = auto()
    BYTES = auto()


class Oddity(StrEnum):
    """Why a body could not be read as what it claims to be."""

    NONE = ""
    TRUNCATED = "truncated"
    HUGE = "too large"
    ENCODED = "compressed"
    UNDECODABLE = "not in its charset"
    NOT_JSON = "not JSON"
    DEEP = "too deep"
    TWICE = "a key twice"
    NUMBER = "a number too large"


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP answer; header names are lower-case, `truncated` means that the body was cut."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    elapsed_ms: float
    truncated: bool = False


@dataclass(frozen=True, slots=True)
class Body:
    """A body as read: `value` is the document or the text, None for bytes and for nothing."""

    form: Form
    value: Json = None
    oddity: Oddity = Oddity.NONE


class _OddError(Exception):
    def __init__(self, oddity: Oddity) -> None:
        super().__init__(oddity)
        self.oddity = oddity


def read(reply: Reply, bounds: Bounds) -> Body:
    """Read the body of an answer; never raises."""
    oddity = _outer_oddity(reply, bounds)
    if oddity:
        return Body(Form.BYTES, oddity=oddity)
    if not reply.body:
        return Body(Form.EMPTY)
    try:
        return _read_as(*_content_type(reply.headers), reply.body, bounds.depth)
    except _OddError as odd:
        return Body(Form.BYTES, oddity=odd.oddity)


def described(reply: Reply, body: Body) -> str:
    """A body in a few words, when it is not compared in detail."""
    digest = hashlib.sha256(reply.body).hexdigest()[:16]
    return f"{body.oddity or body.form}, {len(reply.body)} bytes, sha256 {digest}"


def _outer_oddity(reply: Reply, bounds: Bounds) -> Oddity:
    if reply.truncated:
        return Oddity.TRUNCATED
    if len(reply.body) > bounds.body_bytes:
        return Oddity.HUGE
    encoding = reply.headers.get("content-encoding", "").strip().lower()
    return Oddity.NONE if encoding in ("", "identity") else Oddity.ENCODED


def _content_type(headers: Mapping[str, str]) -> tuple[str, str]:
    """Media type and charset, lower-case, each possibly empty."""
    media, *parameters = headers.get("content-type", "").lower().split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.strip() == "charset":
            return media.strip(), value.strip().strip('"')
    return media.strip(), ""


def _read_as(media: str, charset: str, body: bytes, depth: int) -> Body:
    if media in _LINES:
        return Body(Form.JSON, _lines(_decoded(body, charset), depth))
    if media.endswith(("/json", "+json")):
        return Body(Form.JSON, _document(_decoded(body, charset), depth))
    if media.startswith("text/") or media.endswith("+xml") or media in _TEXTS:
        return Body(Form.TEXT, _decoded(body, charset))
    return Body(Form.BYTES) if media else _guessed(body, depth)


def _guessed(body: bytes, depth: int) -> Body:
    """Without a content type nothing was promised, so failing to be JSON or text is not odd."""
    try:
        text = _decoded(body, "")
    except _OddError:
        return Body(Form.BYTES)
    try:
        return Body(Form.JSON, _document(text, depth))
    except _OddError as odd:
        if odd.oddity is Oddity.NOT_JSON:
            return Body(Form.TEXT, text)
        raise


def _decoded(body: bytes, charset: str) -> str:
    """The text without its byte order mark."""
    codec = _CHARSETS.get(charset) if charset else json.detect_encoding(body)
    try:
        if codec is not None:
            return body.decode(codec).removeprefix("\ufeff")
    except UnicodeDecodeError:
        pass
    raise _OddError(Oddity.UNDECODABLE)


def _lines(text: str, depth: int) -> Json:
    return [_document(line, depth - 1) for line in text.split("\n") if line.strip()]


def _document(text: str, depth: int) -> Json:
    """Parse strictly. The depth is counted first: the parser's own limit is not ours to choose."""
    if _depth(text) > depth:
        raise _OddError(Oddity.DEEP)
    try:
        return _DECODER.decode(text)  # type: ignore[no-any-return]  # the decoder is untyped
    except json.JSONDecodeError:
        raise _OddError(Oddity.NOT_JSON) from None
    except ValueError:  # a whole number beyond the interpreter's limit of digits
        raise _OddError(Oddity.NUMBER) from None


def _depth(text: str) -> int:
    """The deepest nesting, in linear time and without recursion."""
    if text.count("[") + text.count("{") <= 1:
        return text.count("[") + text.count("{")
    bare = _STRING.sub(b"", text.encode("utf-8", "surrogatepass"))
    return max(accumulate(map(_RISE.__getitem__, bare.translate(None, _NO_BRACKET))), default=0)


def _fraction(text: str) -> float:
    value = float(text)
    if value.is_integer():
        return int(value)
    if math.isinf(value):
        raise _OddError(Oddity.NUMBER)
    return value


def _object(pairs: list[tuple[str, Json]]) -> dict[str, Json]:
    fields = dict(pairs)
    if len(fields) < len(pairs):
        raise _OddError(Oddity.TWICE)
    return fields


# One constant object for each: containers are equal if their elements are identical, so NaN is too.
_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_fraction, parse_constant=_CONSTANTS.__getitem__
)
