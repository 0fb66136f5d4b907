"""Starts the Functions host as a child and listens to it.

Rules: the child ends with us, however we end (`--owned`: its standard input is a pipe that closes
with us); the last log lines are kept, a bounded number of them.
"""

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Self

_ROOT = Path(__file__).resolve().parents[2]
_READY = re.compile(r"host ready (http://127\.0\.0\.1:\d+) functions=(\S*)\s*")
_START_S = 30.0
_KEPT_LINES = 2000


class HostFailedError(Exception):
    """The host ended before it was ready; the message is its log."""


class HostProcess:
    """One function app in a host of its own. Use as `async with HostProcess(folder) as host`."""

    def __init__(
        self,
        app_dir: Path,
        environment: Mapping[str, str] | None = None,
        on_line: Callable[[str], None] | None = None,
    ) -> None:
        """`environment` is added to ours; `on_line` hears each log line."""
        self._app_dir = app_dir
        self._environment = environment or {}
        self._on_line = on_line
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self.lines: deque[str] = deque(maxlen=_KEPT_LINES)
        self.url = ""
        self.functions: tuple[str, ...] = ()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def start(self) -> None:
        """Start and wait until it is ready; HostFailedError with its log if it never is."""
        self._process = process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "sandbox.host", "--owned", "--app", str(self._app_dir)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=_ROOT,
            env={**os.environ, **self._environment},
        )
        self._listening = asyncio.create_task(self._listen(process))
        try:
            await self._until_ready(process)
        except BaseException:
            await self.kill()
            raise

    async def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Ask it to end and wait until it has; returns its exit code."""
        if self._process is None:
            return 0
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)
        return await self._ended()

    async def kill(self) -> None:
        """End it at once, as a crash would; nothing happens if it has ended."""
        await self.stop(signal.SIGKILL)

    async def _until_ready(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None  # noqa: S101  # asked for above
        try:
            async with asyncio.timeout(_START_S):
                line = (await process.stdout.readline()).decode()
        except TimeoutError:
            line = ""
        ready = _READY.fullmatch(line)
        if ready is None:
            await self.kill()
            raise HostFailedError("\n".join([line, *self.lines]).strip())
        self.url, self.functions = ready[1], tuple(ready[2].split(","))

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        assert process.stderr is not None  # noqa: S101  # asked for above
        async for raw in process.stderr:
            line = raw.decode("utf-8", "replace").rstrip("\n")
            self.lines.append(line)
            if self._on_line is not None:
                self._on_line(line)

    async def _ended(self) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.stdin is not None:
            process.stdin.close()
        code = await process.wait()
        if self._listening is not None:
            await self._listening
        return code
