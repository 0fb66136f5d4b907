"""The Service Bus trigger: what the .NET host does around one queue, with the real aio client.

Peek-lock; complete when the function returned, abandon when it failed (at once available again,
as in Azure); locks renewed while it runs, up to a limit, by the SDK's AutoLockRenewer, which looks
once a second and so is too late for locks under 3 s; so many at a time and no more. A lost link is
reported once per outage and tried again with growing, bounded waits.
What it does not prove: how Azure scales, prefetches or spreads messages over instances.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from azure.servicebus import ServiceBusReceivedMessage
from azure.servicebus.aio import AutoLockRenewer, ServiceBusClient, ServiceBusReceiver

from sandbox.host import metadata
from sandbox.host.settings import HostSettings
from sandbox.host.worker import Function, Outcome, Worker

_log = logging.getLogger("host.servicebus")
_WAIT_S = 1.0  # how long one receive may block, and so a stop; also what a mended link may take
_FIRST_PAUSE_S = 0.2
_LONGEST_PAUSE_S = 5.0


@dataclass(frozen=True, slots=True)
class Queue:
    """What one trigger listens to, and how its input is made."""

    name: str
    binary: bool
    many: bool


@dataclass(frozen=True, slots=True)
class _Link:
    receiver: ServiceBusReceiver
    parts: tuple[ServiceBusReceiver | ServiceBusClient | AutoLockRenewer, ...]

    async def close(self) -> None:
        for part in self.parts:
            try:
                await part.close()
            except Exception as error:  # noqa: BLE001  # a broken link may fail to close
                _log.debug("closing: %s", error)


class QueuePump:
    """Feeds one function from one queue until it is stopped."""

    def __init__(
        self,
        worker: Worker,
        function: Function,
        queue: Queue,
        connect: Callable[[], Awaitable[ServiceBusClient]],
        settings: HostSettings,
    ) -> None:
        self._worker = worker
        self._function = function
        self._queue = queue
        self._connect = connect
        self._settings = settings
        # A batch is one call; the real host runs one batch of a queue at a time.
        self._free = asyncio.Semaphore(1 if queue.many else settings.max_concurrent_calls)
        self._stopping = asyncio.Event()
        self._running: set[asyncio.Task[None]] = set()
        self._link: _Link | None = None
        self._failures = 0

    def stop(self) -> None:
        """Take no more messages; `run` ends when those in hand are settled."""
        self._stopping.set()

    async def run(self) -> None:
        """Receive and deliver until stopped. Cancelling it drops what is in hand: locks run out."""
        try:
            while not self._stopping.is_set():
                await self._round()
            if self._running:
                await asyncio.wait(self._running)
        finally:
            for task in self._running:
                task.cancel()
            await self._drop_link()

    async def _round(self) -> None:
        await self._free.acquire()
        try:
            link = await self._open_link()
            messages = await link.receiver.receive_messages(
                max_message_count=self._settings.max_batch if self._queue.many else 1,
                max_wait_time=_WAIT_S,
            )
        except Exception as error:  # noqa: BLE001  # whatever the client raises, we reconnect
            self._free.release()
            await self._outage(error)
            return
        self._recovered()
        if not messages:
            self._free.release()
            return
        task = asyncio.create_task(self._deliver(link.receiver, messages))
        self._running.add(task)
        task.add_done_callback(self._delivered)

    def _delivered(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._free.release()

    async def _deliver(
        self, receiver: ServiceBusReceiver, messages: Sequence[ServiceBusReceivedMessage]
    ) -> None:
        outcome = await self._invoke(messages)
        settle = receiver.abandon_message if outcome.error else receiver.complete_message
        for message in messages:
            try:
                await settle(message)
            except Exception as error:  # noqa: BLE001  # the lock runs out and it comes again
                _log.warning(
                    "%s: message %s is not settled and will come again: %s",
                    self._queue.name,
                    message.message_id,
                    error,
                )

    async def _invoke(self, messages: Sequence[ServiceBusReceivedMessage]) -> Outcome:
        binary = self._queue.binary
        try:
            if self._queue.many:
                data, facts = metadata.batch(messages, binary=binary)
            else:
                data, facts = metadata.single(messages[0], binary=binary)
        except ValueError as error:
            _log.error("%s: no call: %s", self._function.name, error)
            return Outcome(error=str(error))
        return await self._worker.invoke(self._function, data, facts)

    async def _open_link(self) -> _Link:
        if self._link is None:
            client = await self._connect()
            renewer = AutoLockRenewer(max_lock_renewal_duration=self._settings.lock_renewal_s)
            receiver = client.get_queue_receiver(
                self._queue.name,
                auto_lock_renewer=renewer,
                prefetch_count=self._settings.prefetch,
            )
            self._link = _Link(receiver, (renewer, receiver, client))
            # Entering attaches the link in its own time; left to the first receive it would have
            # to fit into that one's wait.
            await receiver.__aenter__()
        return self._link

    async def _drop_link(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            await link.close()

    async def _outage(self, error: Exception) -> None:
        if self._failures == 0:
            _log.warning("%s: no link to Service Bus, trying on: %s", self._queue.name, error)
        self._failures += 1
        # While calls are running their settlement needs this receiver, which can mend itself.
        if not self._running:
            await self._drop_link()
        pause_s = min(_FIRST_PAUSE_S * 2 ** min(self._failures, 10), _LONGEST_PAUSE_S)
        try:
            async with asyncio.timeout(pause_s):
                await self._stopping.wait()
        except TimeoutError:
            return

    def _recovered(self) -> None:
        if self._failures:
            _log.info("%s: linked again after %d tries", self._queue.name, self._failures)
            self._failures = 0
