"""The query route of the Log Analytics API, over the state in `logs.py`.

Answers come in the documented shapes: 200 with one `PrimaryResult`, 204 without a body for a
workspace that holds nothing, 400 `BadArgumentError` for KQL that does not run, 401 for a token
of another audience, 404 for an unknown workspace, and a 200 with `error` for a cut result.
Nothing is cached and nothing is throttled here.
"""

import json
from typing import Any, Final

from aiohttp import web

from sandbox.faults import partial_error
from sandbox.identity import Identity
from sandbox.logs import BadQuery, Table, WorkspaceLogs

AUDIENCE: Final = "https://api.loganalytics.io"


def add_routes(app: web.Application, logs: WorkspaceLogs, identity: Identity) -> None:
    """Serve *logs* on *app* for callers with a token of *identity*."""

    async def query(request: web.Request) -> web.Response:
        if not identity.bearer_of(request, AUDIENCE):
            words = "Valid authentication was not provided"
            return _error(401, "AuthorizationRequiredError", words)
        return await _query(logs, request)

    app.router.add_post("/v1/workspaces/{workspace}/query", query)


async def _query(logs: WorkspaceLogs, request: web.Request) -> web.Response:
    try:
        asked = _asked(await request.read())
        workspaces = [request.match_info["workspace"], *(asked.get("workspaces") or ())]
        table = await logs.query(workspaces, asked["query"], asked.get("timespan"))
    except KeyError as error:
        return _error(404, "PathNotFoundError", f"The workspace {error} could not be found")
    except BadQuery as error:
        return _bad_query(error)
    except ValueError as error:
        return _error(400, "BadArgumentError", str(error))
    return web.Response(status=204) if table is None else web.json_response(_body(table))


def _asked(body: bytes) -> dict[str, Any]:
    """The request's JSON. Raises ValueError when it is not what the API takes."""
    asked = json.loads(body)
    if isinstance(asked, dict) and isinstance(asked.get("query"), str):
        return asked
    raise ValueError("The request must be an object with a 'query'")


def _body(table: Table) -> dict[str, Any]:
    columns = [
        {"name": name, "type": kind} for name, kind in zip(table.names, table.kinds, strict=True)
    ]
    body: dict[str, Any] = {
        "tables": [{"name": "PrimaryResult", "columns": columns, "rows": table.rows}]
    }
    if table.cut:
        body["error"] = partial_error("The results of this query exceed the set limit of rows.")
    return body


def _bad_query(error: BadQuery) -> web.Response:
    words = "The request had some invalid properties"
    inner = {"code": error.code, "message": str(error), "line": error.line, "pos": error.pos}
    return _error(400, "BadArgumentError", words, inner)


def _error(
    status: int, code: str, message: str, inner: dict[str, Any] | None = None
) -> web.Response:
    error: dict[str, Any] = {"message": message, "code": code}
    if inner is not None:
        error["innererror"] = inner
    return web.json_response({"error": error}, status=status)
