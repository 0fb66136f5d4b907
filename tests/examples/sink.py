"""Linnet's door as producers of samples meet it: a real socket, slow or broken on demand."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from examples.sampling import Samples
from tests.given import PROFILE


class Sink:
    """Linnet's door: keeps what is posted, and answers when and as it is told."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []
        self.keys: list[str | None] = []
        self.status = 202
        self.open = threading.Event()
        self.open.set()
        sink = self

        class Door(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                sink.open.wait(10)
                sink.bodies.append(body)
                sink.keys.append(self.headers["x-functions-key"])
                assert self.path == "/api/samples"
                self.send_response(sink.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    @contextmanager
    def listening(self) -> Iterator["Sink"]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self.open.set()
            self._server.shutdown()
            thread.join()
            self._server.server_close()


def sampler(sink: Sink, **changes: Any) -> Samples:
    return Samples(sink.url, "the-key", PROFILE, **{"share": 1.0, **changes})


async def until(reached: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not reached():
            await asyncio.sleep(0.005)
