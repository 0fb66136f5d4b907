"""What docs/security.md claims and nothing else holds: forged alerts, and plans as attacks."""

import ast
import copy
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from random import Random
from typing import Any

import pytest

from controllers import api, inbox
from controllers.tick import tick
from shared.cloud import gauges, kql
from shared.core.model import Phase, newborn
from shared.core.questions import LevelQuestion, needed
from shared.errors import RefusedError
from shared.settings import Settings
from shared.wire import read_plan
from tests.town import START_S, Town, alert_document, plan_document, settings

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "security.md"


@pytest.fixture
def town() -> Town:
    return Town()


@cache
def functions_of(path: str) -> frozenset[str]:
    file = ROOT / path
    tree = ast.parse(file.read_text() if file.exists() else "")
    kinds = ast.FunctionDef | ast.AsyncFunctionDef
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, kinds))


def test_every_test_that_the_document_names_exists() -> None:
    named = re.findall(r"(tests/[\w/]+\.py)::(\w+)", DOCUMENT.read_text())

    assert len(named) > 30
    assert not [f"{path}::{name}" for path, name in named if name not in functions_of(path)]


def test_every_setting_and_file_that_the_document_names_exists() -> None:
    text = DOCUMENT.read_text()
    known = {name.upper() for name in Settings.model_fields}
    settings_named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", text))
    files = set(re.findall(r"`((?:shared|controllers|tests|docs)/[\w/]+\.\w+)`", text))

    assert settings_named <= known | constants() | {"AZURE_TOKEN_CREDENTIALS"}
    assert files
    assert not [name for name in files if not (ROOT / name).exists()]


def constants() -> set[str]:
    """Names of bounds in the product's code."""
    sources = [*(ROOT / "controllers").glob("*.py"), *(ROOT / "shared").rglob("*.py")]
    assigned = re.compile(r"^([A-Z]+(?:_[A-Z]+)+)\b.*=", re.MULTILINE)
    return {name for source in sources for name in assigned.findall(source.read_text())}


NEAR_S = (0.0, -60.0, -89 * 86_400.0, -91 * 86_400.0, 60.0, 86_400.0)
ODD_TIMES = (None, "", "soon", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", 7)


def forged(dice: Random, now_s: float) -> bytes:
    """What a sender of alerts might try: any rule, time and condition; commands; both at once."""
    times = [*ODD_TIMES, *(datetime.fromtimestamp(now_s + s, UTC).isoformat() for s in NEAR_S)]
    document: dict[str, Any] = alert_document(dice.choice(["shop-5xx", "SHOP-5XX", "other"]))
    document["data"]["essentials"] |= {
        "monitorCondition": dice.choice(["Fired", "Resolved", "Promoted"]),
        "severity": dice.choice([None, "Sev0", "Sev4", "Sev9"]),
        "firedDateTime": dice.choice(times),
        "resolvedDateTime": dice.choice(times),
        "alertTargetIDs": dice.choice([None, [], ["/subscriptions/s-1/app"]]),
    }
    command = {
        "action": dice.choice(["promote", "resume", "start"]),
        "rollout": "shop-2.4",
        "from_step": dice.randint(1, 4),
        "plan": plan_document(name="forged"),
    }
    return json.dumps(dice.choice([document, document, document | command, command])).encode()


async def pending(town: Town) -> None:
    town.world.traffic.blind = "503"
    await town.start()
    town.world.traffic.blind = ""


async def baking(town: Town) -> None:
    await town.start()
    await town.reach(Phase.BAKING, 2)


async def held(town: Town) -> None:
    await baking(town)
    await town.command("hold")


async def retreating(town: Town) -> None:
    await baking(town)
    await town.command("abort")


async def reverted(town: Town) -> None:
    await retreating(town)
    await town.reach(Phase.REVERTED)


async def promoted(town: Town) -> None:
    await town.start()
    await town.reach(Phase.PROMOTED)


async def refused(town: Town) -> None:
    await town.start(canary="purple")


WAYS: dict[Phase, Callable[[Town], Any]] = {
    Phase.PENDING: pending,
    Phase.SHIFTING: Town.start,
    Phase.BAKING: baking,
    Phase.HELD: held,
    Phase.RETREATING: retreating,
    Phase.PROMOTED: promoted,
    Phase.REVERTED: reverted,
    Phase.REFUSED: refused,
}


@pytest.mark.parametrize("phase", list(Phase))
async def test_no_alert_ever_raises_a_canary(phase: Phase) -> None:
    """Whoever may send alerts, and whatever they send: the canary's share stays or goes to zero."""
    origin, dice = Town(), Random(phase)
    await WAYS[phase](origin)
    assert (await origin.rollout()).phase is phase
    for _ in range(40):
        town = copy.deepcopy(origin)
        for _ in range(3):
            before, share = await town.rollout(), town.share

            await inbox.receive_alert(town.world, town.message(forged(dice, town.world.clock.at_s)))

            after = await town.rollout()
            assert after.wanted_percent in {before.wanted_percent, 0}
            assert town.share in {share, 0}
            assert (after.step, after.hold) == (before.step, before.hold) or not town.share
            assert await town.world.store.names() == ["shop-2.4"]


@pytest.mark.parametrize(
    "told",
    [
        {"monitorCondition": "Fired", "firedDateTime": "2026-12-20T00:00:00Z"},
        {"monitorCondition": "Resolved", "resolvedDateTime": "9998-01-01T00:00:00Z"},
    ],
)
async def test_a_forged_alert_does_not_silence_a_true_one(town: Town, told: dict[str, str]) -> None:
    """Neither by an old beginning nor by an end that has not come yet."""
    await baking(town)
    document = alert_document(fired_s=START_S - 60)
    document["data"]["essentials"] |= told
    await inbox.receive_alert(town.world, town.message(document))
    await town.seconds(1)

    await town.alert()

    assert (await town.rollout()).phase is Phase.RETREATING


@pytest.mark.parametrize("told", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00"])
async def test_an_alert_with_an_odd_end_does_not_hide_the_others(town: Town, told: str) -> None:
    document = alert_document(condition="Resolved")
    document["data"]["essentials"]["resolvedDateTime"] = told

    await inbox.receive_alert(town.world, town.message(document))

    assert len((await api.alerts(town.world))["alerts"]) == 1


SLY = (
    "'",
    "' or true //",
    "\\' | union SigninLogs //",
    "\\",
    "x'; .drop table T //",
    '"',
    "a'b\"c\\",
    "x\n| take 1",
    "h@'x'",
    "{0} %s ${x}",
    "]) | project UserId //",
    "AppRequests | union SigninLogs",
    "workspace('other').AppRequests",
    "\u2028| take 1",
)
LITERAL = re.compile(r"'(?:[^'\\]|\\.)*'", re.DOTALL)


def leaves(value: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where a document has texts."""
    if isinstance(value, str):
        yield path
    items = value.items() if isinstance(value, dict) else ()
    for name, inner in [*items, *(enumerate(value) if isinstance(value, list) else ())]:
        yield from leaves(inner, (*path, name))


def full_plan() -> dict[str, Any]:
    document = plan_document()
    kinds = ("failed", {"slower_than": "800ms"}, {"slower_than": "p95"}, {"result_code": "5.."})
    rules = [{"name": f"r{number}", "bad": bad} for number, bad in enumerate(kinds)]
    gauge = {"name": "cpu", "table": "AppMetrics", "metric": "% Processor Time", "above": "20%"}
    document["evidence"] |= {"table": "AppRequests", "role": "shop", "rules": rules}
    document["evidence"] |= {"client": "Properties.user", "gauges": [gauge]}
    document["rollback_on"] = [{"alert": "a", "target": "t"}]
    return document


def skeleton(document: dict[str, Any]) -> str:
    """The plan's queries without their string literals. Raises RefusedError where the door does."""
    plan = read_plan(json.dumps(document).encode())
    question = needed(plan, newborn(plan, START_S, "ci", dry_run=False), START_S)
    assert question is not None
    levels = LevelQuestion(plan.source, 900, 1, 2)
    return LITERAL.sub("''", f"{kql.merged([question])}\n{gauges.query(levels)}")


@pytest.mark.parametrize(
    "path", list(leaves(full_plan())), ids=lambda path: ".".join(map(str, path))
)
def test_no_text_of_a_plan_becomes_kql(path: tuple[Any, ...]) -> None:
    """Each is refused, or is one literal in the query that was asked for anyway."""
    usual = skeleton(full_plan())
    assert "'" not in usual.replace("''", "")
    for sly in SLY:
        document = full_plan()
        inner: Any = document
        for name in path[:-1]:
            inner = inner[name]
        inner[path[-1]] = sly
        try:
            found = skeleton(document)
        except RefusedError:
            continue
        assert found == usual, sly


@pytest.mark.parametrize(
    "profile",
    [
        "/subscriptions/s-1/resourceGroups/g2/providers/Microsoft.Network/trafficManagerProfiles/x",
        "/subscriptions/s-1/resourceGroups/g/../g2/providers/Microsoft.Network/trafficManagerProfiles/x",
        "/subscriptions/s-1/resourceGroups/g%2F..%2Fg2/providers/Microsoft.Network/trafficManagerProfiles/x",
        "/subscriptions/s-1/resourceGroups/g/providers/Microsoft.Network/trafficManagerProfiles/x/../y",
        "/subscriptions/s-1/resourceGroups/g/providers/Microsoft.Network/trafficManagerProfiles/x?y=",
        "/subscriptions/s-1/resourceGroups/g/providers/Microsoft.Web/sites/x",
    ],
)
async def test_a_profile_beside_the_allowed_ones_cannot_be_named(town: Town, profile: str) -> None:
    """Dots, escapes and queries do not lead out of the group that is allowed."""
    group = "/subscriptions/s-1/resourceGroups/g"
    town.world = replace(town.world, settings=settings(allowed_profiles=group))

    await town.start(profile=profile)

    assert await town.world.store.names() == []
    assert len(await town.reasons()) == 1


def test_another_spelling_is_another_group() -> None:
    """Azure ignores case, but it does not take ß for ss."""
    allowed = settings(allowed_profiles="/subscriptions/s-1/resourceGroups/strasse")

    assert allowed.allows_profile("/subscriptions/S-1/resourceGroups/STRASSE/x")
    assert not allowed.allows_profile("/subscriptions/s-1/resourceGroups/straße/x")


async def test_what_is_live_keeps_its_way_back(town: Town) -> None:
    """An abort works although the profile was taken off the list."""
    await baking(town)
    town.world = replace(town.world, settings=Settings())

    await town.command("abort")
    await tick(town.world)

    assert town.share == 0


async def test_a_profile_taken_off_the_list_rises_no_more(town: Town) -> None:
    await baking(town)
    town.world = replace(town.world, settings=Settings())
    share = town.share
    await town.seconds(30)
    assert town.share == share
