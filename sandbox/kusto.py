"""Microsoft's own Kusto parser as a child process: what it says about a query over given tables.

It is the parser of Azure's query editors (`@kusto/language-service-next`). It proves that a query
is KQL and that its tables, columns, functions, parameters and the types it checks fit together. It
does not prove what Azure Monitor answers or refuses: a service may be older or newer, leaves parts
of the language out, and has limits of its own. Some mistakes of type pass here, such as a string
compared with a number. `sandbox/logs.py` is where queries run.
Rules: a closed schema, so that what it doesn't name does not exist; one query at a time; the child
ends with us, since it reads until its input closes. `python -m sandbox.kusto` installs it.
"""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from sandbox import npm

PACKAGE = npm.Package("@kusto/language-service-next", version="12.4.1", folder="kusto")

type Schema = Mapping[str, Mapping[str, str]]
"""The columns of each table by name, with their Kusto type."""

_DRIVER = Path(__file__).with_suffix(".js")
_ANSWER_S = 60.0
_STOP_S = 5.0
_MAX_QUERY = 100_000
_MAX_ANSWER_BYTES = 16 << 20


class KustoError(Exception):
    """The parser itself did not start or answer; never a mistake in a query."""


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """What the parser has against a query: its words, and where (lines and columns from 1)."""

    severity: str
    code: str
    words: str
    line: int
    column: int
    at: str

    def __str__(self) -> str:
        return f"{self.line}:{self.column} {self.severity} {self.code} {self.words} ({self.at!r})"


@dataclass(frozen=True, slots=True)
class Token:
    """A word of a query, of a kind as Kusto calls it; `value` is what a string literal means."""

    kind: str
    text: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Reading:
    """One query, read: what is wrong, its words, and its answer's columns with their types."""

    diagnostics: tuple[Diagnostic, ...]
    tokens: tuple[Token, ...]
    columns: Mapping[str, str]


class KustoParser:
    """The parser over one schema. Use as `async with KustoParser(tables) as kusto`."""

    def __init__(self, tables: Schema) -> None:
        self._tables = tables
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> Self:
        folder = await PACKAGE.install() / PACKAGE.name
        self._process = await asyncio.create_subprocess_exec(
            *(str(await npm.node()), str(_DRIVER), str(folder)),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            limit=_MAX_ANSWER_BYTES,
            start_new_session=True,
        )
        try:
            await self._ask({"tables": self._tables})
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        process, self._process = self._process, None
        if process is None or process.stdin is None:
            return
        process.stdin.close()
        try:
            async with asyncio.timeout(_STOP_S):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()

    async def diagnose(self, queries: Mapping[str, str]) -> dict[str, list[Diagnostic]]:
        """What is wrong with each query, by the query's name; an empty list is praise."""
        return {name: list((await self.read(text)).diagnostics) for name, text in queries.items()}

    async def read(self, text: str) -> Reading:
        """Parse one query and check it against the tables.

        Raises ValueError for a query over 100 000 characters, KustoError when nobody answers.
        """
        if len(text) > _MAX_QUERY:
            raise ValueError(f"a query of {len(text)} characters is too long")
        answer = await self._ask({"text": text})
        return Reading(
            diagnostics=tuple(Diagnostic(**found) for found in answer["diagnostics"]),
            tokens=tuple(Token(**token) for token in answer["tokens"]),
            columns=answer["columns"],
        )

    async def _ask(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise KustoError("the parser is not running")
        try:
            async with asyncio.timeout(_ANSWER_S):
                process.stdin.write(json.dumps(asked).encode() + b"\n")
                await process.stdin.drain()
                line = await process.stdout.readline()
        except (OSError, TimeoutError) as error:
            # A late answer would be taken for the next one's.
            process.kill()
            raise KustoError("the parser does not answer") from error
        answer: dict[str, Any] = json.loads(line or b'{"failed": "it ended"}')
        if "failed" in answer:
            raise KustoError(f"the parser failed: {answer['failed']}")
        return answer


if __name__ == "__main__":
    print(asyncio.run(PACKAGE.install()))
