"""Control routes under `/sandbox/`, so that another process can drive the local Azure.

| route | body |
| --- | --- |
| POST /sandbox/faults | list of faults: `{match, kind, times?, status?, retry_after_s?, hang_s?}` |
| DELETE /sandbox/faults | disarms all |
| POST /sandbox/health | `{"endpoint": <ARM id>, "status": "Degraded" or null}` |
| POST /sandbox/rows | `{"workspace", "rows": [...], "delay_s"?}` |
| POST /sandbox/ingestion-delay | `{"seconds": 60}` |
| GET /sandbox/journal | `{"writes": [...], "answers": {endpoint id: count}, "fired": [...]}` |

They have no counterpart in Azure and ask for no token: the server listens on 127.0.0.1 only.
"""

import json
from dataclasses import asdict
from typing import Any

from aiohttp import web

from sandbox.arm import TrafficManager
from sandbox.arm_checks import ArmError
from sandbox.faults import CONTROL_PREFIX, Fault, Faults, Kind
from sandbox.logs import WorkspaceLogs


class Control:
    """The handlers, over the parts they drive."""

    def __init__(self, traffic: TrafficManager, logs: WorkspaceLogs, faults: Faults) -> None:
        self._traffic = traffic
        self._logs = logs
        self._faults = faults

    def add_routes(self, app: web.Application) -> None:
        """Put the control routes on *app*."""
        route = app.router.add_route
        route("POST", f"{CONTROL_PREFIX}faults", self._arm)
        route("DELETE", f"{CONTROL_PREFIX}faults", self._disarm)
        route("POST", f"{CONTROL_PREFIX}health", self._health)
        route("POST", f"{CONTROL_PREFIX}rows", self._rows)
        route("POST", f"{CONTROL_PREFIX}ingestion-delay", self._delay)
        route("GET", f"{CONTROL_PREFIX}journal", self._journal)

    async def _arm(self, request: web.Request) -> web.Response:
        given = await _json(request)
        try:
            self._faults.arm(*(Fault(**each | {"kind": Kind(each["kind"])}) for each in given))
        except (TypeError, KeyError, ValueError) as error:
            raise _bad(error) from error
        return web.json_response({"armed": len(self._faults.armed)})

    async def _disarm(self, request: web.Request) -> web.Response:
        del request
        self._faults.clear()
        return web.json_response({"armed": 0})

    async def _health(self, request: web.Request) -> web.Response:
        given = await _json(request)
        try:
            self._traffic.set_health(given["endpoint"], given["status"])
        except (TypeError, KeyError, ArmError) as error:
            raise _bad(error) from error
        return web.json_response({"endpoint": given["endpoint"], "status": given["status"]})

    async def _rows(self, request: web.Request) -> web.Response:
        given = await _json(request)
        try:
            rows = given["rows"]
            table = given.get("table", "AppRequests")
            delay_s = given.get("delay_s")
            await self._logs.add(given["workspace"], rows, table=table, delay_s=delay_s)
        except (TypeError, KeyError, ValueError) as error:
            raise _bad(error) from error
        return web.json_response({"rows": len(rows)})

    async def _delay(self, request: web.Request) -> web.Response:
        given = await _json(request)
        try:
            self._logs.ingestion_delay_s = float(given["seconds"])
        except (TypeError, KeyError, ValueError) as error:
            raise _bad(error) from error
        return web.json_response(given)

    async def _journal(self, request: web.Request) -> web.Response:
        del request
        return web.json_response(
            {
                "writes": [asdict(write) for write in self._traffic.journal],
                "answers": dict(self._traffic.answers),
                "fired": [asdict(fired) for fired in self._faults.fired],
            }
        )


async def _json(request: web.Request) -> Any:
    try:
        return json.loads(await request.read())
    except ValueError as error:
        raise _bad(error) from error


def _bad(error: Exception) -> web.HTTPBadRequest:
    body = json.dumps({"error": f"{type(error).__name__}: {error}"})
    return web.HTTPBadRequest(text=body, content_type="application/json")
