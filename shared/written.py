"""How people write down values in plans: with units, strictly, and nothing converted silently."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    Tag,
    WithJsonSchema,
)
from pydantic_core.core_schema import CoreSchema, no_info_after_validator_function

DAY_S = 86_400
UNITS_S: Mapping[str, float] = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": DAY_S}
DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)", re.ASCII)
SHARE = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)%", re.ASCII)
POINTS = re.compile(r"(\d{1,6}(?:\.\d{1,6})?)pp", re.ASCII)
SIZES: Mapping[str, float] = {**UNITS_S, "%": 0.01, "pp": 0.01}
# How the marks of kinds begin, which are in no place of a document.
CHOICE, UNKNOWN_KIND = "\0", "unknown_kind"
PROFILE_ID = (
    r"(?i)^/subscriptions/[^\x00-\x20\x7f/?#]{1,64}/resourceGroups/[^\x00-\x20\x7f/?#]{1,90}"
    r"/providers/Microsoft\.Network/trafficManagerProfiles/[^\x00-\x20\x7f/?#]{1,63}$"
)


def _seconds(value: object) -> object:
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a duration with its unit is allowed, such as "800ms", "30s", "10m", "4h"')
    return float(match[1]) * UNITS_S[match[2]]


def _share(value: object) -> object:
    match = SHARE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('a percentage with its sign is allowed, such as "1%" or "0.5%"')
    return float(match[1]) / 100


def _points(value: object) -> object:
    match = POINTS.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('percentage points are allowed, such as "0.1pp"')
    return float(match[1]) / 100


def in_unit_of(given: object, bound: float) -> str:
    """A bound written as what was given: 0.5 is "50pp" beside "60pp"."""
    for pattern in (DURATION, SHARE, POINTS):
        if isinstance(given, str) and (match := pattern.fullmatch(given)):
            unit = match[2] if pattern is DURATION else given.lstrip("0123456789.")
            return f"{bound / SIZES[unit]:.12g}{unit}"
    return f"{bound:.12g}"


@dataclass(frozen=True, slots=True)
class Form:
    """The form of a text: a pattern for the schema, and what is allowed in words for people."""

    pattern: str
    words: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """The text, checked."""
        return no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        """The text's own schema with the pattern."""
        return {**handler(schema), "pattern": self.pattern}

    def _check(self, text: str) -> str:
        if not re.fullmatch(self.pattern, text):
            raise ValueError(f"{self.words} is allowed")
        return text


def chosen(kind: str) -> Tag:
    """The mark of one kind of value, which no place of a document is named by."""
    return Tag(f"{CHOICE}{kind}")


def by_kind(kind: Callable[[object], str | None], words: str) -> Discriminator:
    """Choose by looking, so that a refusal speaks only of what was meant."""

    def look(value: object) -> str | None:
        found = kind(value)
        return None if found is None else f"{CHOICE}{found}"

    return Discriminator(look, UNKNOWN_KIND, words)


def at_most(count: int) -> BeforeValidator:
    """Look at the length before the elements: each bad one of a hundred thousand costs a reason."""

    def check(value: object) -> object:
        if isinstance(value, list) and len(value) > count:
            raise ValueError(f"at most {count} are allowed, not {len(value)}")
        return value

    return BeforeValidator(check)


def _written(pattern: re.Pattern[str], example: str) -> WithJsonSchema:
    form = {"type": "string", "pattern": f"^{pattern.pattern}$", "examples": [example]}
    return WithJsonSchema(form)


type Seconds = Annotated[float, BeforeValidator(_seconds), _written(DURATION, "10m")]
type Share = Annotated[float, BeforeValidator(_share), _written(SHARE, "5%")]
type Points = Annotated[float, BeforeValidator(_points), _written(POINTS, "0.1pp")]
type Percent = Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
type Name = Annotated[
    str,
    Form(
        r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$",
        'a name of at most 63 letters, digits, ".", "_" and "-", which begins with no sign,',
    ),
]
type Label = Annotated[
    str,
    Form(
        r"^[^\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e]{1,260}$",
        "a text of 1 to 260 characters, none of control,",
    ),
]
type Who = Annotated[str, Field(min_length=1, max_length=260)]
type ProfileId = Annotated[
    str,
    Form(
        PROFILE_ID,
        "the id of a profile, such as /subscriptions/.../resourceGroups/.../providers/"
        "Microsoft.Network/trafficManagerProfiles/...",
    ),
]
type LongLabel = Annotated[str, Field(min_length=1, max_length=2000)]
type Words = Annotated[str, Field(max_length=500)]


class Strict(BaseModel):
    """Frozen, no unknown fields, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
