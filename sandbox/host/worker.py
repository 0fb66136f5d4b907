"""Drives Microsoft's own Python worker library in this process.

What it proves: the real indexing, type checks, decoding and exception reporting of
azure-functions-runtime. What it does not: anything of gRPC, of protobuf, or of the .NET host.

The library is Microsoft's internal worker, made for their proxy and not for us; it may change its
five coroutines in any release. That is why it is pinned to exactly 1.3.0, and why this module is
the only one that calls it. Its registry is global to the process: one app per process, loaded once.
"""

import asyncio
import json
import logging
import sys
import time
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import azure_functions_runtime as runtime

from sandbox.host.logs import INVOCATION
from sandbox.host.protos import PROTOS, Bag, ParameterBinding, StatusResult, TypedData

THREAD_INVOCATION: ContextVar[str | None] = runtime.invocation_id_cv
"""The invocation id, as the library sets it in the threads of sync functions."""

_log = logging.getLogger("host.worker")


class AppError(Exception):
    """The function app could not be loaded; the message is the worker's own."""


@dataclass(frozen=True, slots=True)
class Function:
    """One indexed function and its bindings, as the decorators wrote them."""

    name: str
    function_id: str
    bindings: tuple[Mapping[str, Any], ...]

    @property
    def trigger(self) -> Mapping[str, Any]:
        """The binding that starts it."""
        return next(b for b in self.bindings if str(b["type"]).lower().endswith("trigger"))

    @property
    def outputs(self) -> tuple[Mapping[str, Any], ...]:
        """Its output bindings other than the HTTP response."""
        return tuple(b for b in self.bindings if b["direction"] == "OUT" and b["type"] != "http")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one invocation ended: `error` is None on success, else `Type: message`."""

    error: str | None = None
    returned: TypedData | None = None


class Worker:
    """The loaded function app."""

    def __init__(self, functions: tuple[Function, ...], timeout_s: float | None) -> None:
        self.functions = functions
        self._timeout_s = timeout_s

    @classmethod
    async def load(cls, app_dir: Path, timeout_s: float | None = None) -> "Worker":
        """Import `app_dir`/function_app.py and index it; AppError when that fails."""
        sys.path.insert(0, str(app_dir))
        runtime.start_threadpool_executor()
        init = Bag(function_app_directory=str(app_dir), capabilities={})
        _check(await runtime.worker_init_request(_request(worker_init_request=init)))
        found = await runtime.functions_metadata_request(_request(functions_metadata_request=Bag()))
        functions = tuple(_function(item) for item in found.function_metadata_results or ())
        for function in functions:
            load = Bag(function_id=function.function_id)
            _check(await runtime.function_load_request(_request(function_load_request=load)))
        return cls(functions, timeout_s)

    async def invoke(
        self, function: Function, data: TypedData, metadata: Mapping[str, TypedData]
    ) -> Outcome:
        """Run the function once; its failure, or running past the timeout, is an outcome."""
        invocation_id = str(uuid.uuid4())
        token = INVOCATION.set((function.name, invocation_id))
        started = time.monotonic()
        try:
            outcome = await self._call(function, invocation_id, data, metadata)
            ended = "failed" if outcome.error else "succeeded"
            _log.info("%s in %.0f ms", ended, (time.monotonic() - started) * 1000)
        finally:
            INVOCATION.reset(token)
        return outcome

    async def _call(
        self,
        function: Function,
        invocation_id: str,
        data: TypedData,
        metadata: Mapping[str, TypedData],
    ) -> Outcome:
        call = Bag(
            invocation_id=invocation_id,
            function_id=function.function_id,
            input_data=[ParameterBinding(name=function.trigger["name"], data=data)],
            trigger_metadata=metadata,
            trace_context=Bag(trace_parent="", trace_state="", attributes={}),
            retry_context=Bag(retry_count=0, max_retry_count=0),
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                reply = await runtime.invocation_request(_request(invocation_request=call))
        except TimeoutError:
            _log.error("no end after %s s", self._timeout_s)
            return Outcome(error=f"TimeoutError: ran longer than {self._timeout_s} s")
        return _outcome(reply)

    @staticmethod
    def close() -> None:
        """Stop the threads that sync functions run in."""
        runtime.stop_threadpool_executor()


def _request(**message: Any) -> Bag:
    return Bag(request=Bag(**message), properties={"host": "127.0.0.1", "protos": PROTOS})


def _check(reply: Any) -> None:
    if reply.result.status != StatusResult.Success:
        raise AppError(reply.result.exception.stack_trace or reply.result.exception.message)


def _function(item: Any) -> Function:
    bindings = tuple(json.loads(raw) for raw in item.raw_bindings)
    return Function(name=item.name, function_id=item.function_id, bindings=bindings)


def _outcome(reply: Any) -> Outcome:
    if reply.result.status == StatusResult.Success:
        return Outcome(returned=reply.return_value)
    failure = reply.result.exception
    _log.error("%s", failure.stack_trace or failure.message)
    return Outcome(error=failure.message)
