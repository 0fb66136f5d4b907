"""What may be stored or logged of a dark launch: redaction comes before anything is kept.

1. The first that applies decides: a place to hide is hidden; a secret, known by its name or by its
   looks, is hidden even where the plan shows; a place to show is shown with all that is below it;
   anything else is done as `values` says, by default as a hash.
2. A hash is keyed by the rollout's salt: within one rollout equal values have equal hashes, and
   nobody without the salt can try values out. Hashes of two numbers come with how far these are
   apart, as a share of the larger: what a tolerance would have to be.
3. Types, null, status codes, the lengths of arrays and the sizes of bodies are shown as structure.
4. A field's name is shown if it reads like one, else hashed, so that its tally stays one tally.
5. Values come cut. A hash is of what is left, and says so; of a text to show the last word is left
   out, as it may be a piece of a secret. What is too long or too deep is hashed. So is a body of
   text, always: its piece may begin behind the name that would have given a secret away.
6. What is redacted stays as it is when redacted again, since only such a result is given out.
"""

import hmac
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum, auto
from typing import Final, NamedTuple

from shared.core import scrub
from shared.core.bodies import Form, Json, Oddity
from shared.core.diff import Comparison, Difference
from shared.core.paths import Trail, parsed, written
from shared.core.rules import Rules, State, compiled
from shared.core.scrub import CARD_CHARS, CUT, HIDDEN, SECRET_NAME, WEAK_NAMES, settled, suspect
from shared.core.walk import Kind

LEAST_SALT_CHARS: Final = 16
MOST_VALUE_CHARS: Final = 500
_MOST_BRACKETS, _MOST_KEY_CHARS, _SHORT_CHARS = 64, 80, 6

_HASH = re.compile(r"sha256:[0-9a-f]{10}")
_BODY = rf"(?:{'|'.join(each for each in (*Form, *Oddity) if each)}), \d{{1,12}} bytes,"
_DONE = re.compile(
    rf"\[hidden\]|{_BODY} {_HASH.pattern}"
    rf"|(?:string|number|boolean|object|array|text) {_HASH.pattern}(?:, cut)?"
    r"(?:, [\d.e-]{1,12} % apart)?"
)
_DESCRIBED = re.compile(rf"({_BODY}) sha256 [0-9a-f]{{16}}")
_NUMBER = re.compile(r"-?\d{1,40}(?:\.\d{1,40})?(?:[eE][+-]?\d{1,3})?")
_TYPES = {'"': "string", "{": "object", "[": "array", "t": "boolean", "f": "boolean"}
_COUNTS = frozenset({Kind.STATUS, Kind.LENGTH, Kind.LATENCY})
_ENCODER = json.JSONEncoder(ensure_ascii=False)


class Values(StrEnum):
    """What becomes of the values that no pattern names."""

    HASHED = auto()
    SHORTENED = auto()
    SHOWN = auto()


@dataclass(frozen=True, slots=True)
class Redaction:
    """What the plan says; the patterns are those of `paths`, and hold for all that is below, too.

    SHORTENED keeps six characters of a text and two digits of a number.
    """

    headers: tuple[str, ...] = ("content-type", "content-length", "cache-control", "vary")
    hide: tuple[str, ...] = ()
    show: tuple[str, ...] = ()
    values: Values = Values.HASHED


class _Here(NamedTuple):
    """What holds at a place: where the patterns stand, and how to show; None is not at all."""

    hide: State | None
    show: State | None
    how: Values | None


_NOWHERE: Final = _Here(None, None, None)
_ROOT: Trail = None


@dataclass(frozen=True, slots=True)
class Redactor:
    """A redaction made ready. Nothing here raises for what it is given; what it gives is bounded.

    Differences must be redacted before they are counted: their patterns change.
    """

    allowed: frozenset[str]
    start: _Here
    salt: bytes = field(repr=False)

    request_path = staticmethod(scrub.endpoint)
    text = staticmethod(scrub.text_without_secrets)

    def comparison(self, found: Comparison) -> Comparison:
        """A comparison whose differences may be kept."""
        return replace(found, differences=tuple(map(self.difference, found.differences)))

    def difference(self, found: Difference) -> Difference:
        """A difference, as `diff` finds it, that may be kept; an absent side stays empty."""
        return settled(self._difference, found, Difference("$", "$", found.kind, HIDDEN, HIDDEN))

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers that may be shown, names in lower case."""
        lower = {name.lower(): text for name, text in headers.items()}
        names = (name for name in lower if name in self.allowed)
        return {n: HIDDEN if SECRET_NAME.search(n) else self.text(lower[n]) for n in names}

    def _difference(self, found: Difference) -> Difference:
        here = self._here(found)
        left, right = (self._side(text, here, found.kind) for text in (found.left, found.right))
        if left.startswith("number sha256:") and right.startswith("number sha256:"):
            right += _apart(found.left, found.right)
        path, pattern = self._place(found.path)[0], self._place(found.pattern)[1]
        return Difference(path, pattern, found.kind, left, right)

    def _here(self, found: Difference) -> _Here:
        if found.path.startswith("$"):
            here, keys = self.start, _keys(found.path)
            for key in keys or ():
                here = _below(here, key)
            return _NOWHERE if keys is None else here
        name = found.path.removeprefix("header.").lower()
        if SECRET_NAME.search(name):
            return _NOWHERE
        return _Here(None, None, Values.SHOWN if name in self.allowed else Values.HASHED)

    def _place(self, place: str) -> tuple[str, str]:
        """The place as a path and as a pattern."""
        if not place.startswith("$"):
            return self._name(place), self._name(place)
        keys, trail = _keys(place), _ROOT
        for key in [place] if keys is None else keys:
            trail = (trail, self._name(key) if isinstance(key, str) else key)
        return written(trail)

    def _side(self, text: str, here: _Here, kind: Kind) -> str:
        if not text or _DONE.fullmatch(text):
            return text
        if here.how is None:
            return HIDDEN
        if kind in _COUNTS and _NUMBER.fullmatch(text):
            return text
        if kind is Kind.BODY and (described := _DESCRIBED.fullmatch(text)):
            return f"{described[1]} {self._hash(text)}"
        open_below = here.show is not None and text[0] in "[{"
        if kind is Kind.BODY or (here.how is Values.HASHED and not open_below):
            return self._hashed(text)
        return self._told(text, here)

    def _told(self, text: str, here: _Here) -> str:
        try:
            value = self._shown(_read(text), here)
        except (ValueError, OverflowError):  # not JSON, too long or too deep; a number too large
            return self._hashed(text)
        told = value if isinstance(value, str) and _DONE.fullmatch(value) else _json(value)
        return told if len(told) <= MOST_VALUE_CHARS else self._hashed(text)

    def _shown(self, value: Json, here: _Here) -> Json:
        if here.how is None:
            return HIDDEN
        if here.how is not Values.HASHED or here.show is not None:
            if isinstance(value, dict):
                fields = value.items()
                return {self._name(key): self._shown(of, _below(here, key)) for key, of in fields}
            if isinstance(value, list):
                return [self._shown(each, _below(here, at)) for at, each in enumerate(value)]
        return self._leaf(value, here.how)

    def _leaf(self, value: Json, how: Values) -> Json:
        text = value if isinstance(value, str) else _json(value)
        if value is None or _DONE.fullmatch(text):
            return value
        if how is Values.HASHED or (text is not value and suspect(text)):
            return self._hashed(_json(value))
        if text is value:
            text = self.text(text)
            short = how is Values.SHORTENED and len(text) > _SHORT_CHARS + 1
            return f"{text[:_SHORT_CHARS]}…" if short else text
        cut = how is Values.SHORTENED and not isinstance(value, bool)
        return float(f"{value:.2g}") if cut else value

    def _name(self, name: str) -> str:
        return name if scrub.reads_like_a_name(name) or _HASH.fullmatch(name) else self._hash(name)

    def _hashed(self, text: str) -> str:
        if text == "null":
            return text
        of = _TYPES.get(text[0], "number" if text[0] in "-0123456789NI" else "text")
        return f"{of} {self._hash(text)}{', cut' if text.endswith('...') else ''}"

    def _hash(self, text: str) -> str:
        digest = hmac.digest(self.salt, text.encode(errors="surrogatepass"), "sha256")
        return f"sha256:{digest.hex()[:10]}"


def redactor(redaction: Redaction, salt: str) -> Redactor:
    """Make a redaction ready; the salt is random, of one rollout, and kept like a secret.

    Raises ValueError that names the pattern which cannot be read, or says what the salt lacks.
    """
    if len(salt) < LEAST_SALT_CHARS:
        raise ValueError(f"the salt must have at least {LEAST_SALT_CHARS} characters")
    hide, show = (compiled(Rules(ignore=each)).start for each in (redaction.hide, redaction.show))
    allowed = frozenset(map(str.lower, redaction.headers))
    # Converted, since a plain text is none of the members and would hold for none of them.
    here = _Here(hide, show, Values(redaction.values))
    return Redactor(allowed, _entered(here, 0), salt.encode(errors="surrogatepass"))


def _entered(here: _Here, key: str | int) -> _Here:
    """What holds at a place, when the patterns are where they are after this key."""
    name = key if isinstance(key, str) else ""
    if (here.hide is not None and here.hide.ignored) or SECRET_NAME.search(name):
        return _NOWHERE
    if name.lower() in WEAK_NAMES:
        return here._replace(show=None, how=Values.HASHED)
    return here._replace(how=Values.SHOWN) if here.show is not None and here.show.ignored else here


def _below(here: _Here, key: str | int) -> _Here:
    if here.how is None:
        return here
    return _entered(_Here(_next(here.hide, key), _next(here.show, key), here.how), key)


def _next(state: State | None, key: str | int) -> State | None:
    if state is None:
        return None
    name = isinstance(key, str)
    ways, other = (state.names, state.other_name) if name else (state.indices, state.other_index)
    return ways.get(key, other)


def _keys(path: str) -> list[str | int] | None:
    """The keys and indices of a path (`[*]` is 0); None if it is cut or cannot be read."""
    try:
        keys = [0 if step.wanted is None else step.wanted for step in parsed(path)]
    except ValueError:
        return None
    return None if any(len(str(key)) > _MOST_KEY_CHARS for key in keys) else keys


def _read(text: str) -> Json:
    """The value, of a cut text without its last word; raises ValueError."""
    if len(text) > MOST_VALUE_CHARS or text.count("[") + text.count("{") > _MOST_BRACKETS:
        raise ValueError
    if text.startswith('"') and text.endswith("..."):
        text = f'"{text[1:-3].rpartition(" ")[0].rstrip(CARD_CHARS)} {CUT}"'
    value: Json = json.loads(text)
    return value


def _json(value: Json) -> str:
    return _ENCODER.encode(value).encode(errors="backslashreplace").decode()


def _apart(left: str, right: str) -> str:
    """How far two numbers are apart, in per cent of the larger; empty for anything else."""
    if not (_NUMBER.fullmatch(left) and _NUMBER.fullmatch(right)):
        return ""
    ours, theirs = float(left), float(right)
    larger = max(abs(ours), abs(theirs))
    if not 0 < larger < math.inf:
        return ""
    return f", {float(f'{100 * abs(ours / larger - theirs / larger):.2g}'):g} % apart"
