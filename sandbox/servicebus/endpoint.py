"""The broker: connections on a loopback socket, and the queues behind them.

Rules: it listens on 127.0.0.1 only; a peer that breaks the protocol loses its connection and
nobody else's; `kill` and `restart` leave the queues as they are. Everything runs on one event loop.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import MappingProxyType, TracebackType
from typing import Self

from sandbox.servicebus.connection import Connection
from sandbox.servicebus.management import KEY_NAME, Gate
from sandbox.servicebus.queues import Queue, QueueSpec
from sandbox.servicebus.wiretypes import MalformedError

HOST = "127.0.0.1"
CONNECTIONS = 256
TICK_S = 0.05
_LOG = logging.getLogger(__name__)
_GONE = (OSError, EOFError)


class Broker:
    """A namespace of queues, listening from `__aenter__` to `__aexit__`.

    `key` signs what the connection string allows; `accepts_token` judges bearer tokens (all are
    accepted without it); `now_s` is the queues' clock, in seconds since 1970.
    """

    def __init__(
        self,
        queues: Sequence[QueueSpec],
        *,
        port: int = 0,
        key: str = "c2VjcmV0",
        accepts_token: Callable[[str], bool] | None = None,
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self.port = port
        self.queues: Mapping[str, Queue] = MappingProxyType(
            {spec.name: Queue(spec, now_s) for spec in queues}
        )
        self.gate = Gate(key, accepts_token)
        self._by_path = dict(_paths(self.queues.values()))
        self._connections: dict[Connection, asyncio.Task[None]] = {}
        self._server: asyncio.Server | None = None
        self._ticker: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.restart()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.kill()

    @property
    def address(self) -> str:
        """Host and port, which is what a client with a token credential calls the namespace."""
        return f"{HOST}:{self.port}"

    @property
    def connection_string(self) -> str:
        """What the SDK's `from_connection_string` takes."""
        return (
            f"Endpoint=sb://{self.address};SharedAccessKeyName={KEY_NAME};"
            f"SharedAccessKey={self.gate.key};UseDevelopmentEmulator=true"
        )

    def find(self, path: str) -> Queue | None:
        """Find a queue or a dead-letter queue by its path, in any case."""
        return self._by_path.get(path.lower())

    async def restart(self) -> None:
        """Listen, on the port of before if there was one; raises `OSError` if it is taken."""
        if self._server is not None:
            return
        self._server = await asyncio.start_server(self._serve, HOST, self.port)
        self.port = self._server.sockets[0].getsockname()[1]
        self._ticker = asyncio.create_task(self._tick())

    async def kill(self) -> None:
        """Drop all connections and stop listening; the queues keep their messages and locks."""
        if self._server is None or self._ticker is None:
            return
        server, self._server = self._server, None
        server.close()
        tasks = [self._ticker, *self._connections.values()]
        for connection in self._connections:
            connection.abort()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._connections) >= CONNECTIONS or self._server is None:
            writer.transport.abort()
            return
        connection = Connection(self, reader, writer)
        self._connections[connection] = task
        try:
            await connection.run()
        except _GONE:
            _LOG.debug("a client went away")
        except MalformedError as wrong:
            _LOG.warning("a client broke the protocol: %s", wrong)
        finally:
            del self._connections[connection]
            connection.abort()
            with contextlib.suppress(*_GONE):
                await writer.wait_closed()

    async def _tick(self) -> None:
        """Let time pass: what falls due is carried out, and what waited for a socket goes out."""
        while True:
            await asyncio.sleep(TICK_S)
            for queue in self._by_path.values():
                queue.sweep()
            for connection in list(self._connections):
                connection.tick()


def _paths(queues: Iterable[Queue]) -> Iterator[tuple[str, Queue]]:
    for queue in queues:
        yield queue.spec.name.lower(), queue
        if queue.dead_letters is not None:
            yield queue.dead_letters.spec.name.lower(), queue.dead_letters
