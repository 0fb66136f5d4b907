"""The ARM routes of Traffic Manager, over the state in `arm.py`.

Paths and types match in any casing; `api-version` is required; every call needs a bearer token
issued for Azure Resource Manager. The rate-limit headers count down and fill up as documented
(buckets of 200 writes and 250 reads, 10 and 25 more each second) but nothing is ever refused
for them: to see a 429, arm a fault. Resource groups are not modelled; every name is one.
"""

import json
import re
import time
from typing import Any, Final

from aiohttp import web

from sandbox.arm import TrafficManager
from sandbox.arm_checks import ArmError, Json
from sandbox.identity import Identity

AUDIENCE: Final = "https://management.azure.com"
API_VERSIONS: Final = ("2018-08-01", "2022-04-01", "2026-09-01")
_LIST: Final = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)(?:/resourceGroups/(?P<group>[^/]+))?"
    r"/providers/Microsoft\.Network/trafficManagerProfiles/?",
    re.IGNORECASE,
)


class _Bucket:
    """How many calls would be left before ARM throttled; real time, never refuses."""

    def __init__(self, size: int, per_s: int) -> None:
        self._size = size
        self._per_s = per_s
        self._left = float(size)
        self._at = time.monotonic()

    def take(self) -> int:
        now = time.monotonic()
        self._left = min(self._size, self._left + (now - self._at) * self._per_s)
        self._at = now
        self._left = max(0.0, self._left - 1)
        return int(self._left)


class _Routes:
    """One handler for everything below `/subscriptions/`."""

    def __init__(self, traffic: TrafficManager, identity: Identity) -> None:
        self._traffic = traffic
        self._identity = identity
        self._buckets = {"reads": _Bucket(250, 25), "writes": _Bucket(200, 10)}

    async def handle(self, request: web.Request) -> web.Response:
        try:
            self._admit(request)
            response = await self._serve(request)
        except ArmError as error:
            response = web.json_response(error.body(), status=error.status)
        which = "reads" if request.method == "GET" else "writes"
        left = str(self._buckets[which].take())
        response.headers[f"x-ms-ratelimit-remaining-subscription-{which}"] = left
        return response

    def _admit(self, request: web.Request) -> None:
        if not self._identity.bearer_of(request, AUDIENCE):
            raise ArmError(401, "InvalidAuthenticationToken", "The access token is invalid.")
        version = request.query.get("api-version")
        if not version:
            message = "The api-version query parameter (?api-version=) is required."
            raise ArmError(400, "MissingApiVersionParameter", message)
        if version not in API_VERSIONS:
            message = f"api-version '{version}' is not one of {', '.join(API_VERSIONS)}."
            raise ArmError(400, "NoRegisteredProviderFound", message)

    async def _serve(self, request: web.Request) -> web.Response:
        path, traffic = request.path, self._traffic
        match request.method:
            case "GET" if found := _LIST.fullmatch(path):
                return web.json_response({"value": traffic.list(**found.groupdict())})
            case "GET":
                return web.json_response(traffic.get(path))
            case "PUT":
                resource, new = traffic.put(path, await _body(request))
                return web.json_response(resource, status=201 if new else 200)
            case "PATCH":
                return web.json_response(traffic.patch(path, await _body(request)))
            case "DELETE":
                gone = traffic.delete(path)
                return web.json_response({"boolean": True}) if gone else web.Response(status=204)
            case other:
                raise ArmError(405, "MethodNotAllowed", f"{other} is not supported here.")


async def _body(request: web.Request) -> Json:
    try:
        body: Any = json.loads(await request.read())
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise ArmError(400, "InvalidRequestContent", "The request content was not valid JSON.")
    return body


def add_routes(app: web.Application, traffic: TrafficManager, identity: Identity) -> None:
    """Serve *traffic* on *app* for callers with a token of *identity*."""
    app.router.add_route("*", "/{path:(?i:subscriptions/.*)}", _Routes(traffic, identity).handle)
