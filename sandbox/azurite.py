"""Azurite's table or blob service as a child process: Microsoft's own emulator of Azure Storage.

It proves our use of the Tables and Blobs clients, their conditions and transactions. It does not
prove Azure's limits (Azurite accepts larger entities), its latency, its partitions, or managed
identity: locally the client signs with the emulator's public key.
Rules: 127.0.0.1 only; the child ends with us, however we end, since it watches a pipe that closes
when this process is gone. `python -m sandbox.azurite` installs what is missing.
"""

import asyncio
import os
import signal
import socket
import tempfile
from pathlib import Path
from typing import IO, Literal, Self

from sandbox import npm

PACKAGE = npm.Package("azurite", version="3.35.0", folder="azurite")

_START_S = 30.0
_STOP_S = 5.0
_LOG_BYTES = 2000
_ACCOUNT = "devstoreaccount1"
# The emulator's key is the same everywhere and printed in its manual.
_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw=="
# Runs the program in a Node that leaves in good order once our end of its input is closed.
_WATCHED = """
const program = process.argv[1];
process.stdin.resume();
process.stdin.unref();
process.stdin.on('end', () => {
  process.kill(process.pid, 'SIGINT');
  setTimeout(() => process.exit(0), 1000).unref();
});
require(program);
"""


class AzuriteError(Exception):
    """Azurite did not start; the message holds its last words."""


async def install() -> Path:
    """Install Azurite if it is missing, as `npm.Package.install` does; the program's path."""
    return await PACKAGE.install() / ".bin" / "azurite-table"


class Azurite:
    """One table service (or blob service), in memory or with its data in a folder.

    Use as `async with Azurite() as azurite`. Without `location` a kill loses everything. With it,
    an orderly `kill()` and `restart()` keep all data; a hard one loses up to the last 5 s.
    """

    def __init__(
        self,
        port: int = 0,
        location: Path | None = None,
        *,
        service: Literal["table", "blob"] = "table",
    ) -> None:
        self.port = port or _free_port()
        self._service = service
        self._location = location
        self._process: asyncio.subprocess.Process | None = None
        self._log: IO[bytes] | None = None

    @property
    def connection_string(self) -> str:
        """What the service's client connects with."""
        return (
            f"DefaultEndpointsProtocol=http;AccountName={_ACCOUNT};AccountKey={_KEY};"
            f"{self._service.title()}Endpoint={self.endpoint};"
        )

    @property
    def endpoint(self) -> str:
        """The account's URL, without a slash at its end."""
        return f"http://127.0.0.1:{self.port}/{_ACCOUNT}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.kill()

    async def start(self) -> None:
        """Start and wait until it answers; AzuriteError with its last words if it does not."""
        if self._process is not None:
            return
        program = (await install()).with_name(f"azurite-{self._service}")
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  # lives as long as the child
        self._process = await asyncio.create_subprocess_exec(
            *(str(await npm.node()), "-e", _WATCHED, "--", str(program.resolve())),
            *self._arguments(),
            stdin=asyncio.subprocess.PIPE,
            stdout=self._log,
            stderr=self._log,
            cwd=PACKAGE.prefix,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(_START_S):
                await self._answers(self._process)
        except BaseException as error:
            words = self._last_words()
            await self.kill(hard=True)
            if isinstance(error, TimeoutError):
                raise AzuriteError(f"no answer in {_START_S} s: {words}") from error
            raise

    async def kill(self, *, hard: bool = False) -> None:
        """Take it away: in order (data in a folder is written), or at once when `hard`."""
        process, self._process = self._process, None
        if process is not None:
            try:
                if not hard and self._location is not None:
                    await _interrupt(process)
            finally:
                _signal(process, signal.SIGKILL)
                await process.wait()
                if process.stdin is not None:
                    process.stdin.close()
        if self._log is not None:
            self._log.close()
            self._log = None

    async def restart(self) -> None:
        """Start again on the same port, after an orderly kill if it still runs."""
        await self.kill()
        await self.start()

    def _arguments(self) -> list[str]:
        kept = ["--inMemoryPersistence"]
        if self._location is not None:
            kept = ["--location", str(self._location.resolve())]
        quiet = ["--skipApiVersionCheck", "--disableTelemetry", "--silent"]
        here = [f"--{self._service}Host", "127.0.0.1", f"--{self._service}Port", str(self.port)]
        return [*kept, *quiet, *here]

    async def _answers(self, process: asyncio.subprocess.Process) -> None:
        while not await _speaks_http(self.port):
            if process.returncode is not None:
                raise AzuriteError(f"ended at once: {self._last_words()}")
            await asyncio.sleep(0.05)

    def _last_words(self) -> str:
        if self._log is None:
            return ""
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _LOG_BYTES))
        return self._log.read().decode("utf-8", "replace")


async def _interrupt(process: asyncio.subprocess.Process) -> None:
    _signal(process, signal.SIGINT)
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        return


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if process.returncode is None:
        # The child leads its own group, so that what it starts goes with it.
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            return


async def _speaks_http(port: int) -> bool:
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    try:
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        return bool(await reader.read(1))
    except OSError:
        return False
    finally:
        writer.close()


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


if __name__ == "__main__":
    print(asyncio.run(install()))
