"""How people write down values in plans: with units, strictly, and nothing converted silently."""

import re
from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema

DAY_S = 86_400
UNITS_S: Mapping[str, float] = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": DAY_S}
DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)(ms|s|m|h|d)", re.ASCII)
SHARE = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)%", re.ASCII)
POINTS = re.compile(r"(\d{1,3}(?:\.\d{1,6})?)pp", re.ASCII)
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
type Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$")]
type Label = Annotated[str, Field(min_length=1, max_length=260)]
type LongLabel = Annotated[str, Field(min_length=1, max_length=2000)]
type Words = Annotated[str, Field(max_length=500)]


class Strict(BaseModel):
    """Frozen, no unknown fields, no silent conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
