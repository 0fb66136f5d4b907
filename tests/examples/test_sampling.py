"""Producers of samples: what users notice of them (nothing), and what Linnet gets."""

import base64
import json
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest

from examples import sampling
from examples.sampling import SampledApp, Samples
from shared.core.shadow import CREDENTIALS, MARK
from shared.samples import read_sample
from tests.examples.sink import Sink, sampler, until
from tests.given import PROFILE

type Json = dict[str, Any]
type Handed = list[Json]

SECRETS = dict.fromkeys(CREDENTIALS, "top-secret")


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink().listening() as sink:
        yield sink


def scope(method: str = "GET", path: bytes = b"/", **headers: str) -> Json:
    named = [(name.replace("_", "-").encode(), v.encode()) for name, v in headers.items()]
    raw, _, query = path.partition(b"?")
    return {
        "type": "http",
        "method": method,
        "path": raw.decode(),
        "raw_path": raw,
        "query_string": query,
        "headers": named,
    }


async def drive(app: Any, asked: Json) -> Handed:
    """What a server would do with one request; returns what the application sent."""
    sent: Handed = []

    async def receive() -> Json:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Json) -> None:
        sent.append(message)

    await app(asked, receive, send)
    return sent


def answering(
    *pieces: bytes, status: int = 200, headers: Iterable[tuple[bytes, bytes]] = ()
) -> Callable[..., Any]:
    async def app(asked: Json, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [*headers]})
        for number, piece in enumerate(pieces):
            more = number < len(pieces) - 1
            await send({"type": "http.response.body", "body": piece, "more_body": more})

    return app


async def test_a_sample_of_an_asgi_application_is_what_linnet_reads(sink: Sink) -> None:
    """Method, path with query, headers, status, body and time of one exchange, whole."""
    samples = sampler(sink)
    app = SampledApp(answering(b"[1,", b"2]", headers=[(b"Content-Type", b"text/json")]), samples)

    await drive(app, scope(path=b"/a%2Fb?q=%C3%BC&n=1", accept="text/json"))
    await until(lambda: samples.counts["posted"] == 1)

    sample = read_sample(sink.bodies[0]).sample
    assert (sample.request.method, sample.request.path) == ("GET", "/a%2Fb?q=%C3%BC&n=1")
    assert sample.request.headers == {"accept": "text/json"}
    assert (sample.reply.status, sample.reply.body) == (200, b"[1,2]")
    assert sample.reply.headers == {"content-type": "text/json"}
    assert sample.profile == PROFILE
    assert 0 <= sample.reply.elapsed_ms < 1000
    assert abs(sample.at_s - time.time()) < 5
    assert sink.keys == ["the-key"]


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 204), ("GET", 304)], ids=str)
async def test_an_answer_that_has_no_body_is_sampled_without_one(
    sink: Sink, method: str, status: int
) -> None:
    """Whatever the application wrote: a server sends none of it."""
    samples = sampler(sink)

    await drive(SampledApp(answering(b"for GET", status=status), samples), scope(method))
    await until(lambda: samples.counts["posted"] == 1)

    reply = read_sample(sink.bodies[0]).sample.reply
    assert (reply.status, reply.body) == (status, b"")


async def test_a_binary_body_arrives_byte_for_byte(sink: Sink) -> None:
    """All 256 bytes, as base64."""
    samples, body = sampler(sink), bytes(range(256))

    await drive(SampledApp(answering(body), samples), scope())
    await until(lambda: samples.counts["posted"] == 1)

    assert json.loads(sink.bodies[0])["response"]["body"] == {
        "base64": base64.b64encode(body).decode()
    }
    assert read_sample(sink.bodies[0]).sample.reply.body == body


async def test_no_credential_leaves_the_application(sink: Sink) -> None:
    """Neither of the request nor of the answer, in whatever case it was written."""
    samples = sampler(sink)
    app = SampledApp(answering(b"", headers=[(b"Set-Cookie", b"top-secret")]), samples)
    asked = scope()
    asked["headers"] = [(name.title().encode(), value.encode()) for name, value in SECRETS.items()]

    await drive(app, {**asked, "headers": [*asked["headers"], (b"Accept", b"*/*")]})
    await until(lambda: samples.counts["posted"] == 1)

    assert b"top-secret" not in sink.bodies[0]
    assert read_sample(sink.bodies[0]).sample.request.headers == {"accept": "*/*"}
    assert sampling.CREDENTIALS > CREDENTIALS
    assert sampling.MARK == MARK
    assert "the-key" not in repr(samples)


async def test_the_share_is_kept() -> None:
    """Of 10 000 requests about a tenth is drawn, and the same ones by the same dice."""
    samples = Samples("http://127.0.0.1:1", "", PROFILE, 0.1, dice=random.Random(7))

    drawn = [samples.begin("GET", "/", "", []) is not None for _ in range(10_000)]

    samples.dice.seed(7)
    again = [samples.begin("GET", "/", "", []) is not None for _ in range(10_000)]
    assert 900 < sum(drawn) < 1100
    assert drawn == again


@pytest.mark.parametrize(
    "asked",
    [
        scope("POST"),
        scope("GET", content_length="3"),
        scope("GET", transfer_encoding="chunked"),
        scope("GET", x_linnet_shadow="checkout-2.4"),
    ],
    ids=["POST", "a body", "a chunked body", "a replay"],
)
async def test_what_cannot_be_a_sample_is_none(sink: Sink, asked: Json) -> None:
    """Other methods, requests with a body, and replays, which would breed replays."""
    samples = sampler(sink)

    await drive(SampledApp(answering(b"x"), samples), asked)

    assert not samples.counts
    assert samples.waiting.empty()
    assert not samples.thread.is_alive()


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_other_scopes_reach_the_application_untouched(sink: Sink, kind: str) -> None:
    """The very objects of the server are handed on."""
    seen: list[Any] = []

    async def app(*given: Any) -> None:
        seen.extend(given)

    given = ({"type": kind}, object(), object())
    await SampledApp(app, sampler(sink))(*given)

    assert all(ours is theirs for ours, theirs in zip(seen, given, strict=True))


async def test_a_stream_passes_piece_by_piece_and_is_not_kept_beyond_the_bound(
    sink: Sink,
) -> None:
    """Each piece is with the user before the next is made, and a long answer is no sample."""
    sent: Handed = []
    held: list[int] = []

    class Watched(Samples):
        def begin(self, *given: Any) -> sampling.Exchange | None:
            self.exchange = super().begin(*given)
            return self.exchange

    async def app(asked: Json, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200})
        for number in range(1, 51):
            await send({"type": "http.response.body", "body": b"ten bytes.", "more_body": True})
            assert len(sent) == number + 1
            held.append(len(samples.exchange.body) if samples.exchange else 0)
        await send({"type": "http.response.body"})

    async def send(message: Json) -> None:
        sent.append(message)

    samples = Watched(sink.url, "", PROFILE, 1.0, most_bytes=100)
    await SampledApp(app, samples)(scope(), None, send)
    await until(lambda: samples.counts["unfit"] == 1)

    assert max(held) == 100
    assert held[-1] == 0
    assert not sink.bodies


async def test_a_compressed_answer_is_left_out(sink: Sink) -> None:
    """Linnet asks for plain answers, so that this one would compare with nothing."""
    samples = sampler(sink)

    app = SampledApp(answering(b"\x1f\x8b", headers=[(b"Content-Encoding", b"gzip")]), samples)
    await drive(app, scope())
    await until(lambda: samples.counts["unfit"] == 1)

    assert not sink.bodies


async def test_an_exception_of_the_application_passes_and_is_no_sample(sink: Sink) -> None:
    """The server sees the very same exception, in the middle of an answer too."""
    samples, error = sampler(sink), KeyError("theirs")

    async def app(asked: Json, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise error

    with pytest.raises(KeyError) as raised:
        await drive(SampledApp(app, samples), scope())

    assert raised.value is error
    assert samples.waiting.empty()


async def test_users_wait_for_nothing_while_the_sink_hangs(sink: Sink) -> None:
    """500 requests take no time worth speaking of; what finds no room is dropped and counted."""
    sink.open.clear()
    samples = sampler(sink, most_waiting=20)
    app = SampledApp(answering(b"x" * 1000), samples)

    began_s = time.perf_counter()
    answers = [await drive(app, scope()) for _ in range(500)]
    took_s = time.perf_counter() - began_s

    assert took_s < 1
    assert all(answer[-1]["body"] == b"x" * 1000 for answer in answers)
    assert samples.waiting.qsize() <= 20
    assert samples.counts["dropped"] >= 479
    sink.open.set()
    await until(lambda: samples.counts["posted"] + samples.counts["dropped"] == 500)


@pytest.mark.parametrize("status", [200, 400, 401, 503, None], ids=str)
async def test_a_sink_that_refuses_or_is_down_costs_samples_and_nothing_else(
    sink: Sink, monkeypatch: pytest.MonkeyPatch, status: int | None
) -> None:
    """Failures are counted, users get their answers, and later samples arrive again."""
    monkeypatch.setattr(sampling, "PAUSE_S", 0.01)
    samples, url = sampler(sink), sink.url
    app = SampledApp(answering(b"fine"), samples)
    if status is None:
        samples.url = "http://127.0.0.1:1"
    sink.status = status or 202

    assert (await drive(app, scope()))[-1]["body"] == b"fine"
    await until(lambda: samples.counts["failed"] == 1)
    sink.status, samples.url = 202, url
    await drive(app, scope())

    await until(lambda: samples.counts["posted"] == 1)


async def test_a_slow_sink_is_given_up(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    """After `timeout_s` the next sample gets its chance."""
    monkeypatch.setattr(sampling, "PAUSE_S", 0.01)
    sink.open.clear()
    samples = sampler(sink, timeout_s=0.05)

    await drive(SampledApp(answering(b""), samples), scope())
    await until(lambda: samples.counts["failed"] == 1)


async def test_a_process_that_was_forked_posts_too(sink: Sink) -> None:
    """A fork leaves the thread behind: whoever finds none starts one."""
    samples = sampler(sink)
    gone = threading.Thread(target=lambda: None)
    gone.start()
    gone.join()
    samples.thread = gone

    await drive(SampledApp(answering(b""), samples), scope())

    await until(lambda: samples.counts["posted"] == 1)
