"""Starts what each function's trigger asks for, and stops it again: the .NET host's part.

Supported: serviceBusTrigger on a queue (one or many), timerTrigger, httpTrigger. Everything else
(topics, sessions, settlement by the function, output bindings) is refused at start rather than
quietly ignored. This is a stand-in: no scaling, no storage-backed locks, one process.
"""

import asyncio
import logging
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import Any

from sandbox.host.front import Front, Keys
from sandbox.host.ncrontab import Schedule
from sandbox.host.pump import Queue, QueuePump
from sandbox.host.settings import Connections, HostSettings, SettingError, resolve
from sandbox.host.timer import Timer
from sandbox.host.worker import Function, Worker

_log = logging.getLogger("host")
_MAX_HAND_STARTED = 16


class Host:
    """One app's triggers."""

    def __init__(
        self, worker: Worker, settings: HostSettings, environment: Mapping[str, str]
    ) -> None:
        """Set every trigger up; SettingError for a missing setting or an unsupported binding."""
        self._worker = worker
        self._settings = settings
        self._environment = environment
        self._connections = Connections(environment)
        keys = Keys(
            environment.get("HOST_FUNCTION_KEY", ""), environment.get("HOST_MASTER_KEY", "")
        )
        self._front = Front(worker, settings.route_prefix, keys)
        self._pumps: list[QueuePump] = []
        self._timers: list[Timer] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._hand_started: set[asyncio.Task[None]] = set()
        for function in worker.functions:
            self._add(function)

    async def start(self, port: int) -> int:
        """Start all triggers; returns the HTTP port. Queue links come up by themselves."""
        taken = await self._front.start(port)
        runs = [pump.run() for pump in self._pumps] + [timer.run() for timer in self._timers]
        for run in runs:
            self._spawn(self._tasks, run)
        return taken

    async def stop(self, drain_s: float) -> None:
        """Take nothing new, give running calls `drain_s` to end, then cut them off."""
        for pump in self._pumps:
            pump.stop()
        timers = len(self._timers)
        await self._front.stop()
        _log.info("stopping %d queues and %d timers", len(self._pumps), timers)
        await self._finish(drain_s)
        await self._connections.close()

    async def _finish(self, drain_s: float) -> None:
        for timer in self._timers:
            timer.stop()
        tasks = self._tasks | self._hand_started
        if not tasks:
            return
        _, late = await asyncio.wait(tasks, timeout=drain_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)

    def _add(self, function: Function) -> None:
        if function.outputs:
            raise SettingError(f"{function.name}: output bindings are not supported here")
        match str(function.trigger["type"]):
            case "httpTrigger":
                self._front.add(function)
            case "timerTrigger":
                self._add_timer(function)
            case "serviceBusTrigger":
                self._add_queue(function)
            case kind:
                raise SettingError(f"{function.name}: {kind} is not supported here")

    def _add_timer(self, function: Function) -> None:
        expression = resolve(function.trigger["schedule"], self._environment)
        try:
            timer = Timer(self._worker, function, Schedule(expression))
        except ValueError as error:
            raise SettingError(f"{function.name}: {error}") from error
        self._timers.append(timer)
        self._front.add_timer(function.name, partial(self._fire, timer))

    def _fire(self, timer: Timer) -> bool:
        if len(self._hand_started) >= _MAX_HAND_STARTED:
            return False
        self._spawn(self._hand_started, timer.fire())
        return True

    def _add_queue(self, function: Function) -> None:
        trigger = function.trigger
        _refuse_unsupported(function)
        self._connections.check(trigger["connection"])
        queue = Queue(
            name=resolve(trigger["queueName"], self._environment),
            binary=str(trigger.get("dataType", "")).upper() == "BINARY",
            many=str(trigger.get("cardinality", "")).upper() == "MANY",
        )
        connect = partial(self._connections.open, trigger["connection"])
        self._pumps.append(QueuePump(self._worker, function, queue, connect, self._settings))

    @staticmethod
    def _spawn(tasks: set[asyncio.Task[None]], coroutine: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(coroutine)
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        task.add_done_callback(_report)


def _report(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and task.exception() is not None:
        _log.error("a trigger of the host ended", exc_info=task.exception())


def _refuse_unsupported(function: Function) -> None:
    trigger = function.trigger
    if "queueName" not in trigger:
        raise SettingError(f"{function.name}: topics are not supported here")
    if trigger.get("isSessionsEnabled"):
        raise SettingError(f"{function.name}: sessions are not supported here")
    if trigger.get("autoCompleteMessages") is False:
        raise SettingError(f"{function.name}: settlement by the function is not supported here")
