"""The wiring: what it builds, what it refuses to build, and what it never does."""

import logging
import socket
import subprocess
import sys
from typing import Any

import pytest

from sandbox.azure import LocalAzure
from sandbox.servicebus import Broker, QueueSpec
from shared.cloud import loopback, wiring
from shared.cloud.notices import LogNotices
from shared.core.telemetry import Sight
from shared.errors import RefusedError
from shared.ports import World
from shared.settings import Settings
from tests.contracts.shop import PROFILE, profile, settings, wired

DEVELOPMENT: dict[str, Any] = {"tables_connection": "UseDevelopmentStorage=true"}


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1",
        "http://127.0.0.1:7080",
        "http://127.8.9.10:1/path",
        "http://[::1]:80",
        "http://localhost:7080",
        "HTTP://LocalHost",
    ],
)
def test_plain_http_is_for_this_machine(endpoint: str) -> None:
    """A stand-in on the loopback interface may have a token in clear."""
    assert loopback.is_loopback(endpoint, "X")


@pytest.mark.parametrize(
    "endpoint",
    ["https://management.azure.com", "https://127.0.0.1:8443", "https://api.loganalytics.io/v1"],
)
def test_https_needs_no_exception(endpoint: str) -> None:
    """Whatever the host is, https gets no policy that weakens it."""
    assert not loopback.is_loopback(endpoint, "X")


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://management.azure.com",
        "http://127.0.0.1.evil.example",
        "http://localhost.evil.example",
        "http://localhost@evil.example",
        "http://127.0.0.1:80@evil.example",
        "http://user:secret@127.0.0.1",
        "http://evil.example#@127.0.0.1",
        "http://evil.example?127.0.0.1",
        "http://127.0.0.1\\@evil.example",
        "http://127.0.0.1\\.evil.example",
        "http://127.0.0.1\t.evil.example",
        "http://[::1].evil.example",
        "http://[::2]",
        "http://[fe80::1%25lo]",
        "http://[::ffff:8.8.8.8]",
        "http://0.0.0.0",
        "http://127.1",
        "http://2130706433",
        "http://0x7f000001",
        "http://localhost.",
        "http://127.0.0.1:99999",
        "http://",
        "//127.0.0.1",
        "ftp://127.0.0.1",
        "127.0.0.1",
        "localhost:80",
        "https://user@management.azure.com",
        "https://",
    ],
)
@pytest.mark.parametrize("setting", ["arm_endpoint", "logs_endpoint", "tables_endpoint"])
async def test_any_other_address_is_refused_at_construction(setting: str, endpoint: str) -> None:
    """No token ever goes out in clear; the error names the setting."""
    given: dict[str, Any] = DEVELOPMENT if setting != "tables_endpoint" else {}
    with pytest.raises(RefusedError, match=setting.upper()):
        wiring.world(Settings(**(given | {setting: endpoint})))


@pytest.mark.parametrize(
    "connection",
    [
        "UseDevelopmentStorage=true",
        "usedevelopmentstorage=TRUE",
        "AccountName=a;AccountKey=a2V5;TableEndpoint=http://127.0.0.1:10002/a",
        "AccountName=a;AccountKey=a2V5;TableEndpoint=http://localhost:10002/a;",
    ],
)
async def test_a_storage_key_is_for_development_storage(connection: str) -> None:
    """A connection string to storage on this machine makes a world."""
    world = wiring.world(Settings(tables_connection=connection))
    await world.close()


@pytest.mark.parametrize(
    "connection",
    [
        "AccountName=a;AccountKey=a2V5;EndpointSuffix=core.windows.net",
        "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=a2V5",
        "AccountName=a;AccountKey=a2V5;TableEndpoint=https://a.table.core.windows.net",
        "AccountName=a;AccountKey=a2V5;TableEndpoint=http://127.0.0.1.evil.example/a",
        "TableEndpoint=http://127.0.0.1/a;TableEndpoint=http://evil.example/a;AccountName=a",
        "TableEndpoint=http://127.0.0.1/a;TableSecondaryEndpoint=http://evil.example/a",
        "UseDevelopmentStorage=true;DevelopmentStorageProxyUri=http://evil.example",
        "UseDevelopmentStorage=true;",
        "AccountName=a;TableEndpoint=http://127.0.0.1/a",
        "nonsense",
    ],
)
async def test_any_other_storage_connection_is_refused(connection: str) -> None:
    """Keys of real storage have no place in the settings; the identity is used there."""
    with pytest.raises(RefusedError, match="TABLES_CONNECTION") as error:
        wiring.world(Settings(tables_connection=connection))
    assert "a2V5" not in str(error.value)


async def test_tables_take_the_identity_over_https() -> None:
    """As in Azure: an endpoint, no key."""
    world = wiring.world(Settings(tables_endpoint="https://a.table.core.windows.net"))
    await world.close()


@pytest.mark.parametrize("endpoint", ["", "http://127.0.0.1:10002/a"])
async def test_without_a_usable_store_there_is_no_world(endpoint: str) -> None:
    """It is said at the start and with the settings to set."""
    with pytest.raises(RefusedError, match="TABLES_CONNECTION"):
        wiring.world(Settings(tables_endpoint=endpoint))


KEY = "SharedAccessKeyName=n;SharedAccessKey=a2V5"


@pytest.mark.parametrize(
    "given",
    [
        {"service_bus": f"Endpoint=sb://127.0.0.1:5672;{KEY};UseDevelopmentEmulator=true"},
        {"service_bus": f"Endpoint=sb://[::1]:5672/;{KEY};UseDevelopmentEmulator=true"},
        {"service_bus": f"Endpoint=sb://shop.servicebus.windows.net/;{KEY}"},
        {"service_bus_namespace": "shop.servicebus.windows.net"},
        {"service_bus_namespace": "127.0.0.1:5672"},
        {},
    ],
)
async def test_a_bus_is_local_and_plain_or_remote_and_encrypted(given: dict[str, Any]) -> None:
    """The emulator's switch beside a loopback endpoint is fine, and so is TLS anywhere."""
    async with wiring.only_bus(Settings(**given)):
        pass


@pytest.mark.parametrize(
    "given",
    [
        {
            "service_bus": f"Endpoint=sb://shop.servicebus.windows.net;{KEY}"
            ";UseDevelopmentEmulator=true"
        },
        {"service_bus": f"Endpoint=sb://127.0.0.1.evil.example;{KEY};usedevelopmentemulator=true"},
        {"service_bus": f"Endpoint=sb://127.0.0.1@evil.example;{KEY};UseDevelopmentEmulator=true"},
        {
            "service_bus": f"Endpoint=sb://127.0.0.1;HostName=evil.example;{KEY}"
            ";UseDevelopmentEmulator=true"
        },
        {"service_bus": "nonsense"},
        {"service_bus": KEY},
        {"service_bus_namespace": "127.0.0.1@evil.example"},
        {"service_bus_namespace": "shop.servicebus.windows.net/path"},
        {"service_bus_namespace": "shop?x"},
    ],
)
async def test_a_bus_that_would_talk_in_clear_is_refused(given: dict[str, Any]) -> None:
    """TLS is off for loopback hosts and nowhere else."""
    with pytest.raises(RefusedError, match="ServiceBus") as error:
        wiring.world(Settings(**(DEVELOPMENT | given)))
    assert "a2V5" not in str(error.value)


def test_the_bus_is_named_as_functions_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """One setting serves the triggers and our own client."""
    monkeypatch.setenv("ServiceBus", "Endpoint=sb://x")
    monkeypatch.setenv("ServiceBus__fullyQualifiedNamespace", "shop.servicebus.windows.net")
    read = Settings()
    assert read.service_bus == "Endpoint=sb://x"
    assert read.service_bus_namespace == "shop.servicebus.windows.net"


async def test_nothing_is_dialled_and_nobody_identified_at_construction(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A cold start costs no round trip, and a deployment without network still starts."""

    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("something was dialled")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket.socket, "connect_ex", refuse)
    world = wiring.world(Settings(**DEVELOPMENT, service_bus_namespace="a.example"))
    assert isinstance(world, World)
    await world.close()


def test_azure_identity_is_not_imported_before_the_first_token() -> None:
    """It is the heaviest import of all, and most cold starts never need it at once."""
    code = (
        "import sys, shared.cloud.identity as i; i.LazyIdentity('');"
        "sys.exit(any(m.startswith('azure.identity') for m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, timeout=30)
    assert done.returncode == 0


async def test_the_world_works_with_the_managed_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tokens are asked for the right audience and accepted: by ARM, logs and the bus."""
    async with LocalAzure() as azure:
        azure.traffic.put(PROFILE, profile())

        def accepts(token: str) -> bool:
            return azure.identity.accepts(token, "https://servicebus.azure.net")

        async with Broker([QueueSpec("commands")], accepts_token=accepts) as broker:
            given = settings(azure, monkeypatch, service_bus_namespace=broker.address)
            async with wired(given) as world:
                assert (await world.traffic.see(PROFILE)).sight is Sight.SEEN
                await world.queues.send("commands", b"x", "m-1")


async def test_the_clock_is_the_machine_s() -> None:
    """Seconds since the epoch, and a sleep that ends."""
    clock = wiring.SystemClock()
    before = clock.now_s()
    await clock.sleep(0)
    assert before > 1_700_000_000
    assert clock.now_s() >= before


async def test_a_notice_is_one_record_with_its_rollout(caplog: pytest.LogCaptureFixture) -> None:
    """Whatever the sentence holds, it is one line, and the name is a field to query by."""
    with caplog.at_level(logging.INFO, "linnet.rollouts"):
        await LogNotices().tell("shop-2.4", "held\nby %s ann")
    (record,) = caplog.records
    assert record.getMessage() == "shop-2.4: held by %s ann"
    assert record.__dict__["rollout"] == "shop-2.4"
