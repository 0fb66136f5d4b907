"""The demo services: real HTTP servers, one per endpoint, each at a loopback address of its own.

Both services of a profile listen on the same port, since a profile has one monitor port, and so
need two addresses (127.0.x.1 and 127.0.x.2). Rules:
- How a service behaves (error rate, latency) may be changed while it runs, by `behave` or by PUT
  of `{"error_rate": 0.2, "latency_ms": 8}` to /behaviour; its dice are seeded.
- Every other request becomes a row of AppRequests, handed over in batches, never one by one.
  Requests to the health path are marked as synthetic, as availability tests are, and so are
  Linnet's replays: no user sent them. A real service does that by its telemetry's initializer.
- Who asks and from which city stands in headers: a user is told apart by a cookie elsewhere, and
  Application Insights finds the city by the address, which here is always the loopback's.
- With `samples` a service posts a share of its requests to Linnet, as its middleware would.

They prove that weights, DNS answers, requests and telemetry hang together as we think. They do
NOT prove how Application Insights samples, batches or delays what a service sends.
"""

import asyncio
import errno
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from time import perf_counter
from typing import Any, Final, Self

from aiohttp import web

from examples.sampling import MARK, Exchange, Samples
from sandbox.clock import utc_now
from sandbox.logs import MAX_BATCH_ROWS, WorkspaceLogs

HEALTH_PATH: Final = "/health"
BEHAVIOUR_PATH: Final = "/behaviour"
USER_HEADER: Final = "x-user"
CITY_HEADER: Final = "x-city"
# Its line is poor: requests from there fail more often, whichever version they meet.
FAR_CITY: Final = "Stanley"
BATCH_S: Final = 0.25
MAX_HELD_ROWS: Final = MAX_BATCH_ROWS
MAX_LATENCY_MS: Final = 60_000.0
_PATH: Final = "/"
_TRIES: Final = 20


type Record = Callable[[dict[str, Any]], None]
# What a service answers with; the argument says whether this answer is to be a wrong one.
type Page = Callable[[bool], dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Behaviour:
    """How a service answers: the shares that fail and that are wrong (0..1), the mean latency.

    `far_error_rate` is the share that fails of requests from FAR_CITY, beside the others' reasons.
    Raises ValueError for what is neither a share nor a latency.
    """

    error_rate: float = 0.002
    latency_ms: float = 8.0
    wrong_rate: float = 0.0
    far_error_rate: float = 0.0

    def __post_init__(self) -> None:
        rates = self.error_rate, self.wrong_rate, self.far_error_rate
        shares = all(0 <= rate <= 1 for rate in rates)
        if not (shares and 0 <= self.latency_ms <= MAX_LATENCY_MS):
            raise ValueError(f"{self}: a rate is 0..1, the latency 0..{MAX_LATENCY_MS:g} ms")


class Telemetry:
    """Carries rows from services to a workspace, four batches a second while it is entered."""

    def __init__(self, logs: WorkspaceLogs, workspace: str) -> None:
        self._logs = logs
        self._workspace = workspace
        self._rows: list[dict[str, Any]] = []
        self._carrying: asyncio.Task[None] | None = None
        self.dropped = 0

    async def __aenter__(self) -> Self:
        self._carrying = asyncio.create_task(self._carry())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._carrying is not None:
            self._carrying.cancel()
            await asyncio.gather(self._carrying, return_exceptions=True)

    def record(self, row: dict[str, Any]) -> None:
        """Take one row; beyond a bound rows are dropped and counted."""
        if len(self._rows) < MAX_HELD_ROWS:
            self._rows.append(row)
        else:
            self.dropped += 1

    async def _carry(self) -> None:
        while True:
            await asyncio.sleep(BATCH_S)
            rows, self._rows = self._rows, []
            if rows:
                await self._logs.add(self._workspace, rows)


class Service:
    """One version of one service, answering at `host`:`port` while it is entered.

    `users` and `replays` count who asked; `page` is what they get, the version's name without one.
    """

    def __init__(
        self, version: str, role: str, host: str, port: int, record: Record, *, seed: int = 0
    ) -> None:
        self.version = version
        self.role = role
        self.host = host
        self.port = port
        self.behaviour = Behaviour()
        self.page: Page | None = None
        self.samples: Samples | None = None
        self.users = 0
        self.replays = 0
        self._wrongs = 0.0
        self._record = record
        self._dice = random.Random(f"{seed} {role} {version}")
        self._runner = web.ServerRunner(web.Server(self._answer, access_log=None))

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self.host, self.port, backlog=512).start()
        except BaseException:
            await self._runner.cleanup()
            raise
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def behave(self, **changes: float) -> None:
        """Change how requests are answered from now on, field by field of Behaviour.

        Raises TypeError for a field that is none, ValueError for a value that cannot be.
        """
        self.behaviour = replace(self.behaviour, **changes)

    async def _answer(self, request: web.BaseRequest) -> web.Response:
        if request.path == BEHAVIOUR_PATH and request.method == "PUT":
            return await self._told(request)
        at, began = utc_now(), perf_counter()
        if request.path == _PATH:
            response = await self._served(request)
        else:
            status = 200 if request.path == HEALTH_PATH else 404
            response = web.Response(status=status, text=self.version)
        self._note(request, response.status, at, 1000 * (perf_counter() - began))
        return response

    async def _served(self, request: web.BaseRequest) -> web.Response:
        """The page, with what middleware around it does: count who asks, and sample."""
        if MARK in request.headers:
            self.replays += 1
        else:
            self.users += 1
        exchange = self._begin(request)
        status = await self._work(request.headers.get(CITY_HEADER, ""))
        if self.page is None or status >= 400:  # noqa: PLR2004  # a failure has no page
            response = web.Response(status=status, text=self.version)
        else:
            # Evenly spread: a story shall not take twice as long for want of luck.
            self._wrongs += self.behaviour.wrong_rate
            wrong = self._wrongs >= 1
            self._wrongs -= wrong
            response = web.json_response(self.page(wrong))
        if exchange and self.samples:
            exchange.status, exchange.reply_headers = response.status, [*response.headers.items()]
            exchange.keep((response.text or "").encode())
            self.samples.offer(exchange)
        return response

    def _begin(self, request: web.BaseRequest) -> Exchange | None:
        if self.samples is None:
            return None
        return self.samples.begin(request.method, request.raw_path, "", request.raw_headers)

    async def _told(self, request: web.BaseRequest) -> web.Response:
        try:
            given = {name: float(value) for name, value in (await request.json()).items()}
            self.behave(**given)
        except (TypeError, ValueError, AttributeError) as error:
            return web.Response(status=400, text=f"{error}\n")
        return web.json_response(asdict(self.behaviour))

    async def _work(self, city: str) -> int:
        behaviour = self.behaviour
        if behaviour.latency_ms > 0:
            await asyncio.sleep(self._dice.expovariate(1000 / behaviour.latency_ms))
        far = behaviour.far_error_rate if city == FAR_CITY else 0.0
        good = (1 - behaviour.error_rate) * (1 - far)
        return 200 if self._dice.random() < good else 500

    def _note(
        self, request: web.BaseRequest, status: int, at: datetime, duration_ms: float
    ) -> None:
        synthetic = "health probe" if request.path == HEALTH_PATH else ""
        if MARK in request.headers:
            synthetic = "Linnet replay"
        name = f"{request.method} {request.path}"
        self._record(
            {
                "TimeGenerated": at,
                "AppRoleName": self.role,
                "AppVersion": self.version,
                "ClientCity": request.headers.get(CITY_HEADER, ""),
                "DurationMs": duration_ms,
                "ItemCount": 1,
                "Name": name,
                "OperationName": name,
                "ResultCode": str(status),
                "Success": status < 400,  # noqa: PLR2004  # as Application Insights has it
                "SyntheticSource": synthetic,
                "Url": f"http://{self.host}:{self.port}{request.path}",
                "UserId": request.headers.get(USER_HEADER, ""),
            }
        )


@dataclass(frozen=True, slots=True)
class Versions:
    """The two versions of one service that a rollout is about."""

    stable: str
    canary: str


@dataclass(frozen=True, slots=True)
class ServicePair:
    """Both services of one profile, on one port."""

    stable: Service
    canary: Service

    @property
    def port(self) -> int:
        """The port both listen on."""
        return self.stable.port


async def serve_pair(
    stack: AsyncExitStack, role: str, versions: Versions, record: Record, *, subnet: int, seed: int
) -> ServicePair:
    """Start both versions at 127.0.`subnet`.1 and .2 on a port free at both; `stack` ends them.

    Raises OSError when no such port is found.
    """
    for _ in range(_TRIES):
        async with AsyncExitStack() as trying:
            stable = Service(versions.stable, role, f"127.0.{subnet}.1", 0, record, seed=seed)
            await trying.enter_async_context(stable)
            canary = Service(
                versions.canary, role, f"127.0.{subnet}.2", stable.port, record, seed=seed
            )
            try:
                await trying.enter_async_context(canary)
            except OSError as error:
                if error.errno == errno.EADDRINUSE:
                    continue
                raise
            stack.push_async_exit(trying.pop_all())
            return ServicePair(stable, canary)
    raise OSError(errno.EADDRINUSE, f"no port is free at both addresses of 127.0.{subnet}")
