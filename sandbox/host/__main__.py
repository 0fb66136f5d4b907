"""python -m sandbox.host --app DIR [--port 0] [--ready-file FILE] [--owned]: runs one app.

Reads DIR/host.json and the environment, imports DIR/function_app.py, starts its triggers, prints
one line `host ready http://127.0.0.1:PORT functions=a,b` and runs until SIGTERM or SIGINT; a second
signal cuts running calls off. Logs go to standard error. Exit code 1 when the app cannot be loaded.
HOST_FUNCTION_KEY and HOST_MASTER_KEY, when set, must be shown by HTTP callers.
A stand-in for the Functions host: it proves our code against Microsoft's Python worker library,
not against Azure's host, scaling or storage.
"""

import argparse
import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from sandbox.host import logs
from sandbox.host.settings import SettingError, read_host_json
from sandbox.host.triggers import Host
from sandbox.host.worker import THREAD_INVOCATION, AppError, Worker

_log = logging.getLogger("host")


def main() -> int:
    """Run the host; returns the exit code."""
    options = _options()
    logs.set_up(options.log_level, THREAD_INVOCATION)
    try:
        asyncio.run(_serve(options))
    except (AppError, SettingError, OSError) as error:
        _log.critical("the app cannot be run: %s", error)
        return 1
    return 0


async def _serve(options: argparse.Namespace) -> None:
    stop, cut = _signals()
    if options.owned:
        _end_with_owner(stop)
    app_dir, ready_file = options.app.resolve(), options.ready_file and options.ready_file.resolve()
    settings = read_host_json(app_dir / "host.json")
    os.chdir(app_dir)  # as in Azure, where the app may read files beside it
    worker = await Worker.load(app_dir, settings.function_timeout_s)
    try:
        host = Host(worker, settings, os.environ)
        port = await host.start(options.port)
        _tell(port, worker, ready_file)
        await stop.wait()
        await _stop(host, cut, options.drain_s)
    finally:
        worker.close()


async def _stop(host: Host, cut: asyncio.Event, drain_s: float) -> None:
    stopping = asyncio.create_task(host.stop(drain_s))
    cutting = asyncio.create_task(cut.wait())
    await asyncio.wait({stopping, cutting}, return_when=asyncio.FIRST_COMPLETED)
    cutting.cancel()
    if not stopping.done():
        _log.warning("second signal: not waiting for running calls")
        stopping.cancel()
    await asyncio.gather(stopping, cutting, return_exceptions=True)


def _tell(port: int, worker: Worker, ready_file: Path | None) -> None:
    if ready_file is not None:
        partial = ready_file.with_name(f"{ready_file.name}.part")
        partial.write_text(str(port), encoding="ascii")
        partial.replace(ready_file)
    names = ",".join(function.name for function in worker.functions)
    print(f"host ready http://127.0.0.1:{port} functions={names}", flush=True)


def _signals() -> tuple[asyncio.Event, asyncio.Event]:
    stop, cut = asyncio.Event(), asyncio.Event()

    def on_signal() -> None:
        (cut if stop.is_set() else stop).set()

    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, on_signal)
    return stop, cut


def _end_with_owner(stop: asyncio.Event) -> None:
    loop, stdin = asyncio.get_running_loop(), sys.stdin.fileno()

    def on_readable() -> None:
        if not os.read(stdin, 4096):
            loop.remove_reader(stdin)
            stop.set()

    loop.add_reader(stdin, on_readable)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.host")
    parser.add_argument("--app", type=Path, required=True, help="folder of function_app.py")
    parser.add_argument("--port", type=int, default=0, help="HTTP port; 0 takes any free one")
    parser.add_argument("--ready-file", type=Path, help="gets the port once the host is ready")
    parser.add_argument("--owned", action="store_true", help="end when standard input closes")
    parser.add_argument("--drain-s", type=float, default=10.0, help="time for calls at a stop")
    parser.add_argument("--log-level", default="INFO", help="lowest level that is logged")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
