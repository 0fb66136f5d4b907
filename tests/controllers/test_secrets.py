"""What a log may hold: what happened and to whom, never a secret and never a whole body."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from controllers import api, inbox
from sandbox.memory_store import Hook, Stage, no_fault
from shared.core.model import Phase
from shared.errors import ForbiddenError
from tests.town import Town, alert_document, plan_document, settings

# Planted where a log must not repeat it: in keys, in tokens, and where bodies are not shown.
KEY, TOKEN, TAIL = "a2V5-planted-key", "eyJwbGFudGVkIjoxfQ", "planted-behind-what-is-shown"


@pytest.fixture
def town() -> Town:
    """A deployment whose connection strings hold a key."""
    made = Town()
    bus = f"Endpoint=sb://127.0.0.1;SharedAccessKeyName=n;SharedAccessKey={KEY}"
    tables = f"AccountName=a;AccountKey={KEY};TableEndpoint=http://127.0.0.1:1/a"
    made.world = replace(made.world, settings=settings(service_bus=bus, tables_connection=tables))
    return made


def shown(caplog: pytest.LogCaptureFixture) -> str:
    """Everything that a handler could write of the records, whatever its format."""
    formatter = logging.Formatter()
    parts: list[str] = []
    for record in caplog.records:
        parts += [record.getMessage(), repr(record.args), repr(record.__dict__)]
        parts += [formatter.formatException(record.exc_info)] if record.exc_info else []
    return "\n".join(parts)


def fails(method: str, error: Exception) -> Hook:
    async def hook(port: str, called: str, stage: Stage) -> None:
        if (called, stage) == (method, "before"):
            raise error

    return hook


def bodies() -> Iterator[tuple[str, bytes]]:
    """Messages nobody can use, each with something behind the first 80 characters of a value."""
    yield "commands", b"\xff" + b"x" * 100 + TAIL.encode()
    yield "commands", json.dumps({"action": "hold", "rollout": "x" * 200 + TAIL}).encode()
    yield "commands", json.dumps({"action": "hold", "plan": ["x" * 100, TAIL]}).encode()
    yield "commands", b"y" * 300_000 + TAIL.encode()
    plan = plan_document(evidence={"workspace": "x" * 90 + TAIL})
    yield "commands", json.dumps({"action": "start", "plan": plan}).encode()
    elsewhere = plan_document(profile=plan_document()["profile"].replace("/g/", "/other/"))
    start = {"action": "start", "plan": elsewhere, "reason": TAIL}
    yield "commands", json.dumps(start).encode()
    alert = alert_document()
    alert["data"]["essentials"]["alertId"] = ["x" * 90, TAIL]
    yield "alerts", json.dumps(alert).encode()


async def test_no_secret_and_no_whole_body_is_logged(
    town: Town, caplog: pytest.LogCaptureFixture
) -> None:
    """A day in which everything happens, read line by line at the most talkative level."""
    caplog.set_level(logging.DEBUG)
    receive = {"commands": inbox.receive_command, "alerts": inbox.receive_alert}
    for queue, body in bodies():
        await receive[queue](town.world, town.message(body))
    await town.start(name="refused-2.4", canary="purple")
    await town.start()
    await town.reach(Phase.BAKING, 1)
    town.world.telemetry.hook = fails("ask", RuntimeError("the judge stumbled"))
    await town.seconds(1)
    town.world.telemetry.hook = no_fault
    alert = alert_document(fired_s=town.world.clock.at_s)
    alert["data"]["essentials"] |= {"description": TAIL, "investigationLink": TAIL}
    alert["data"] |= {"alertContext": {"secret": TAIL}, "customProperties": {"k": TAIL}}
    await inbox.receive_alert(town.world, town.message(alert))
    town.world.store.hook = fails("load", KeyError("phase"))
    await inbox.receive_dead(
        town.world, town.message(b'{"action":"hold","rollout":"x"}'), "commands"
    )
    town.world.store.hook = no_fault
    town.world.doors["commands"].refusal = ForbiddenError("the token has expired", 401)
    assert (await api.post(town.world, "commands", f"Bearer {TOKEN}", b"{}"))[0] == 401
    assert (await api.resend(town.world, f"Bearer {TOKEN}", "0" * 64))[0] == 401

    text = shown(caplog)

    assert (await town.rollout()).phase is Phase.RETREATING
    assert len(await town.world.store.rejected()) == len(list(bodies())) + 2
    for told in ("rejected", "the judge stumbled", "cannot be handled", "no endpoint purple"):
        assert told in text
    for planted in (KEY, TOKEN, TAIL):
        assert planted not in text


@pytest.mark.parametrize(
    ("queue", "field"),
    [("commands", "action"), ("commands", "unknown"), ("alerts", "alertRule")],
)
async def test_a_senders_words_are_logged_cut(
    town: Town, caplog: pytest.LogCaptureFixture, queue: str, field: str
) -> None:
    """However long a name is, a line of the log is a line, and a short one."""
    caplog.set_level(logging.DEBUG)
    long = "x\n" + "y" * 5000 + TAIL
    command: dict[str, Any] = {"action": "hold", "rollout": "x"}
    command |= {long: 1} if field == "unknown" else {"action": long}
    alert = alert_document(rule=long)
    if queue == "commands":
        await inbox.receive_command(town.world, town.message(command))
    else:
        await inbox.receive_alert(town.world, town.message(alert))

    assert TAIL not in shown(caplog)


def test_the_settings_do_not_print_their_connection_strings(town: Town) -> None:
    """Whoever logs a world or a setting by mistake must not publish a key."""
    assert KEY not in repr(town.world.settings)
