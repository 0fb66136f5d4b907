"""The Service Bus pump against a receiver that can be made to fail."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import pytest
from azure.servicebus.amqp import AmqpMessageBodyType
from azure.servicebus.exceptions import ServiceBusConnectionError

from sandbox.host import pump as pump_module
from sandbox.host.pump import Queue, QueuePump
from sandbox.host.settings import HostSettings
from sandbox.host.worker import Function, Outcome

_ABSENT = (
    "application_properties dead_letter_source reply_to to reply_to_session_id content_type "
    "subject correlation_id session_id partition_key expires_at_utc"
)


class _Message:
    def __init__(self, body: bytes) -> None:
        self.__dict__.update(dict.fromkeys(_ABSENT.split()))
        self.body_type = AmqpMessageBodyType.DATA
        self.body = [body]
        self.delivery_count = 0
        self.lock_token = uuid4()
        self.enqueued_time_utc = datetime.now(UTC)
        self.message_id = body.decode("latin-1")
        self.sequence_number = 1


class _Bus:
    """Client and receiver in one; what is put in `arriving` is received or raised."""

    def __init__(self) -> None:
        self.arriving: asyncio.Queue[_Message | Exception] = asyncio.Queue()
        self.settled: list[tuple[str, str]] = []
        self.opened = 0
        self.closed = 0
        self.settles = True

    async def connect(self) -> Any:
        self.opened += 1
        return self

    def get_queue_receiver(self, name: str, **options: Any) -> Any:
        return self

    async def __aenter__(self) -> Any:
        return self

    async def receive_messages(
        self, max_message_count: int, max_wait_time: float
    ) -> list[_Message]:
        try:
            async with asyncio.timeout(0.05):
                got = [await self.arriving.get()]
        except TimeoutError:
            return []
        while len(got) < max_message_count and not self.arriving.empty():
            got.append(self.arriving.get_nowait())
        for item in got:
            if isinstance(item, Exception):
                raise item
        return [item for item in got if isinstance(item, _Message)]

    async def complete_message(self, message: _Message) -> None:
        await self._settle("completed", message)

    async def abandon_message(self, message: _Message) -> None:
        await self._settle("abandoned", message)

    async def _settle(self, how: str, message: _Message) -> None:
        if not self.settles:
            raise ServiceBusConnectionError(message="gone")
        self.settled.append((how, message.message_id))

    async def close(self) -> None:
        self.closed += 1

    def send(self, *bodies: bytes) -> None:
        for body in bodies:
            self.arriving.put_nowait(_Message(body))


class _Worker:
    """Fails messages that start with `bad`, holds those that start with `wait`."""

    def __init__(self) -> None:
        self.calls: list[bytes] = []
        self.running = 0
        self.most_running = 0
        self.go_on = asyncio.Event()

    async def invoke(self, function: Function, data: Any, facts: Any) -> Outcome:
        body = data.bytes or b",".join(data.collection_bytes.bytes)
        self.calls.append(body)
        self.running += 1
        self.most_running = max(self.running, self.most_running)
        if body.startswith(b"wait"):
            await self.go_on.wait()
        await asyncio.sleep(0)
        self.running -= 1
        return Outcome(error="ValueError: bad" if body.startswith(b"bad") else None)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not condition():
            await asyncio.sleep(0.005)


@asynccontextmanager
async def _pumping(
    bus: _Bus, worker: Any, *, many: bool = False, binary: bool = True, calls: int = 16
) -> AsyncIterator[QueuePump]:
    pump = QueuePump(
        worker,
        Function("commands", "id", ()),
        Queue("orders", binary=binary, many=many),
        bus.connect,
        HostSettings(max_concurrent_calls=calls),
    )
    running = asyncio.create_task(pump.run())
    try:
        yield pump
    finally:
        pump.stop()
        worker.go_on.set()
        await running


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pump_module, "_FIRST_PAUSE_S", 0.001)


async def test_success_completes_and_failure_abandons() -> None:
    bus = _Bus()
    async with _pumping(bus, _Worker()):
        bus.send(b"good", b"bad")
        await _until(lambda: len(bus.settled) == 2)
    assert sorted(bus.settled) == [("abandoned", "bad"), ("completed", "good")]
    assert (bus.opened, bus.closed) == (1, 2)  # one link, its receiver and its client closed


async def test_no_more_run_at_once_than_host_json_allows() -> None:
    bus, worker = _Bus(), _Worker()
    async with _pumping(bus, worker, calls=2):
        bus.send(b"wait1", b"wait2", b"wait3")
        await _until(lambda: worker.running == 2)
        await asyncio.sleep(0.02)
        assert len(worker.calls) == 2
        worker.go_on.set()
        await _until(lambda: len(bus.settled) == 3)
    assert worker.most_running == 2


async def test_a_batch_is_one_call_settled_message_by_message() -> None:
    bus, worker = _Bus(), _Worker()
    bus.send(b"a", b"b", b"c")
    async with _pumping(bus, worker, many=True):
        await _until(lambda: len(bus.settled) == 3)
    assert worker.calls == [b"a,b,c"]


async def test_a_stop_lets_what_is_in_hand_finish() -> None:
    bus, worker = _Bus(), _Worker()
    async with _pumping(bus, worker) as pump:
        bus.send(b"wait")
        await _until(lambda: worker.running == 1)
        pump.stop()
    assert bus.settled == [("completed", "wait")]


async def test_an_outage_is_told_once_and_mended(caplog: pytest.LogCaptureFixture) -> None:
    """Three failures are one warning; the next message is delivered on a new link."""
    caplog.set_level(logging.INFO, "host")
    bus = _Bus()
    for error in (ServiceBusConnectionError(message="down"), OSError("down"), ValueError("odd")):
        bus.arriving.put_nowait(error)
    async with _pumping(bus, _Worker()):
        bus.send(b"good")
        await _until(lambda: bus.settled == [("completed", "good")])
    assert bus.opened == 4
    told = [record.getMessage() for record in caplog.records if record.name == "host.servicebus"]
    assert told == [
        "orders: no link to Service Bus, trying on: down",
        "orders: linked again after 3 tries",
    ]


async def test_a_settlement_that_fails_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    bus = _Bus()
    async with _pumping(bus, _Worker()):
        bus.settles = False
        bus.send(b"lost")
        await _until(lambda: "lost is not settled" in caplog.text)
        bus.settles = True
        bus.send(b"good")
        await _until(lambda: bus.settled == [("completed", "good")])


async def test_a_body_that_is_no_text_is_abandoned_without_a_call() -> None:
    bus, worker = _Bus(), _Worker()
    async with _pumping(bus, worker, binary=False):
        bus.send(b"\xff")
        await _until(lambda: bool(bus.settled))
    assert (bus.settled[0][0], worker.calls) == ("abandoned", [])
