"""Log Analytics as the telemetry port: one query per workspace and look.

Questions asked at about the same moment share one query; when that is refused or cut short, each
is asked alone, so that one bad plan never blinds the others. Four ends are kept apart: rows were
SEEN, the workspace holds none (ABSENT), or it could not be asked, wholly and in time (FAILED).
Nothing is raised, and an answer that is not understood completely is FAILED. Gauges are asked
apart.
"""

import asyncio
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import batched

from azure.core.exceptions import HttpResponseError
from azure.core.pipeline import PipelineResponse
from azure.monitor.query import LogsQueryPartialResult, LogsQueryResult
from azure.monitor.query.aio import LogsQueryClient

from shared.cloud import answers, gauges, kql, kqltext, strata, trouble
from shared.cloud.pace import Pace
from shared.cloud.retries import patiently
from shared.core.questions import LevelQuestion, Question
from shared.core.telemetry import Answer, Levels, Sight, Strata
from shared.errors import LinnetError, UnreachableError

log = logging.getLogger(__name__)

GATHER_S = 0.02
# Questions of one union, of up to three legs each: far from any limit, and a bounded answer.
MAX_MERGED = 25
# The service's limits per identity: 5 running queries, 200 in 30 seconds.
AT_ONCE, MOST, WINDOW_S = 5, 200, 30.0
# Retries of one query may take this many times the time of one call.
PATIENCE = 2.0
_NO_CONTENT, _BAD_REQUEST = 204, 400
_FRESH = {"Cache-Control": "no-cache"}


@dataclass(frozen=True, slots=True)
class Reply:
    """What the service said to one query; `by_one`: a refusal that may be one question's fault."""

    rows: Sequence[answers.Row] = ()
    refusal: str = ""
    by_one: bool = False


@dataclass(frozen=True, slots=True)
class Query:
    """One query as it is sent: to whom, what, and of which time."""

    workspace: str
    text: str
    span: tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class _Asked:
    question: Question
    answer: asyncio.Future[Answer]


class LogAnalytics:
    """Questions to any workspace the client's identity may read."""

    def __init__(
        self,
        client: LogsQueryClient,
        *,
        timeout_s: float,
        gather_s: float = GATHER_S,
        pace: Pace | None = None,
    ) -> None:
        self._client = client
        self._timeout_s = timeout_s
        self._gather_s = gather_s
        self._pace = pace or Pace(AT_ONCE, MOST, WINDOW_S)
        self._waiting: dict[str, list[_Asked]] = {}
        self._looks: set[asyncio.Task[None]] = set()

    async def ask(self, question: Question) -> Answer:
        """The answer; blindness of each kind is a value, never an exception."""
        if question.from_bin >= question.to_bin:
            return _blind(question, Sight.ABSENT, "no bin has begun yet")
        try:
            kql.legs(question, 0)
        except (LinnetError, ValueError, OverflowError) as error:
            return _blind(question, Sight.FAILED, trouble.words(error))
        return await self._with_others(question)

    async def strata(self, question: Question) -> Strata:
        """Stable's past by stratum, by a query of its own; what went wrong is part of the value."""
        reply = await self._alone(
            question, lambda: (strata.query(question), kql.window([question]))
        )
        refused = reply.refusal
        return Strata(Sight.FAILED, refused) if refused else strata.read(question, reply.rows)

    async def levels(self, question: LevelQuestion) -> Levels:
        """What the gauges showed, by a query of their own; what went wrong is part of the value."""
        since, until = question.from_bin * question.bin_s, question.to_bin * question.bin_s
        reply = await self._alone(
            question, lambda: (gauges.query(question), kqltext.span(since, until))
        )
        refused = reply.refusal
        return Levels(Sight.FAILED, refused) if refused else gauges.read(question, reply.rows)

    async def _alone(
        self,
        question: Question | LevelQuestion,
        written: Callable[[], tuple[str, tuple[datetime, datetime]]],
    ) -> Reply:
        """The reply to one query; one that cannot be written is refused as by the service."""
        try:
            text, span = written()
        except (LinnetError, ValueError, OverflowError) as error:
            return Reply(refusal=trouble.words(error))
        return await self._reply(Query(question.source.workspace, text, span))

    async def close(self) -> None:
        """Give up on what is still being asked."""
        looks = tuple(self._looks)
        for look in looks:
            look.cancel()
        await asyncio.gather(*looks, return_exceptions=True)

    async def _with_others(self, question: Question) -> Answer:
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        workspace = question.source.workspace.casefold()
        waiting = self._waiting.setdefault(workspace, [])
        waiting.append(_Asked(question, answer))
        if len(waiting) == 1:
            look = asyncio.create_task(self._look(workspace), name=f"look {workspace}")
            self._looks.add(look)
            look.add_done_callback(self._looks.discard)
        return await answer

    async def _look(self, workspace: str) -> None:
        """Gather what is asked of one workspace, ask it, and answer everyone whatever happens."""
        asked: list[_Asked] = self._waiting[workspace]
        try:
            await asyncio.sleep(self._gather_s)
            del self._waiting[workspace]
            await asyncio.gather(
                *(self._together(some) for some in batched(asked, MAX_MERGED, strict=False))
            )
        finally:
            if self._waiting.get(workspace) is asked:
                del self._waiting[workspace]
            _settle(
                asked,
                [_blind(each.question, Sight.FAILED, "the look was given up") for each in asked],
            )

    async def _together(self, asked: Sequence[_Asked]) -> None:
        questions = [each.question for each in asked]
        workspace = questions[0].source.workspace
        reply = await self._reply(Query(workspace, kql.merged(questions), kql.window(questions)))
        if reply.refusal and reply.by_one and len(asked) > 1:
            log.warning("%d questions are asked one by one: %s", len(asked), reply.refusal)
            await asyncio.gather(*(self._together([each]) for each in asked))
            return
        if reply.refusal:
            found = [_blind(question, Sight.FAILED, reply.refusal) for question in questions]
        else:
            found = answers.sort(questions, reply.rows)
        _settle(asked, found)

    async def _reply(self, query: Query) -> Reply:
        """One query with its retries."""
        try:
            return await patiently(
                partial(self._query, query), deadline_s=self._timeout_s * PATIENCE
            )
        except Exception as error:  # noqa: BLE001  # whatever it is, the askers must hear of it
            return Reply(refusal=trouble.words(error))

    async def _query(self, query: Query) -> Reply:
        """One try. Raises what is worth another one."""
        statuses: list[int] = []

        def note(response: PipelineResponse[object, object]) -> None:
            statuses.append(getattr(response.http_response, "status_code", 0))

        try:
            async with self._pace.place(), asyncio.timeout(self._timeout_s):
                result = await self._client.query_workspace(
                    query.workspace,
                    query.text,
                    timespan=query.span,
                    server_timeout=max(1, int(self._timeout_s * 0.8)),
                    headers=dict(_FRESH),
                    raw_response_hook=note,
                )
        except json.JSONDecodeError as error:
            if statuses[-1:] == [_NO_CONTENT]:
                return Reply()
            raise UnreachableError("the answer of Log Analytics could not be read") from error
        except HttpResponseError as error:
            if error.status_code == _BAD_REQUEST:
                return Reply(refusal=trouble.words(error), by_one=True)
            raise
        return _reply_of(result)


def _reply_of(result: LogsQueryResult | LogsQueryPartialResult) -> Reply:
    if isinstance(result, LogsQueryPartialResult):
        said = getattr(result.partial_error, "message", None)
        part = f"only a part of the answer came: {trouble.first_line(said)}"
        return Reply(refusal=part, by_one=True)
    return Reply(rows=result.tables[0].rows if result.tables else ())


def _blind(question: Question, sight: Sight, reason: str) -> Answer:
    return Answer(sight, reason, to_bin=question.to_bin)


def _settle(asked: Sequence[_Asked], found: Sequence[Answer]) -> None:
    for each, answer in zip(asked, found, strict=True):
        if not each.answer.done():
            each.answer.set_result(answer)
