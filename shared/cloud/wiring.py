"""The one place that builds the hands: settings in, a world of Azure out.

Nothing is dialled here: every client connects at its first call. azure-core's own retries and
redirects are off everywhere (tenacity owns retries), and every try has its timeouts. What is
plain and unencrypted is allowed for loopback hosts only (`loopback.py`), and anything that the
settings leave unclear is refused here, at the start, rather than at the first rollout.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from azure.core.pipeline.transport import AioHttpTransport
from azure.data.tables.aio import TableServiceClient
from azure.mgmt.trafficmanager.aio import TrafficManagerManagementClient
from azure.monitor.query.aio import LogsQueryClient
from azure.servicebus.aio import ServiceBusClient

from shared.cloud import loopback
from shared.cloud.blobs import BlobBodies, account_client
from shared.cloud.bus import Bus
from shared.cloud.entra import EntraDoor
from shared.cloud.identity import LazyIdentity
from shared.cloud.notices import LogNotices
from shared.cloud.shadow import HttpShadow
from shared.cloud.store import TableStore
from shared.cloud.telemetry import LogAnalytics
from shared.cloud.traffic import ArmTraffic
from shared.errors import RefusedError
from shared.ports import Door, World
from shared.settings import Settings

ARM_SCOPE = "https://management.azure.com/.default"
# The sender of an alert waits for its answer while Entra is asked for its keys.
KEYS_TIMEOUT_S = 5.0
LOGS_AUDIENCE = "https://api.loganalytics.io"


class SystemClock:
    """The controllers' time, from the machine."""

    def now_s(self) -> float:
        """Seconds since the epoch."""
        return time.time()

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        await asyncio.sleep(seconds)


class OpenDoor:
    """Lets in whoever the host let in."""

    async def admit(self, authorization: str | None) -> None:
        """Let the caller in."""


@dataclass(frozen=True, slots=True)
class AzureWorld(World):
    """The world as Azure has it."""

    closing: AsyncExitStack

    async def close(self) -> None:
        """Close every connection, the last opened first."""
        await self.closing.aclose()


def world(settings: Settings) -> AzureWorld:
    """The world of this deployment; the caller keeps it for the life of the process.

    Raises RefusedError when a setting is missing, unclear, or would send secrets in clear.
    """
    closing = AsyncExitStack()
    identity = LazyIdentity(settings.managed_identity_client_id)
    closing.push_async_callback(identity.close)
    traffic = _traffic(settings, identity, closing)
    return AzureWorld(
        settings=settings,
        store=_store(settings, identity, closing),
        traffic=traffic,
        telemetry=_telemetry(settings, identity, closing),
        notices=LogNotices(),
        clock=SystemClock(),
        replays=_replays(settings, traffic, closing),
        bodies=_bodies(settings, identity, closing),
        queues=_bus(settings, identity, closing),
        doors={
            "samples": _door(settings, settings.samples_roles),
            "commands": _door(settings, settings.commands_roles),
            "alerts": _door(settings, settings.alerts_roles),
        },
        closing=closing,
    )


@asynccontextmanager
async def only_bus(settings: Settings) -> AsyncIterator[Bus]:
    """The queues alone, for those who only post messages; closed at the end of the block."""
    async with AsyncExitStack() as closing:
        identity = LazyIdentity(settings.managed_identity_client_id)
        closing.push_async_callback(identity.close)
        yield _bus(settings, identity, closing)


def _bus(settings: Settings, identity: LazyIdentity, closing: AsyncExitStack) -> Bus:
    """The queues, by connection string or by namespace and identity, as Functions names them."""
    arguments = _bus_arguments(settings)

    def connect() -> ServiceBusClient:
        options: dict[str, Any] = {"retry_total": 1, "retry_backoff_factor": 0.1}
        if settings.service_bus:
            return ServiceBusClient.from_connection_string(settings.service_bus, **options)
        if settings.service_bus_namespace:
            namespace = settings.service_bus_namespace
            return ServiceBusClient(namespace, identity, **arguments, **options)
        raise RefusedError(
            "no Service Bus is configured: set ServiceBus__fullyQualifiedNamespace"
            " or, for development, ServiceBus"
        )

    made = Bus(connect, timeout_s=settings.call_timeout_s, max_bytes=settings.max_message_bytes)
    closing.push_async_callback(made.close)
    return made


def _replays(settings: Settings, traffic: ArmTraffic, closing: AsyncExitStack) -> HttpShadow:
    made = HttpShadow(traffic, concurrent=settings.shadow_concurrency, per_s=settings.shadow_per_s)
    closing.push_async_callback(made.close)
    return made


def _bodies(settings: Settings, identity: LazyIdentity, closing: AsyncExitStack) -> BlobBodies:
    if settings.blobs_connection:
        loopback.check_storage(settings.blobs_connection)
    connect = partial(
        account_client,
        identity=identity,
        connection=settings.blobs_connection,
        permit_redirects=False,
        **_once(settings),
    )
    made = BlobBodies(settings.allowed_blobs, connect, timeout_s=settings.call_timeout_s)
    closing.push_async_callback(made.close)
    return made


def _door(settings: Settings, roles: tuple[str, ...]) -> Door:
    """Without a tenant the function key, which the host has checked, is all that is asked for."""
    if not settings.entra_tenant:
        if settings.entra_audiences:
            raise RefusedError("ENTRA_AUDIENCES is set, but ENTRA_TENANT is not")
        return OpenDoor()
    return EntraDoor.of(
        settings.entra_tenant,
        settings.entra_audiences,
        frozenset(roles),
        settings.entra_authority,
        min(settings.call_timeout_s, KEYS_TIMEOUT_S),
    )


def _bus_arguments(settings: Settings) -> dict[str, Any]:
    """Check the bus settings; `use_tls=False` comes from here and from nowhere else."""
    if settings.service_bus:
        loopback.check_bus(settings.service_bus)
        return {}
    namespace = settings.service_bus_namespace
    if not namespace:
        return {}
    host = loopback.host_of(namespace, "ServiceBus__fullyQualifiedNamespace")
    return {"use_tls": False} if loopback.names_this_machine(host) else {}


def _store(settings: Settings, identity: LazyIdentity, closing: AsyncExitStack) -> TableStore:
    client = _tables(settings, identity)
    made = TableStore(client, settings.tables_prefix, settings.call_timeout_s)
    closing.push_async_callback(made.close)
    return made


def _tables(settings: Settings, identity: LazyIdentity) -> TableServiceClient:
    """The one path that differs on a laptop: the SDK takes no token over http."""
    options = _once(settings)
    if settings.tables_connection:
        loopback.check_storage(settings.tables_connection)
        return _tables_by_key(settings.tables_connection, options)
    if not settings.tables_endpoint:
        raise RefusedError(
            "no state store is configured: set TABLES_ENDPOINT or, for development,"
            " TABLES_CONNECTION"
        )
    if loopback.is_loopback(settings.tables_endpoint, "TABLES_ENDPOINT"):
        raise RefusedError("TABLES_ENDPOINT must be https://; use TABLES_CONNECTION for loopback")
    return TableServiceClient(settings.tables_endpoint, credential=identity, **options)


def _tables_by_key(connection: str, options: dict[str, Any]) -> TableServiceClient:
    try:
        return TableServiceClient.from_connection_string(connection, **options)
    except ValueError as error:
        raise RefusedError("TABLES_CONNECTION lacks an account name or key") from error


def _traffic(settings: Settings, identity: LazyIdentity, closing: AsyncExitStack) -> ArmTraffic:
    """One client per subscription over one pool of connections."""
    endpoint = settings.arm_endpoint.rstrip("/")
    local = loopback.is_loopback(endpoint, "ARM_ENDPOINT")
    transport = AioHttpTransport(use_env_settings=not local)
    closing.push_async_callback(transport.close)

    def connect(subscription: str) -> TrafficManagerManagementClient:
        return TrafficManagerManagementClient(
            identity,
            subscription,
            base_url=endpoint,
            credential_scopes=[ARM_SCOPE if local else f"{endpoint}/.default"],
            transport=transport,
            **_http(settings, local=local),
        )

    return ArmTraffic(connect, timeout_s=settings.call_timeout_s)


def _telemetry(settings: Settings, identity: LazyIdentity, closing: AsyncExitStack) -> LogAnalytics:
    endpoint = settings.logs_endpoint.rstrip("/")
    local = loopback.is_loopback(endpoint, "LOGS_ENDPOINT")
    client = LogsQueryClient(
        identity,
        endpoint=endpoint,
        audience=LOGS_AUDIENCE if local else endpoint,
        transport=AioHttpTransport(use_env_settings=not local),
        **_http(settings, local=local),
    )
    closing.push_async_callback(client.close)
    made = LogAnalytics(client, timeout_s=settings.call_timeout_s)
    closing.push_async_callback(made.close)
    return made


def _http(settings: Settings, *, local: bool) -> dict[str, Any]:
    """Options of every HTTP client with a token."""
    policies = [loopback.LoopbackHttp()] if local else []
    return {"per_call_policies": policies, "permit_redirects": False, **_once(settings)}


def _once(settings: Settings) -> dict[str, Any]:
    """One try, with timeouts: retries have one owner, and it is not the SDK."""
    timeout_s = settings.call_timeout_s
    return {"retry_total": 0, "connection_timeout": timeout_s, "read_timeout": timeout_s}
