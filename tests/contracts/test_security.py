"""What docs/security.md claims of the wires: what leaves the process, and who is let in."""

import asyncio
import logging
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import web
from azure.functions.servicebus import ServiceBusMessage

import function_app
from controllers import api
from sandbox.azure import LocalAzure, LocalOptions
from sandbox.entra import AUDIENCE, ROLE, TENANT, AppToken
from sandbox.faults import Fault, Kind
from sandbox.servicebus import Broker, QueueSpec
from shared.cloud import wiring
from shared.cloud.probe import Check, perform
from shared.core.model import Arm, EndpointSeen
from shared.core.telemetry import Sight
from shared.core.weights import Write
from shared.errors import ForbiddenError, LinnetError, UnreachableError
from shared.ports import World
from shared.settings import Settings
from tests.contracts.doors import running, serving
from tests.contracts.shop import PROFILE, WORKSPACE, profile, question, settings, wired

KEY = "cGxhbnRlZC1rZXk="
NOWHERE = "http://127.0.0.1:9/a"
GREEN = EndpointSeen("green", "ExternalEndpoints", "green.example", 1, enabled=False, health="")
FALL = Write("canary", Arm(1, enabled=False))


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def azure() -> AsyncIterator[LocalAzure]:
    async with LocalAzure(LocalOptions(workspaces=(WORKSPACE,))) as local:
        local.traffic.put(PROFILE, profile())
        yield local


async def said(world: World, token: str) -> list[str]:
    """What every port answers on a bad day, as people get to see it."""
    outcomes = await asyncio.gather(
        world.traffic.see(PROFILE),
        world.traffic.probe(PROFILE, "green"),
        world.traffic.write(PROFILE, GREEN, FALL),
        world.telemetry.ask(question()),
        world.store.load("shop-2.4"),
        world.doors["commands"].admit(f"Bearer {token}"),
        api.health(world),
        return_exceptions=True,
    )
    causes = [each.__cause__ for each in outcomes if isinstance(each, BaseException)]
    assert any(isinstance(each, LinnetError) for each in outcomes)
    return [repr(each) for each in (*outcomes, *causes)]


async def turned_away(bus: str) -> str:
    """What a broker that does not know the key leads to."""
    async with wiring.only_bus(Settings(service_bus=bus, call_timeout_s=5)) as wrong:
        with pytest.raises(UnreachableError) as caught:
            await wrong.send("commands", b"x", "m-1")
    return f"{caught.value!r} {caught.value.__cause__!r}"


def remembered_tokens(azure: LocalAzure, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Fills with every token that the identity issues from now on."""
    issued: list[str] = []
    issue = azure.identity.issue

    def remembered(resource: str, client_id: str = "") -> object:
        token, grant = issue(resource, client_id)
        issued.append(token)
        return token, grant

    monkeypatch.setattr(azure.identity, "issue", remembered)
    return issued


async def test_no_secret_of_a_wire_is_logged_or_answered(
    azure: LocalAzure, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Tokens, account keys and the identity's header, with every service failing in turn.

    Everything is logged that this deployment logs: the SDK's own loggers from warnings on.
    """
    assert not logging.getLogger("azure").isEnabledFor(logging.INFO), function_app.__name__
    caplog.set_level(logging.DEBUG)
    issued = remembered_tokens(azure, monkeypatch)
    tables = f"AccountName=a;AccountKey={KEY};TableEndpoint={NOWHERE}"
    app_token = azure.entra.issue(AppToken(roles=("Reader",)))
    async with Broker([QueueSpec("commands")]) as broker:
        bus = broker.connection_string.replace(broker.gate.key, KEY)
        given = settings(
            azure,
            monkeypatch,
            call_timeout_s=0.5,
            tables_connection=tables,
            entra_tenant=TENANT,
            entra_audiences=(AUDIENCE,),
            entra_authority=azure.base_url,
        )
        at_the_broker = asyncio.create_task(turned_away(bus))
        words: list[str] = []
        async with wired(given) as world:
            words += await said(world, app_token)
            for kind in (Kind.APPLY_THEN_FAIL, Kind.RESET):
                azure.faults.arm(Fault("trafficmanagerprofiles|/query", kind, times=20, status=401))
                words += await said(world, app_token)
                azure.faults.clear()
        azure.faults.arm(Fault("/msi/token", Kind.STATUS, times=20, status=400))
        async with wired(given) as world:
            words += await said(world, app_token)
        azure.faults.clear()
        words.append(await at_the_broker)

    text = "\n".join([caplog.text, *(repr(each.__dict__) for each in caplog.records), *words])
    assert len(issued) > 1
    assert caplog.records
    assert "does not carry the app role" in text
    for secret in (KEY, azure.identity.header_secret, app_token, *issued):
        assert secret not in text
        assert secret.rpartition(".")[2] not in text
    assert "SharedAccessSignature" not in text


async def test_a_redirect_takes_no_token_elsewhere(
    azure: LocalAzure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither ARM nor Log Analytics can send our token to another host."""
    heard: list[str] = []

    async def elsewhere(request: web.Request) -> web.Response:
        heard.append(request.path)
        return web.json_response({})

    asked: list[str] = []
    site = web.Application()
    async with serving(elsewhere) as other:

        async def redirect(request: web.Request) -> web.Response:
            asked.append(request.method)
            return web.Response(status=307, headers={"Location": f"{other}{request.path}"})

        site.router.add_route("*", "/{path:.*}", redirect)
        async with running(site) as address:
            changes = {"arm_endpoint": address, "logs_endpoint": address}
            async with wired(settings(azure, monkeypatch, **changes)) as world:
                seen = await world.traffic.see(PROFILE)
                answer = await world.telemetry.ask(question())

    assert asked == ["GET", "POST"]
    assert "307" in seen.reason
    assert answer.sight is Sight.FAILED
    assert not heard


async def test_an_app_role_opens_its_own_door_only(
    azure: LocalAzure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who may send alerts may not send commands, nor the other way round."""
    given = settings(
        azure,
        monkeypatch,
        entra_tenant=TENANT,
        entra_audiences=(AUDIENCE,),
        entra_authority=azure.base_url,
    )
    doors = {ROLE: "alerts", "Linnet.Operate": "commands"}
    async with wired(given) as world:
        for role, own in doors.items():
            shown = f"Bearer {azure.entra.issue(AppToken(roles=(role,)))}"
            await world.doors[own].admit(shown)
            [other] = set(doors.values()) - {own}
            with pytest.raises(ForbiddenError, match="app role"):
                await world.doors[other].admit(shown)


async def test_a_probe_reads_no_body_and_keeps_its_time() -> None:
    """A canary that never stops talking, or never begins, costs what a healthy one costs."""
    sent = 0

    async def endless(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        if request.path == "/silent":
            await asyncio.sleep(5)
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * 65_536)
            sent += 65_536

    async with serving(endless) as address:
        port = int(address.rpartition(":")[2])
        talking = await perform(Check("HTTP", "127.0.0.1", port, "/", timeout_s=5))
        silent = await perform(Check("HTTP", "127.0.0.1", port, "/silent", timeout_s=0.2))

    assert (talking.healthy, talking.reason) == (True, "/ answered 200")
    assert sent < 16 * 1024 * 1024
    assert (silent.healthy, silent.reason) == (False, "no answer within 0.2 s")


def test_a_fresh_deployment_may_touch_nothing() -> None:
    """What no setting allows is refused, and there is no pattern that allows it all."""
    for nothing in ("", " ", ",", "*", "/subscriptions/*", PROFILE[:-1], f"x{PROFILE}"):
        given = Settings(allowed_profiles=nothing, allowed_workspaces=nothing)
        assert not given.allows_profile(PROFILE)
        assert not given.allows_workspace(WORKSPACE)


def test_two_queues_may_use_one_id() -> None:
    """Senders who number their messages do not meet, nor does a body say which it is."""
    told = ServiceBusMessage(
        body=b'{"messageId": "9"}', message_id="7", application_properties={}, user_properties={}
    )
    assert function_app.message("commands", told).id == "commands/7"
    assert function_app.message("alerts", told).id == "alerts/7"
