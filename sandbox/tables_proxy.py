"""A reverse proxy in front of Azurite, so that faults can be armed for requests to Tables.

    async with Azurite() as azurite, TablesProxy(azurite) as tables:
        tables.faults.arm(Fault(r"POST .*batch$", Kind.APPLY_THEN_RESET))
        TableServiceClient.from_connection_string(tables.connection_string)

Rules: 127.0.0.1 only; requests and answers go through byte by byte, once each; when Azurite is
gone the client's connection is cut. A precondition that a fault refuses in a transaction (404,
409, 412) is told as Tables tells it: inside the answer to the batch, whose own status is 202.

It proves what our code does when an answer of Tables is wrong, late or missing. It does NOT prove
that Azure fails in these ways, nor how often; a refused connection must be had from Azurite itself.
"""

import json
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Final, Self
from uuid import uuid4

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler
from multidict import CIMultiDict
from yarl import URL

from sandbox.azurite import Azurite
from sandbox.faults import Faults

HOST: Final = "127.0.0.1"
MAX_BODY_BYTES: Final = 8 * 1024 * 1024
MAX_CONNECTIONS: Final = 256
TIMEOUT_S: Final = 30.0
BATCH: Final = "/$batch"
CODES: Final = {
    404: "ResourceNotFound",
    409: "EntityAlreadyExists",
    412: "UpdateConditionNotSatisfied",
}
_SHUTDOWN_S: Final = 1.0
# What belongs to one connection, or is made anew for each message.
_HOP: Final = frozenset({"connection", "keep-alive", "transfer-encoding", "content-length"})
_OURS: Final = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class TablesProxy:
    """Listens while it is entered; `port` and `connection_string` are known from then on."""

    def __init__(self, azurite: Azurite, faults: Faults | None = None, *, port: int = 0) -> None:
        self.faults = faults or Faults()
        self.port = port
        self._azurite = azurite
        self._session: aiohttp.ClientSession | None = None
        self._stack = AsyncExitStack()

    @property
    def connection_string(self) -> str:
        """Azurite's own, but for the port."""
        theirs, ours = f"{HOST}:{self._azurite.port}/", f"{HOST}:{self.port}/"
        return self._azurite.connection_string.replace(theirs, ours)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            self._session = await stack.enter_async_context(_session())
            runner = web.AppRunner(self._app(), access_log=None, shutdown_timeout=_SHUTDOWN_S)
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            stack.callback(self.faults.release)
            await web.TCPSite(runner, HOST, self.port).start()
            self.port = runner.addresses[0][1]
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def _app(self) -> web.Application:
        middlewares = [_batch_answers, self.faults.middleware()]
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=middlewares)
        app.router.add_route("*", "/{path:.*}", self._forward)
        return app

    async def _forward(self, request: web.Request) -> web.Response:
        if self._session is None:
            raise RuntimeError("the proxy is not entered")
        target = URL(f"http://{HOST}:{self._azurite.port}{request.raw_path}", encoded=True)
        body, headers = await request.read(), _passed_on(request.headers)
        try:
            async with self._session.request(
                request.method, target, headers=headers, data=body, allow_redirects=False
            ) as answer:
                kept = _passed_on(answer.headers)
                return web.Response(status=answer.status, headers=kept, body=await answer.read())
        except (aiohttp.ClientError, TimeoutError):
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=502)


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        auto_decompress=False,
        connector=aiohttp.TCPConnector(limit=MAX_CONNECTIONS),
        cookie_jar=aiohttp.DummyCookieJar(),
        skip_auto_headers=_OURS,
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
    )


def _passed_on(headers: Mapping[str, str]) -> CIMultiDict[str]:
    return CIMultiDict((name, value) for name, value in headers.items() if name.lower() not in _HOP)


@web.middleware
async def _batch_answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Azurite answers no batch with these statuses: they come from a fault."""
    response = await handler(request)
    if request.path.endswith(BATCH) and response.status in CODES:
        return _refused_batch(response.status)
    return response


def _refused_batch(status: int) -> web.Response:
    """The answer to a transaction whose first operation was refused, and so none was made."""
    words = {"lang": "en-US", "value": "0:a fault was armed here"}
    error = {"odata.error": {"code": CODES[status], "message": words}}
    batch, changeset = f"batchresponse_{uuid4()}", f"changesetresponse_{uuid4()}"
    lines = (
        f"--{batch}",
        f"Content-Type: multipart/mixed; boundary={changeset}",
        "",
        f"--{changeset}",
        "Content-Type: application/http",
        "Content-Transfer-Encoding: binary",
        "",
        f"HTTP/1.1 {status} {CODES[status]}",
        "Content-Type: application/json;odata=minimalmetadata",
        "",
        json.dumps(error),
        f"--{changeset}--",
        f"--{batch}--",
        "",
    )
    return web.Response(
        status=202,
        headers={"Content-Type": f"multipart/mixed; boundary={batch}"},
        body="\r\n".join(lines).encode(),
    )
