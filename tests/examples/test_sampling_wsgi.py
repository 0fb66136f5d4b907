"""The WSGI producer of samples, over real sockets."""

import asyncio
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server
from wsgiref.types import StartResponse, WSGIEnvironment
from wsgiref.validate import validator

import pytest

from examples.sampling import SampledWsgi
from shared.core.shadow import CREDENTIALS
from shared.samples import read_sample
from tests.examples.sink import Sink, sampler, until

SECRETS = dict.fromkeys(CREDENTIALS, "top-secret")


@pytest.fixture
def sink() -> Iterator[Sink]:
    with Sink().listening() as sink:
        yield sink


def hello(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
    start("200 OK", [("Content-Type", "text/plain"), ("Content-Length", "10")])
    return [b"hello", b"world"]


@contextmanager
def serving(app: Any) -> Iterator[int]:
    """The application behind a real socket; gives the port."""

    class Quiet(WSGIRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    with make_server("127.0.0.1", 0, app, handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def get(port: int, path: str, headers: dict[str, str], method: str = "GET") -> tuple[int, bytes]:
    link = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        link.request(method, path, headers=headers)
        answer = link.getresponse()
        return answer.status, answer.read()
    finally:
        link.close()


async def test_a_sample_of_a_wsgi_application_is_what_linnet_reads(sink: Sink) -> None:
    """Over real sockets, and to the letter of the protocol; credentials stay behind."""
    samples = sampler(sink)
    with serving(validator(SampledWsgi(validator(hello), samples))) as port:
        asked = {**SECRETS, "Accept": "text/plain"}
        answer = await asyncio.to_thread(get, port, "/caf%C3%A9?x=%201", asked)

    assert answer == (200, b"helloworld")
    await until(lambda: samples.counts["posted"] == 1)
    sample = read_sample(sink.bodies[0]).sample
    assert (sample.request.method, sample.request.path) == ("GET", "/caf%C3%A9?x=%201")
    assert sample.request.headers["accept"] == "text/plain"
    assert not CREDENTIALS & set(sample.request.headers)
    assert (sample.reply.status, sample.reply.body) == (200, b"helloworld")
    assert sample.reply.headers["content-type"] == "text/plain"


async def test_wsgi_users_wait_for_nothing_while_the_sink_hangs(sink: Sink) -> None:
    """Each of them gets the answer at once."""
    sink.open.clear()
    samples = sampler(sink, most_waiting=2)
    with serving(SampledWsgi(hello, samples)) as port:
        began_s = time.perf_counter()
        answers = [await asyncio.to_thread(get, port, "/", {}) for _ in range(20)]
        took_s = time.perf_counter() - began_s

    assert answers == [(200, b"helloworld")] * 20
    assert took_s < 3
    assert samples.counts["dropped"] >= 17


def test_a_wsgi_answer_passes_piece_by_piece_and_is_closed(sink: Sink) -> None:
    """No piece is made before the one before was taken; `close` reaches the application."""
    made: list[str] = []

    class Pieces:
        def __iter__(self) -> Iterator[bytes]:
            for number in range(3):
                made.append(f"piece {number}")
                yield b"piece"

        def close(self) -> None:
            made.append("closed")

    def app(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        start("200 OK", [])
        return Pieces()

    samples = sampler(sink)
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": "/"}
    passing = SampledWsgi(app, samples)(environ, lambda *_: lambda _: None)
    pieces = iter(passing)
    assert (next(pieces), made) == (b"piece", ["piece 0"])
    passing.close()  # type: ignore[attr-defined]  # as a server does whose user has gone

    assert made == ["piece 0", "closed"]
    assert samples.waiting.empty()


def test_what_a_wsgi_application_writes_and_raises_passes(sink: Sink) -> None:
    """`write` and `exc_info` reach the server, and so does the application's exception."""
    samples, error = sampler(sink), ValueError("theirs")
    started: list[Any] = []
    written: list[bytes] = []

    def start(*given: Any) -> Callable[[bytes], None]:
        started.append(given)
        return written.append

    def app(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        start("500 Oh", [("A", "b")], (ValueError, error, None))(b"written")  # type: ignore[arg-type]
        raise error

    with pytest.raises(ValueError, match="theirs") as raised:
        SampledWsgi(app, samples)({"REQUEST_METHOD": "GET", "PATH_INFO": "/"}, start)

    assert raised.value is error
    assert started == [("500 Oh", [("A", "b")], (ValueError, error, None))]
    assert written == [b"written"]
    assert samples.waiting.empty()
