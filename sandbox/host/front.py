"""The HTTP trigger: routes, keys, and the way between aiohttp and the worker's RpcHttp.

As the real host: header names in lower case, empty query values and bodies of unknown length
dropped, an unknown route or method is 404, a failed function is 500 without a body, None is 204.
Keys guard `function` and `admin` routes only when one is configured, as a local run in Core Tools.
POST /admin/functions/NAME runs a timer now, GET /admin/host/status tells that we are up.
Not here: cookies set by a function, route constraints but `int`, and any front end's limits.
"""

import hmac
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

from aiohttp import web

from sandbox.host.protos import Bag, TypedData
from sandbox.host.settings import SettingError
from sandbox.host.worker import Function, Worker

_log = logging.getLogger("host.http")
_MAX_BODY_BYTES = 16 * 1024 * 1024
_SEGMENT = re.compile(r"\{(\*{0,2})(\w+)(?::(\w+))?(\?)?\}")
_PATTERNS = {None: "[^/]+", "int": r"-?\d+"}
_STOP_WAIT_S = 2.0

type Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys callers must show; an empty one guards nothing."""

    function: str = ""
    master: str = ""

    def admit(self, level: str, shown: str) -> bool:
        """Whether a caller who shows this key may call a function of this level."""
        wanted = [key for key in self._for(level) if key]
        return not wanted or any(hmac.compare_digest(key, shown) for key in wanted)

    def _for(self, level: str) -> tuple[str, ...]:
        match level.upper():
            case "ANONYMOUS":
                return ()
            case "FUNCTION":
                return (self.function, self.master) if self.function else ()
            case _:
                return (self.master,)


class Front:
    """The listening HTTP server of one app."""

    def __init__(self, worker: Worker, prefix: str, keys: Keys) -> None:
        self._worker = worker
        self._prefix = prefix
        self._keys = keys
        self._timers: dict[str, Callable[[], object]] = {}
        self._app = web.Application(
            middlewares=[_as_the_host_answers], client_max_size=_MAX_BODY_BYTES
        )
        self._app.router.add_get("/admin/host/status", self._status)
        self._app.router.add_post("/admin/functions/{name}", self._run_timer)
        self._runner = web.AppRunner(self._app, access_log=None, shutdown_timeout=_STOP_WAIT_S)

    def add(self, function: Function) -> None:
        """Serve an HTTP function; SettingError for a route the stand-in cannot read."""
        trigger = function.trigger
        handler = self._handler(function, trigger.get("authLevel") or "FUNCTION")
        for path in paths(self._prefix, trigger.get("route") or function.name):
            for method in trigger.get("methods") or ["*"]:
                self._app.router.add_route(method.upper(), path, handler)

    def add_timer(self, name: str, fire: Callable[[], object]) -> None:
        """Let the admin route start this timer's function."""
        self._timers[name] = fire

    async def start(self, port: int) -> int:
        """Listen on 127.0.0.1; 0 takes any free port. Returns the port."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        return int(self._runner.addresses[0][1])

    async def stop(self) -> None:
        """Stop listening; requests in hand get a moment to end."""
        await self._runner.cleanup()

    def _handler(self, function: Function, level: str) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            if not self._keys.admit(level, _key(request)):
                return web.Response(status=401)
            outcome = await self._worker.invoke(function, await _incoming(request), {})
            return web.Response(status=500) if outcome.error else _outgoing(outcome.returned)

        return handle

    async def _status(self, request: web.Request) -> web.StreamResponse:
        if not self._keys.admit("ADMIN", _key(request)):
            return web.Response(status=401)
        return web.json_response({"state": "Running"})

    async def _run_timer(self, request: web.Request) -> web.StreamResponse:
        if not self._keys.admit("ADMIN", _key(request)):
            return web.Response(status=401)
        fire = self._timers.get(request.match_info["name"])
        if fire is None:
            return web.Response(status=404)
        fire()
        return web.Response(status=202)


def paths(prefix: str, route: str) -> list[str]:
    """The paths, as aiohttp writes them, for a route template; an optional last part makes two."""
    full = "/" + "/".join(part.strip("/") for part in (prefix, route) if part.strip("/"))
    optional = re.search(r"/\{\w+(?::\w+)?\?\}$", full)
    templates = [full, full[: optional.start()]] if optional else [full]
    return [_SEGMENT.sub(_part, template) for template in templates]


def _part(match: re.Match[str]) -> str:
    stars, name, constraint, _ = match.groups()
    if constraint not in _PATTERNS:
        raise SettingError(f"the route constraint {constraint!r} is not supported here")
    return f"{{{name}:{'.*' if stars else _PATTERNS[constraint]}}}"


def _key(request: web.Request) -> str:
    return request.headers.get("x-functions-key") or request.query.get("code", "")


async def _incoming(request: web.Request) -> TypedData:
    # The real host reads a body only if its length is declared.
    body = await request.read() if request.content_length else b""
    http = Bag(
        method=request.method,
        url=str(request.url),
        headers={name.lower(): value for name, value in request.headers.items()},
        query={name: value for name, value in request.query.items() if value},
        params=dict(request.match_info),
        body=TypedData(bytes=body),
    )
    return TypedData(http=http)


def _outgoing(returned: TypedData | None) -> web.Response:
    if returned is None:
        return web.Response(status=204)
    if returned.http is None:
        return web.Response(text=returned.string)
    http = returned.http
    headers: Mapping[str, str] = http.headers
    return web.Response(status=int(http.status_code), headers=headers, body=http.body.bytes)


@web.middleware
async def _as_the_host_answers(request: web.Request, handler: Handler) -> web.StreamResponse:
    try:
        return await handler(request)
    except web.HTTPMethodNotAllowed:
        return web.Response(status=404)
