"""The local Azure as one world: broker, ARM and logs and DNS, Tables, and the Functions host.

    async with LocalWorld() as world:
        await world.post("commands", {"action": "start", "plan": {...}})
        (await world.get("rollouts"))["rollouts"]

Rules: everything listens on loopback, on ports that were free; children end with us, however we
end; the host runs the real function_app.py and is told all it knows by environment variables; it
may be killed and started again while the rest lives on. Each part says what it does not prove.
"""

import asyncio
import json
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

import aiohttp
from azure.servicebus import ServiceBusMessage
from azure.servicebus.aio import ServiceBusClient, ServiceBusSender

from sandbox.azure import DEFAULT_WORKSPACE, LocalAzure, LocalOptions
from sandbox.azurite import Azurite
from sandbox.host.process import HostProcess
from sandbox.servicebus import Broker, QueueSpec
from sandbox.services import Telemetry

ROOT: Final = Path(__file__).resolve().parents[1]
LOCAL: Final = ROOT / ".local"
GROUP: Final = "/subscriptions/00000000-0000-0000-0000-000000000001/resourceGroups/local"
QUEUES: Final = ("commands", "alerts", "samples")
MAX_LOG_BYTES: Final = 20_000_000
_GET_S: Final = 10.0

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class WorldOptions:
    """How the world is set up. A row of telemetry can be seen `ingestion_delay_s` after its batch.

    `tick` is the timer's schedule, `lock_s` how long a message is locked for a host that died.
    """

    seed: int = 0
    ingestion_delay_s: float = 1.0
    tick: str = "* * * * * *"
    lock_s: float = 10.0
    log: Path = LOCAL / "host.log"


@dataclass(frozen=True, slots=True)
class ProfileSpec:
    """A weighted profile of two addresses; the canary's endpoint starts disabled."""

    name: str
    stable: str
    canary: str
    port: int
    ttl_s: int = 1
    stable_weight: int = 1000


class LocalWorld:
    """Runs while it is entered, the host included."""

    def __init__(self, options: WorldOptions | None = None) -> None:
        self.options = chosen = options or WorldOptions()
        self.broker = Broker([QueueSpec(name, lock_s=chosen.lock_s) for name in QUEUES])
        self.azure = LocalAzure(LocalOptions(seed=chosen.seed))
        self.azure.logs.ingestion_delay_s = chosen.ingestion_delay_s
        self.azurite = Azurite()
        self.telemetry = Telemetry(self.azure.logs, DEFAULT_WORKSPACE)
        self._host: HostProcess | None = None
        self._senders: dict[str, ServiceBusSender] = {}
        self._http: aiohttp.ClientSession | None = None
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        self.options.log.parent.mkdir(parents=True, exist_ok=True)
        self.options.log.write_text("", encoding="utf-8")
        async with AsyncExitStack() as stack:
            for part in (self.broker, self.azure, self.telemetry, self.azurite):
                await stack.enter_async_context(part)
            timeout = aiohttp.ClientTimeout(total=_GET_S)
            self._http = await stack.enter_async_context(aiohttp.ClientSession(timeout=timeout))
            stack.push_async_callback(self.kill_host)
            await asyncio.gather(self.start_host(), self._open_senders(stack))
            self._stack = stack.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    # --- the host

    @property
    def url(self) -> str:
        """Where the host answers HTTP; empty while there is none."""
        return self._host.url if self._host else ""

    async def start_host(self) -> None:
        """Start the Functions host and wait until its triggers run."""
        host = HostProcess(ROOT, self.environment(), self._log_line)
        await host.start()
        self._host = host

    async def kill_host(self, number: signal.Signals = signal.SIGKILL) -> None:
        """End the host by a signal, SIGKILL unless told otherwise, and wait until it is gone."""
        host, self._host = self._host, None
        if host is not None:
            await host.stop(number)

    async def restart_host(self) -> None:
        """Start the host again, killed first if it still runs."""
        await self.kill_host()
        await self.start_host()

    def environment(self) -> dict[str, str]:
        """The settings of this deployment, as the host gets them."""
        return {
            **self.azure.environment(),
            "ServiceBus": self.broker.connection_string,
            "COMMANDS_QUEUE": "commands",
            "ALERTS_QUEUE": "alerts",
            "SAMPLES_QUEUE": "samples",
            "TABLES_CONNECTION": self.azurite.connection_string,
            "ALLOWED_PROFILES": GROUP,
            "ALLOWED_WORKSPACES": DEFAULT_WORKSPACE,
            "TICK_SCHEDULE": self.options.tick,
            "STALE_AFTER_S": "10",
        }

    def _log_line(self, line: str) -> None:
        with self.options.log.open("a", encoding="utf-8") as log:
            if log.tell() < MAX_LOG_BYTES:
                log.write(f"{line}\n")

    # --- what people and pipelines do

    async def post(self, queue: str, body: Json) -> None:
        """Put one message on a queue with the Service Bus SDK; back when the broker has it."""
        await self._senders[queue].send_messages(ServiceBusMessage(json.dumps(body).encode()))

    async def get(self, path: str) -> Json:
        """What the host's HTTP API shows at /api/`path`. Raises ClientError, TimeoutError."""
        _, found = await self.call("GET", path)
        return found

    async def call(self, method: str, path: str, body: bytes = b"") -> tuple[int, Json]:
        """What the host answers to a request to /api/`path`, with its status."""
        if self._http is None or self._host is None:
            raise aiohttp.ClientConnectionError("the host does not run")
        async with self._http.request(method, f"{self.url}/api/{path}", data=body) as response:
            found: Json = await response.json()
            return response.status, found

    async def until(
        self, name: str, reached: Callable[[Json], bool], *, within_s: float = 60.0
    ) -> Json:
        """Look at a rollout until `reached`; AssertionError with what was seen last if never."""
        seen: Json = {}
        try:
            async with asyncio.timeout(within_s):
                while True:
                    seen = await self._look(name)
                    if "phase" in seen and reached(seen):
                        return seen
                    await asyncio.sleep(0.1)
        except TimeoutError:
            seen.pop("history", None)
            raise AssertionError(f"not within {within_s:g} s: {name} is {seen}") from None

    # --- profiles

    def create_profile(self, spec: ProfileSpec) -> str:
        """Create a profile in ARM as a pipeline would have; returns its resource id."""
        profile = profile_id(spec.name)
        external = "Microsoft.Network/trafficManagerProfiles/externalEndpoints"
        ends = (
            ("stable", {"target": spec.stable, "weight": spec.stable_weight}),
            ("canary", {"target": spec.canary, "weight": 1, "endpointStatus": "Disabled"}),
        )
        properties = {
            "trafficRoutingMethod": "Weighted",
            "recordType": "A",
            "dnsConfig": {"relativeName": spec.name, "ttl": spec.ttl_s},
            "monitorConfig": {"protocol": "HTTP", "port": spec.port, "path": "/health"},
            "endpoints": [
                {"name": name, "type": external, "properties": fields} for name, fields in ends
            ],
        }
        self.azure.traffic.put(profile, {"location": "global", "properties": properties})
        return profile

    def canary_share(self, name: str) -> float:
        """The canary's share of DNS answers (0..1) as written in ARM; 0 if there are none."""
        return self.azure.traffic.shares(profile_id(name)).get("canary", 0.0)

    # --- inside

    async def _open_senders(self, stack: AsyncExitStack) -> None:
        """Open the links now: the SDK takes half a second for each."""
        client = ServiceBusClient.from_connection_string(self.broker.connection_string)
        await stack.enter_async_context(client)
        senders = [client.get_queue_sender(name) for name in QUEUES]
        await asyncio.gather(*(stack.enter_async_context(sender) for sender in senders))
        self._senders = dict(zip(QUEUES, senders, strict=True))

    async def _look(self, name: str) -> Json:
        try:
            return await self.get(f"rollouts/{name}")
        except (aiohttp.ClientError, TimeoutError):
            return {}


def profile_id(name: str) -> str:
    """The resource id of a profile of the local Azure."""
    return f"{GROUP}/providers/Microsoft.Network/trafficManagerProfiles/{name}"
