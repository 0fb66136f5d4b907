"""Post a share of a web application's requests, with the answers users got, to Linnet.

Copy this file; it needs Python 3.11 or later, and nothing else:

    samples = Samples("https://NAME.azurewebsites.net", KEY, "/subscriptions/...", share=0.01)
    app = SampledApp(app, samples)     # ASGI, or
    app = SampledWsgi(app, samples)    # WSGI; either inside of what compresses answers

1. No request is delayed or fails by this: what passes is copied into a bounded queue, and a daemon
   thread does the rest. What finds no room there is dropped and counted.
2. Answers pass chunk by chunk. Those that are larger than `most_bytes` or compressed, and requests
   with a body, are no samples: they could not be compared.
3. Credentials do not leave the application. Paths and answers do, and Linnet redacts them.
4. A replay made by Linnet is no sample, or it would breed replays.
"""

import base64
import json
import logging
import queue
import random
import threading
import time
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Iterator, MutableMapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from urllib.request import OpenerDirector, Request, build_opener

MARK = "x-linnet-shadow"
CREDENTIALS = frozenset(
    {
        *("authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token"),
        *("x-functions-key", "ocp-apim-subscription-key", "x-ms-client-principal", "x-csrf-token"),
        *("x-arr-clientcert", "x-forwarded-client-cert", "x-ms-token-aad-access-token"),
        *("x-ms-token-aad-id-token", "x-ms-token-aad-refresh-token", "set-cookie"),
    }
)
PAUSE_S = 1.0  # after a failure; meanwhile the queue fills
log = logging.getLogger(__name__)


@dataclass(slots=True)
class Exchange:
    """A request and its answer; `room` is how much of the body may still be copied."""

    method: str
    path: str
    headers: dict[str, str]
    room: int
    status: int = 0
    reply_headers: Iterable[tuple[Any, Any]] = ()
    body: bytearray = field(default_factory=bytearray)
    at: datetime = field(default_factory=lambda: datetime.now(UTC))
    began_s: float = field(default_factory=time.perf_counter)
    elapsed_ms: float = 0.0

    def keep(self, piece: bytes) -> None:
        """Copy a piece of the answer's body, unless that makes too much."""
        self.room -= len(piece)
        if self.room >= 0:
            self.body += piece
        else:
            self.body.clear()


@dataclass(slots=True, eq=False)
class Samples:
    """Draws requests and posts them; `counts`: posted, dropped, failed, and unfit ones."""

    url: str
    key: str = field(repr=False)
    profile: str
    share: float = 0.01
    methods: frozenset[str] = frozenset({"GET", "HEAD"})
    left_out: frozenset[str] = CREDENTIALS
    most_bytes: int = 65_536
    most_waiting: int = 200
    timeout_s: float = 5.0
    opener: OpenerDirector = field(default_factory=build_opener)
    dice: random.Random = field(default_factory=random.Random)
    counts: Counter[str] = field(default_factory=Counter)
    waiting: queue.SimpleQueue[Exchange] = field(default_factory=queue.SimpleQueue)
    thread: threading.Thread = field(default_factory=threading.Thread)

    def begin(self, method: str, path: str, query: str, headers: Any) -> Exchange | None:
        """An exchange, if it is drawn; path and query are as they came."""
        if method not in self.methods or self.dice.random() >= self.share:
            return None
        asked = joined(headers)
        length = asked.get("content-length") or "0"
        if MARK in asked or length != "0" or "transfer-encoding" in asked:
            return None
        return Exchange(method, f"{path}?{query}" if query else path, asked, self.most_bytes)

    def offer(self, exchange: Exchange) -> None:
        """Take what has passed, if there is room. Returns at once and never raises."""
        exchange.elapsed_ms = 1000 * (time.perf_counter() - exchange.began_s)
        if self.waiting.qsize() >= self.most_waiting:
            self.counts["dropped"] += 1
        else:
            self.waiting.put(exchange)
        if not self.thread.is_alive():  # at first, and in each process that a server forked
            with suppress(RuntimeError):  # two may start it at once: then both post
                self.thread = threading.Thread(target=self._carry, daemon=True)
                self.thread.start()

    def _carry(self) -> None:
        while True:
            exchange = self.waiting.get()
            try:
                self.counts["posted" if self._post(exchange) else "unfit"] += 1
            except Exception as error:  # noqa: BLE001  # it costs a sample and nothing else
                log.log(logging.DEBUG if self.counts["failed"] else logging.WARNING, "%r", error)
                self.counts["failed"] += 1
                time.sleep(PAUSE_S)

    def _post(self, exchange: Exchange) -> bool:
        reply = joined(exchange.reply_headers)
        if exchange.room < 0 or reply.get("content-encoding", "identity") != "identity":
            return False
        body = json.dumps(self._sample(exchange, reply)).encode()
        headers = {"content-type": "application/json", "x-functions-key": self.key}
        url = f"{self.url}/api/samples"
        request = Request(url, body, headers)  # noqa: S310  # the address is our own setting
        with self.opener.open(request, timeout=self.timeout_s) as answer:
            if answer.status != 202:  # noqa: PLR2004  # whoever this is, it is not Linnet
                raise ConnectionError(f"{url} answered {answer.status}")
        return True

    def _sample(self, exchange: Exchange, reply: dict[str, str]) -> dict[str, Any]:
        asked, got = (
            {name: value for name, value in headers.items() if name not in self.left_out}
            for headers in (exchange.headers, reply)
        )
        empty = exchange.method == "HEAD" or exchange.status in (204, 304)
        body = base64.b64encode(b"" if empty else exchange.body).decode()
        answer = {"status": exchange.status, "headers": got, "body": {"base64": body}}
        return {
            "schema": "linnet.sample/1",
            "id": str(uuid.uuid4()),
            "profile": self.profile,
            "at": exchange.at.isoformat(),
            "request": {"method": exchange.method, "path": exchange.path, "headers": asked},
            "response": {**answer, "elapsed_ms": exchange.elapsed_ms},
        }


def joined(headers: Iterable[tuple[Any, Any]]) -> dict[str, str]:
    """Headers by lower-case name; one that came several times is one."""
    found: dict[str, str] = {}
    for pair in headers:
        name, value = (x.decode("latin-1") if isinstance(x, bytes) else x for x in pair)
        key = name.lower()
        found[key] = f"{found[key]}, {value}" if key in found else value
    return found


@dataclass(slots=True)
class SampledApp:
    """ASGI middleware; only HTTP is looked at."""

    app: Callable[..., Awaitable[None]]
    samples: Samples

    async def __call__(self, scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        """Pass everything on as it comes."""
        exchange = None
        if scope["type"] == "http":
            raw = scope.get("raw_path") or quote(scope["path"], errors="replace").encode()
            path, query = (x.decode("latin-1") for x in (raw, scope.get("query_string", b"")))
            exchange = self.samples.begin(scope["method"], path, query, scope.get("headers", ()))

        async def told(message: MutableMapping[str, Any]) -> None:
            await send(message)
            if exchange and message["type"] == "http.response.start":
                exchange.status = message["status"]
                exchange.reply_headers = list(message.get("headers", ()))
            elif exchange and message["type"] == "http.response.body":
                exchange.keep(message.get("body", b""))
                if not message.get("more_body"):
                    self.samples.offer(exchange)

        await self.app(scope, receive, told if exchange else send)


@dataclass(slots=True)
class SampledWsgi:
    """WSGI middleware."""

    app: Callable[..., Iterable[bytes]]
    samples: Samples

    def __call__(self, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        """Pass everything on as it comes."""
        headers = [(k[5:].replace("_", "-"), v) for k, v in environ.items() if k[:5] == "HTTP_"]
        headers.append(("content-length", environ.get("CONTENT_LENGTH", "")))
        path = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "") or "/"
        method, query = environ["REQUEST_METHOD"], environ.get("QUERY_STRING", "")
        exchange = self.samples.begin(
            method, quote(path, encoding="latin-1", errors="replace"), query, headers
        )
        if exchange is None:
            return self.app(environ, start)

        def started(status: str, headers: list[tuple[str, str]], *failed: Any) -> Any:
            write = start(status, headers, *failed)
            exchange.status = int(status[:3]) if status[:3].isdigit() else 0
            exchange.reply_headers = list(headers)

            def written(piece: bytes) -> None:
                write(piece)
                exchange.keep(piece)

            return written

        return Passing(self.app(environ, started), exchange, self.samples)


@dataclass(slots=True)
class Passing:
    """A WSGI answer as it passes; who closes it closes the application's."""

    pieces: Iterable[bytes]
    exchange: Exchange
    samples: Samples

    def __iter__(self) -> Iterator[bytes]:
        for piece in self.pieces:
            yield piece
            self.exchange.keep(piece)
        self.samples.offer(self.exchange)

    def close(self) -> None:
        """As the server asks."""
        if hasattr(self.pieces, "close"):
            self.pieces.close()
