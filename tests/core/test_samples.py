"""The door for samples and for a plan's step at 0 %: what is understood, what is refused, how."""

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from shared.core.redact import Redaction, Values
from shared.core.rules import Rules, Tolerance, Unordered
from shared.core.shadow import Margins, Shadow
from shared.errors import RefusedError
from shared.planfile import PlanIn, plan_of
from shared.samples import Blob, read_sample
from shared.shadowplan import ShadowIn, shadow_of
from tests.dark import sample_document, shadow_step
from tests.given import PROFILE
from tests.town import plan_document

SECRET = "planted-4711"
HASH = "ab" * 32


def read(document: object) -> Any:
    return read_sample(json.dumps(document).encode())


# --- a sample -------------------------------------------------------------------------------------


def test_a_sample_is_understood_whole() -> None:
    sample = read(
        sample_document(
            7,
            at="2027-01-15T09:00:01+01:00",
            request={"method": "POST", "headers": {"X-Api-Version": "2"}, "body": {"text": "ü"}},
            response={"status": 201, "headers": {"Content-Type": "text/plain"}, "elapsed_ms": 3},
        )
    ).sample

    assert (sample.id, sample.profile, sample.at_s) == ("s-7", PROFILE, 1_800_000_001)
    assert (sample.request.method, sample.request.path) == ("POST", "/api/items/7")
    assert sample.request.headers == {"x-api-version": "2"}
    assert sample.request.body == "ü".encode()
    assert (sample.reply.status, sample.reply.elapsed_ms) == (201, 3)
    assert sample.reply.headers == {"content-type": "text/plain"}
    assert sample.reply.body == b'{"price": 10}'


def test_a_body_comes_as_text_as_base64_as_a_blob_or_not_at_all() -> None:
    encoded = {"base64": base64.b64encode(b"\x00\xff").decode(), "truncated": True}
    blob = {"blob": "https://a.blob.core.windows.net/b/1", "sha256": HASH}

    inline = read(sample_document(1, response={"body": encoded}))
    empty = read(sample_document(1, response={"body": None}))
    elsewhere = read(sample_document(1, request={"body": blob}, response={"body": blob}))

    assert (inline.sample.reply.body, inline.sample.reply.truncated) == (b"\x00\xff", True)
    assert (empty.sample.reply.body, empty.sample.request.body) == (b"", b"")
    assert elsewhere.reply_blob == elsewhere.request_blob == Blob(blob["blob"], HASH)
    whole = elsewhere.with_bodies(b"asked", b"got")
    assert (whole.request.body, whole.reply.body) == (b"asked", b"got")
    assert inline.with_bodies(None, None) == inline.sample


BROKEN: dict[str, dict[str, Any]] = {
    "schema": {"schema": SECRET},
    "id": {"id": ""},
    "profile": {"profile": SECRET},
    "at": {"at": SECRET},
    "extra": {SECRET: SECRET},
    "method": {"request": {"method": f"GET {SECRET}"}},
    "path": {"request": {"path": SECRET}},
    "path with a space": {"request": {"path": f"/a b{SECRET}"}},
    "header name": {"request": {"headers": {f"{SECRET}\n": "x"}}},
    "header value": {"request": {"headers": {SECRET: 1}}},
    "headers": {"request": {"headers": {f"h{n}": SECRET for n in range(201)}}},
    "status": {"response": {"status": 99}},
    "elapsed": {"response": {"elapsed_ms": -1}},
    "elapsed text": {"response": {"elapsed_ms": SECRET}},
    "no body form": {"response": {"body": {}}},
    "two body forms": {"response": {"body": {"text": SECRET, "base64": ""}}},
    "base64": {"response": {"body": {"base64": f"{SECRET}!"}}},
    "base64 not ascii": {"response": {"body": {"base64": f"{SECRET}ü"}}},
    "blob alone": {"response": {"body": {"blob": f"https://x/{SECRET}"}}},
    "hash alone": {"response": {"body": {"text": SECRET, "sha256": HASH}}},
    "hash": {"response": {"body": {"blob": "https://x", "sha256": SECRET}}},
}


@pytest.mark.parametrize("fault", BROKEN)
def test_a_sample_that_is_none_is_refused_without_a_word_of_what_it_said(fault: str) -> None:
    with pytest.raises(RefusedError) as refused:
        read(sample_document(1, **BROKEN[fault]))

    assert str(refused.value).startswith("not a sample: ")
    assert SECRET not in str(refused.value)


def test_it_says_where_it_could_not_be_read() -> None:
    with pytest.raises(RefusedError, match=r"^not a sample: response\.status: greater_than_equal$"):
        read(sample_document(1, response={"status": 99}))
    with pytest.raises(RefusedError, match=r"^not a sample: body: json_invalid$"):
        read_sample(b"{")


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_no_bytes_are_answered_with_anything_but_a_refusal(body: bytes) -> None:
    with pytest.raises(RefusedError, match=r"^not a sample: "):
        read_sample(body)


def test_a_document_of_any_depth_is_refused_and_not_overflown() -> None:
    with pytest.raises(RefusedError, match=r"^not a sample: "):
        read_sample(b"[" * 100_000)


# --- a step at 0 % --------------------------------------------------------------------------------


def test_a_step_says_nothing_and_has_a_default_for_everything() -> None:
    assert shadow_of(ShadowIn()) == Shadow(Rules(), Redaction())


EVERYTHING = {
    "mismatch": "1pp",
    "slower": "10pp",
    "unreachable": "2pp",
    "slower_than": 3,
    "samples": 10,
    "most_samples": 1000,
    "noise": "10%",
    "learn": 5,
    "methods": ["GET", "POST"],
    "pass_headers": ["X-Api-Key"],
    "timeout": "2s",
    "log": "100%",
    "compare": {
        "ignore": ["$.at"],
        "unordered": [{"path": "$.tags[*]", "by": "id"}],
        "tolerances": [{"path": "$.t", "absolute": 0.5, "relative": "1%"}],
        "headers": ["ETag"],
    },
    "redact": {
        "headers": ["ETag"],
        "hide": ["$.user"],
        "show": ["$.t"],
        "values": "shortened",
    },
}


def test_a_step_says_everything() -> None:
    said = ShadowIn.model_validate_json(json.dumps(EVERYTHING))

    assert shadow_of(said) == Shadow(
        rules=Rules(
            ignore=("$.at",),
            unordered=(Unordered("$.tags[*]", "id"),),
            tolerances=(Tolerance("$.t", 0.5, 0.01),),
            headers=("etag",),
        ),
        redaction=Redaction(("etag",), ("$.user",), ("$.t",), Values.SHORTENED),
        margins=Margins(0.01, 0.1, 0.02),
        methods=frozenset({"GET", "POST"}),
        pass_headers=frozenset({"x-api-key"}),
        samples=10,
        most_samples=1000,
        noise_share=0.1,
        learn=5,
        slower_than=3,
        timeout_s=2,
        log_share=1,
    )


@pytest.mark.parametrize(
    ("shadow", "words"),
    [
        ({"samples": 500, "most_samples": 100}, "samples: 500 are needed, 100 allowed"),
        ({"samples": 10, "most_samples": 50, "learn": 40}, "learn: 0.5 of 50 samples are too few"),
        ({"compare": {"ignore": ["at"]}}, "must start with $"),
        ({"compare": {"unordered": [{"path": "$.a"}]}}, "$.a"),
        ({"redact": {"show": ["$["]}}, "cannot be read"),
        ({"methods": ["BREW"]}, "methods"),
        ({"methods": []}, "methods"),
        ({"mismatch": "0pp"}, "mismatch"),
        ({"timeout": "1h"}, "timeout"),
        ({"unknown": 1}, "unknown"),
    ],
)
def test_a_step_that_could_never_end_or_be_read_is_refused(
    shadow: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValidationError) as refused:
        ShadowIn.model_validate_json(json.dumps(shadow))
    assert words in str(refused.value)


@pytest.mark.parametrize(
    "steps",
    [
        [{"percent": 0}, 1, 100],
        [{"percent": 1, "shadow": {}}, 100],
        [1, shadow_step(), 100],
        [shadow_step(), 100],
        [shadow_step(), shadow_step(), 1, 100],
    ],
)
def test_a_dark_launch_is_the_first_step_and_at_zero(steps: list[Any]) -> None:
    with pytest.raises(ValidationError, match=r"step|shadow"):
        PlanIn.model_validate_json(json.dumps(plan_document(steps=steps)))


def test_samples_and_telemetry_share_the_error_of_a_false_rollback() -> None:
    dark = PlanIn.model_validate_json(json.dumps(plan_document(steps=[shadow_step(), 1, 100])))
    light = PlanIn.model_validate_json(json.dumps(plan_document(steps=[1, 100])))

    assert plan_of(dark).source.risk.false_rollback == 0.005
    assert plan_of(light).source.risk.false_rollback == 0.01
