"""A sample as a producer posts it: one production request, and the answer its user got.

    {"schema": "linnet.sample/1", "id": "...", "profile": "/subscriptions/...", "at": "...",
     "request": {"method": "GET", "path": "/api/x?y=1", "headers": {...}},
     "response": {"status": 200, "headers": {...}, "elapsed_ms": 12.5, "body": {"text": "..."}}}

A body is text, base64, or too large for the broker: then a blob with its hash. Read strictly, and
refused without repeating what was given, since a sample holds what a user sent.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, TypeAdapter, ValidationError, model_validator

from shared.core.bodies import Reply
from shared.core.shadow import Request, Sample
from shared.errors import RefusedError
from shared.written import LongLabel, ProfileId, Strict

MAX_REASONS = 5
MAX_HEADERS = 200

type HeaderName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}$")]
type HeaderValue = Annotated[str, Field(max_length=16_384)]
type Headers = Annotated[dict[HeaderName, HeaderValue], Field(max_length=MAX_HEADERS)]
type Path = Annotated[str, Field(pattern=r"^/[\x21-\x7e]*$", max_length=16_384)]


def _bytes(text: str) -> str:
    try:
        base64.b64decode(text, validate=True)
    except binascii.Error:
        raise ValueError("is not base64") from None
    return text


class BodyIn(Strict):
    """A body in one of three forms; `truncated` when the producer kept only its beginning."""

    text: str | None = None
    base64: Annotated[str, AfterValidator(_bytes)] | None = None
    blob: LongLabel | None = None
    sha256: Annotated[str, Field(pattern=r"^[0-9a-fA-F]{64}$")] | None = None
    truncated: bool = False

    @model_validator(mode="after")
    def _one(self) -> "BodyIn":
        if sum(each is not None for each in (self.text, self.base64, self.blob)) != 1:
            raise ValueError("needs exactly one of text, base64 and blob")
        if (self.blob is None) is not (self.sha256 is None):
            raise ValueError("needs sha256 with a blob, and only then")
        return self


class RequestIn(Strict):
    """What the user asked."""

    method: Annotated[str, Field(pattern=r"^[A-Z]{1,20}$")]
    path: Path
    headers: Headers = Field(default_factory=dict)
    body: BodyIn | None = None


class ResponseIn(Strict):
    """What the user got, and how long it took."""

    status: Annotated[int, Field(ge=100, le=599)]
    headers: Headers = Field(default_factory=dict)
    elapsed_ms: Annotated[float, Field(ge=0, le=3_600_000, allow_inf_nan=False)]
    body: BodyIn | None = None


class SampleIn(Strict):
    """One sample."""

    schema_: Annotated[Literal["linnet.sample/1"], Field(alias="schema")]
    id: Annotated[str, Field(min_length=1, max_length=200)]
    profile: ProfileId
    at: Annotated[str, Field(max_length=40)]
    request: RequestIn
    response: ResponseIn

    @model_validator(mode="after")
    def _timed(self) -> "SampleIn":
        if self.request.body and self.request.body.truncated:
            raise ValueError("request: a body that was cut cannot be replayed")
        try:
            datetime.fromisoformat(self.at).timestamp()
        except (ValueError, OverflowError):
            raise ValueError("at: needs a moment in ISO 8601") from None
        return self


SAMPLES: TypeAdapter[SampleIn] = TypeAdapter(SampleIn)


@dataclass(frozen=True, slots=True)
class Blob:
    """Where a body is kept, and its hash."""

    url: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Posted:
    """A sample as understood; bodies that lie elsewhere are still to be fetched."""

    sample: Sample
    request_blob: Blob | None = None
    reply_blob: Blob | None = None

    def with_bodies(self, request: bytes | None, reply: bytes | None) -> Sample:
        """The whole sample, once the blobs have been read."""
        sample = self.sample
        if request is not None:
            sample = replace(sample, request=replace(sample.request, body=request))
        if reply is not None:
            sample = replace(sample, reply=replace(sample.reply, body=reply))
        return sample


def read_sample(body: bytes) -> Posted:
    """A message of the samples queue. Raises RefusedError, which repeats nothing of the body."""
    try:
        said = SAMPLES.validate_json(body)
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)[:MAX_REASONS]
        reasons = [f"{_field(detail['loc'])}: {detail['type']}" for detail in details]
        raise RefusedError(f"not a sample: {'; '.join(reasons)}") from None
    asked, got = said.request, said.response
    request = Request(asked.method, asked.path, _lower(asked.headers), _inline(asked.body))
    truncated = got.body is not None and got.body.truncated
    reply = Reply(got.status, _lower(got.headers), _inline(got.body), got.elapsed_ms, truncated)
    at_s = datetime.fromisoformat(said.at).timestamp()
    sample = Sample(said.id, said.profile, at_s, request, reply)
    return Posted(sample, _blob(asked.body), _blob(got.body))


def _field(location: tuple[int | str, ...]) -> str:
    """Where it was, without keys of the sender's own, such as header names."""
    known = {*SampleIn.model_fields, *RequestIn.model_fields, *ResponseIn.model_fields, "schema"}
    known |= set(BodyIn.model_fields)
    return ".".join(str(part) if part in known else "…" for part in location) or "body"


def _lower(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


def _inline(body: BodyIn | None) -> bytes:
    if body is None or body.blob is not None:
        return b""
    if body.base64 is not None:
        return base64.b64decode(body.base64)
    return (body.text or "").encode(errors="surrogatepass")


def _blob(body: BodyIn | None) -> Blob | None:
    if body is None or body.blob is None or body.sha256 is None:
        return None
    return Blob(body.blob, body.sha256)
