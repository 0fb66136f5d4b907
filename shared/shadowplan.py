"""A plan's step at 0 % as people write it: what is replayed, overlooked, hidden and allowed."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from shared.core.paths import parsed
from shared.core.redact import Redaction, Values
from shared.core.rules import Rules, Tolerance, Unordered, compiled
from shared.core.shadow import Margins, Shadow
from shared.written import Form, Points, Seconds, Share, Strict, at_most


def _pattern(text: str) -> str:
    parsed(text)
    return text


type Pattern = Annotated[str, Field(max_length=500), AfterValidator(_pattern)]
type Patterns = Annotated[tuple[Pattern, ...], Field(max_length=100, strict=False), at_most(100)]
type HeaderName = Annotated[
    str, Form(r"^[A-Za-z0-9-]{1,64}$", "a header's name of at most 64 letters, digits and hyphens")
]
type HeaderNames = Annotated[
    tuple[HeaderName, ...], Field(max_length=50, strict=False), at_most(50)
]
type Method = Literal["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"]


class ToleranceIn(Strict):
    """Numbers at this path are equal up to a difference, or up to a share of their size."""

    path: Pattern
    absolute: Annotated[float, Field(ge=0, allow_inf_nan=False)] = 0.0
    relative: Annotated[Share, Field(ge=0, le=1)] = 0.0


class UnorderedIn(Strict):
    """The elements at this path, which ends in [*], may come in any order; `by` aligns them."""

    path: Pattern
    by: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class CompareIn(Strict):
    """What to overlook when two answers are compared."""

    ignore: Patterns = ()
    unordered: Annotated[
        tuple[UnorderedIn, ...], Field(max_length=50, strict=False), at_most(50)
    ] = ()
    tolerances: Annotated[
        tuple[ToleranceIn, ...], Field(max_length=50, strict=False), at_most(50)
    ] = ()
    headers: HeaderNames = ("content-type",)

    @model_validator(mode="after")
    def _sound(self) -> "CompareIn":
        compiled(self.rules())
        return self

    def rules(self) -> Rules:
        """The rules as the core knows them."""
        return Rules(
            ignore=self.ignore,
            unordered=tuple(Unordered(each.path, each.by) for each in self.unordered),
            tolerances=tuple(
                Tolerance(each.path, each.absolute, each.relative) for each in self.tolerances
            ),
            headers=tuple(name.lower() for name in self.headers),
        )


class RedactIn(Strict):
    """What may be seen of the values that differ: by default only their hashes."""

    headers: HeaderNames | None = None
    hide: Patterns = ()
    show: Patterns = ()
    values: Literal["hashed", "shortened", "shown"] = "hashed"


class ShadowIn(Strict):
    """How the canary is tried on replayed requests, and what it must show.

    `mismatch`, `slower` and `unreachable` are the excess over stable that is still no worse;
    `noise` is the share of samples that stable answers again.
    """

    mismatch: Annotated[Points, Field(gt=0, le=0.5)] = 0.005
    slower: Annotated[Points, Field(gt=0, le=0.5)] = 0.05
    unreachable: Annotated[Points, Field(gt=0, le=0.5)] = 0.01
    slower_than: Annotated[float, Field(gt=1, le=100)] = 2.0
    samples: Annotated[int, Field(ge=1, le=50_000)] = 500
    most_samples: Annotated[int, Field(ge=1, le=200_000)] = 50_000
    noise: Annotated[Share, Field(gt=0, le=1)] = 0.5
    learn: Annotated[int, Field(ge=2, le=10_000)] = 50
    methods: Annotated[
        tuple[Method, ...], Field(min_length=1, max_length=7, strict=False), at_most(7)
    ] = (
        "GET",
        "HEAD",
    )
    pass_headers: HeaderNames = ()
    timeout: Annotated[Seconds, Field(gt=0, le=30)] = 10.0
    log: Annotated[Share, Field(ge=0, le=1)] = 0.01
    compare: CompareIn = CompareIn()
    redact: RedactIn = RedactIn()

    @model_validator(mode="after")
    def _reachable(self) -> "ShadowIn":
        if self.samples > self.most_samples:
            raise ValueError(f"samples: {self.samples} are needed, {self.most_samples} allowed")
        if self.learn > self.noise * self.most_samples:
            raise ValueError(f"learn: {self.noise:g} of {self.most_samples} samples are too few")
        return self


def shadow_of(said: ShadowIn) -> Shadow:
    """The step as the core knows it."""
    return Shadow(
        rules=said.compare.rules(),
        redaction=_redaction_of(said.redact),
        margins=Margins(said.mismatch, said.slower, said.unreachable),
        methods=frozenset(said.methods),
        pass_headers=frozenset(name.lower() for name in said.pass_headers),
        samples=said.samples,
        most_samples=said.most_samples,
        noise_share=said.noise,
        learn=said.learn,
        slower_than=said.slower_than,
        timeout_s=said.timeout,
        log_share=said.log,
    )


def _redaction_of(said: RedactIn) -> Redaction:
    usual = Redaction()
    headers = usual.headers if said.headers is None else said.headers
    return Redaction(
        headers=tuple(name.lower() for name in headers),
        hide=said.hide,
        show=said.show,
        values=Values(said.values),
    )
