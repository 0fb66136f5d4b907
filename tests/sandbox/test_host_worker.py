"""The host as a user starts it: a process with a small app, HTTP, a timer and queues."""

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from sandbox.host.process import HostFailedError, HostProcess

_ROOT = Path(__file__).resolve().parents[2]
_NEVER = "0 0 0 29 2 *"
_APP = """
import asyncio, json, logging, os
import azure.functions as func

app = func.FunctionApp()
log = logging.getLogger("app")
runs = 0

@app.timer_trigger(arg_name="timer", schedule="%TICK_SCHEDULE%", use_monitor=False)
async def tick(timer: func.TimerRequest) -> None:
    global runs
    runs += 1
    log.info("tick %s past_due=%s", runs, timer.past_due)
    if runs == 1:
        raise RuntimeError("first tick\\nfails")

@app.route(route="rollouts/{name}/{step:int?}", methods=["GET", "POST"])
async def rollouts(req: func.HttpRequest) -> func.HttpResponse:
    seen = {"method": req.method, "name": req.route_params["name"],
            "step": req.route_params.get("step"), "query": dict(req.params),
            "header": req.headers.get("x-who"), "body": req.get_body().decode()}
    return func.HttpResponse(json.dumps(seen), status_code=201, mimetype="application/json")

@app.route(route="health", auth_level=func.AuthLevel.ANONYMOUS)
def health(req: func.HttpRequest) -> str:
    log.info("looked at")
    return "fine"

@app.route(route="broken", auth_level=func.AuthLevel.ANONYMOUS)
async def broken(req: func.HttpRequest) -> func.HttpResponse:
    raise ValueError("no")

@app.route(route="hangs", auth_level=func.AuthLevel.ANONYMOUS)
async def hangs(req: func.HttpRequest) -> func.HttpResponse:
    await asyncio.sleep(60)
"""


def _host(folder: Path, app: str, **environment: str) -> HostProcess:
    folder.mkdir(exist_ok=True)
    (folder / "function_app.py").write_text(app)
    (folder / "host.json").write_text('{"version": "2.0", "functionTimeout": "00:00:01"}')
    return HostProcess(folder, {"TICK_SCHEDULE": _NEVER, **environment})


async def _says(host: HostProcess, pattern: str) -> str:
    """The first line, past or coming, that matches."""
    async with asyncio.timeout(10):
        while True:
            for line in list(host.lines):
                if re.search(pattern, line):
                    return line
            await asyncio.sleep(0.02)


@pytest.fixture(scope="module")
async def host(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[HostProcess]:
    folder = tmp_path_factory.mktemp("http")
    keys = {"HOST_FUNCTION_KEY": "f-key", "HOST_MASTER_KEY": "m-key"}
    async with _host(folder, _APP, **keys) as running:
        yield running
        assert await running.stop() == 0


@pytest.fixture(scope="module")
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def test_a_request_reaches_the_function_whole(
    host: HostProcess, http: aiohttp.ClientSession
) -> None:
    """Route, query (without empty values), headers and body arrive; so does the answer."""
    url = f"{host.url}/api/rollouts/abc/3?z=1&empty=&code=f-key"
    async with http.post(url, data=b"hello", headers={"X-Who": "me"}) as answer:
        assert (answer.status, answer.content_type) == (201, "application/json")
        assert await answer.json() == {
            "method": "POST",
            "name": "abc",
            "step": "3",
            "query": {"z": "1", "code": "f-key"},
            "header": "me",
            "body": "hello",
        }


@pytest.mark.parametrize(
    ("method", "path", "key", "status"),
    [
        ("GET", "/api/rollouts/abc", "f-key", 201),
        ("GET", "/api/rollouts/abc", "m-key", 201),
        ("GET", "/api/rollouts/abc", "wrong", 401),
        ("GET", "/api/rollouts/abc", "", 401),
        ("GET", "/api/rollouts/abc/x", "f-key", 404),
        ("DELETE", "/api/rollouts/abc", "f-key", 404),
        ("GET", "/api/nowhere", "f-key", 404),
        ("GET", "/api/health", "", 200),
        ("GET", "/api/broken", "", 500),
        ("GET", "/api/hangs", "", 500),
        ("GET", "/admin/host/status", "f-key", 401),
        ("GET", "/admin/host/status", "m-key", 200),
        ("POST", "/admin/functions/nobody", "m-key", 404),
    ],
)
async def test_routes_and_keys_decide_the_status(
    host: HostProcess, http: aiohttp.ClientSession, method: str, path: str, key: str, status: int
) -> None:
    headers = {"x-functions-key": key} if key else {}
    async with http.request(method, host.url + path, headers=headers) as answer:
        assert answer.status == status


async def test_log_lines_carry_their_invocation(
    host: HostProcess, http: aiohttp.ClientSession
) -> None:
    """A failed timer is one line, stamped, and does not keep the next run from coming."""
    for _ in range(2):
        run = f"{host.url}/admin/functions/tick"
        async with http.post(run, headers={"x-functions-key": "m-key"}) as answer:
            assert answer.status == 202
    failure = await _says(host, "RuntimeError: first tick")
    invocation = re.search(r"\[tick ([0-9a-f-]{36})\]", failure)
    assert invocation
    assert f"[tick {invocation[1]}] tick 1 past_due=False" in await _says(host, "tick 1 ")
    assert invocation[1] not in await _says(host, "tick 2 ")
    assert failure.endswith(r"RuntimeError: first tick\nfails\n")


async def test_a_sync_function_is_stamped_too(
    host: HostProcess, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{host.url}/api/health") as answer:
        assert await answer.text() == "fine"
    assert re.search(r"\[\S+ [0-9a-f-]{36}\] looked at", await _says(host, "looked at"))


async def test_a_timer_runs_when_due_and_sigint_ends_the_host(tmp_path: Path) -> None:
    async with _host(tmp_path, _APP, TICK_SCHEDULE="*/1 * * * * *") as host:
        await _says(host, "tick 1 ")
        assert await host.stop(signal.SIGINT) == 0


_ORPHAN = """
@app.service_bus_queue_trigger(arg_name="m", connection="BUS", queue_name="q")
async def queue(m: func.ServiceBusMessage) -> None: ...
"""


@pytest.mark.parametrize(
    ("app", "reason"),
    [
        ("import nothing_of_that_name", "nothing_of_that_name"),
        (_APP.replace("%TICK_SCHEDULE%", "%UNSET%"), "the setting UNSET is not set"),
        (_APP + _ORPHAN, "the connection BUS is not set"),
        (_APP.replace("%TICK_SCHEDULE%", "nonsense"), "NCRONTAB"),
        (_APP.replace("int?", "guid"), "route constraint 'guid'"),
    ],
)
async def test_an_app_that_cannot_run_says_why(tmp_path: Path, app: str, reason: str) -> None:
    with pytest.raises(HostFailedError, match=f"CRITICAL.*{reason}"):
        await _host(tmp_path, app).start()


async def test_the_ready_file_holds_the_port_and_the_host_ends_with_its_owner(
    tmp_path: Path,
) -> None:
    _host(tmp_path, _APP)
    ready = tmp_path / "ready"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "sandbox.host", "--app", str(tmp_path)),
        *("--ready-file", str(ready), "--owned"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={**os.environ, "TICK_SCHEDULE": _NEVER},
    )
    out, _ = await process.communicate()
    assert f":{ready.read_text()} functions=tick,rollouts,health,broken,hangs" in out.decode()
    assert process.returncode == 0
