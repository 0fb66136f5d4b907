"""The operator's command: what it posts, what it refuses before posting, what it shows."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from azure.servicebus.aio import ServiceBusClient
from typer.testing import CliRunner, Result

from cli.main import app
from sandbox.servicebus import Broker, QueueSpec
from tests.town import plan_document

KEY = "0123456789abcdef"
ROLLOUT = {
    "name": "shop-2.4",
    "phase": "BAKING",
    "step": 2,
    "of_steps": 4,
    "wanted_percent": 10.0,
    "sentence": "Baking at step 2 of 4 (10 %).",
    "rows": 721,
    "history": [
        {
            "number": 700,
            "at": "2026-11-22T10:00:01",
            "event": "HoldAsked",
            "before": "BAKING",
            "after": "HELD",
            "percent": 10.0,
            "sentence": "Held by ada.",
        },
    ],
}
DARK = ROLLOUT | {
    "name": "dark-1",
    "sentence": "mismatch: [too many] differ.",
    "shadow": {
        "samples": 1500,
        "noise_samples": 740,
        "different": 30,
        "unreachable": 2,
        "skipped": 4,
        "noise": ["$.at"],
        "places": [
            {
                "path": "$.items[*].price",
                "kinds": ["missing", "value"],
                "canary_percent": 2.0,
                "stable_percent": 0.0,
                "example": "[hidden] became nothing",
            },
            {
                "path": "$.at",
                "kinds": ["value"],
                "canary_percent": 100.0,
                "stable_percent": 100.0,
                "example": "",
            },
        ],
        "elsewhere": 17,
    },
}
QUIET = DARK | {"name": "dark-2", "shadow": DARK["shadow"] | {"places": [], "elsewhere": 0}}  # type: ignore[operator]  # a dict
SHOWN = {
    "rollouts/dark-1": DARK,
    "rollouts/dark-2": QUIET,
    "rollouts": {"rollouts": [ROLLOUT]},
    "rollouts/shop-2.4": ROLLOUT,
    "rollouts/nobody": {"error": "there is no rollout nobody"},
    "rejected": {
        "rejected": [
            {"at": "2026-11-22T10:00:00", "queue": "commands", "key": KEY, "reason": "no JSON"}
        ]
    },
    f"rejected/{KEY}": {"queue": "commands", "queued": "again-1"},
    "alerts": {
        "alerts": [
            {
                "rule": "shop-5xx",
                "severity": 1,
                "since": "2026-11-22T10:00:00",
                "last": "2026-11-22T10:00:00",
                "resolved": None,
                "listeners": [],
            }
        ]
    },
    "rollouts/shop-2.4/history?after=600": {"rows": 721, "history": ROLLOUT["history"]},
    "rollouts/shop-2.4/history?after=0": {"rows": 700, "history": ROLLOUT["history"]},
    "rollouts/shop-2.4/replay": {"rows": 5, "reproduced": True, "difference": ""},
    "rollouts/forged/replay": {"rows": 1, "reproduced": False, "difference": "row 2 says all"},
}


@pytest.fixture
async def linnet_url(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[str]:
    """An HTTP interface that shows one rollout."""

    async def show(request: web.Request) -> web.Response:
        after = request.query.get("after")
        path = request.match_info["path"]
        return web.json_response(SHOWN[path if after is None else f"{path}?after={after}"])

    server = web.Application()
    server.router.add_get("/api/{path:.*}", show)
    server.router.add_post("/api/{path:rejected/.*}", show)
    runner = web.AppRunner(server)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    [address] = runner.addresses
    url = f"http://127.0.0.1:{address[1]}"
    monkeypatch.setenv("LINNET_URL", url)
    yield url
    await runner.cleanup()


async def linnet(*words: str) -> Result:
    """The command, in a thread of its own as it has its own loop."""
    import asyncio  # noqa: PLC0415  # the command itself must not find a running loop

    return await asyncio.to_thread(CliRunner().invoke, app, list(words), env={"COLUMNS": "200"})


@pytest.fixture
def plan_file(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(yaml.safe_dump(plan_document()))
    return path


async def test_a_command_is_one_message_that_linnet_understands(
    monkeypatch: pytest.MonkeyPatch, plan_file: Path
) -> None:
    async with Broker([QueueSpec("commands")]) as broker:
        monkeypatch.setenv("SERVICEBUS", broker.connection_string)

        for words in (
            ("start", str(plan_file), "-m", "go"),
            ("promote", "shop-2.4", "--from-step", "2"),
            ("abort", "shop-2.4", "-m", "wrong colour"),
        ):
            result = await linnet(*words)
            assert result.exit_code == 0, result.output
            assert f"{words[0]} posted as message" in result.output

        async with (
            ServiceBusClient.from_connection_string(broker.connection_string) as client,
            client.get_queue_receiver("commands") as receiver,
        ):
            received = await receiver.receive_messages(max_message_count=3, max_wait_time=5)
            bodies = [json.loads(b"".join(message.body)) for message in received]
    assert [body["action"] for body in bodies] == ["start", "promote", "abort"]
    assert bodies[0]["plan"]["name"] == "shop-2.4"
    assert (bodies[1]["from_step"], bodies[2]["reason"]) == (2, "wrong colour")


async def test_what_linnet_would_refuse_is_not_posted(tmp_path: Path) -> None:
    bad = tmp_path / "plan.yaml"
    bad.write_text(yaml.safe_dump(plan_document(steps=[50, 5])))

    for words in (("start", str(bad)), ("check", str(bad))):
        result = await linnet(*words)
        assert result.exit_code == 1
        assert "must rise and end at 100 (given [50, 5])" in result.output


@pytest.mark.parametrize("text", ["name: 2024-01-01", "a: [", "a: &a [*a]", "a: \xff"])
async def test_a_file_that_is_no_plan_is_said_so(tmp_path: Path, text: str) -> None:
    bad = tmp_path / "plan.yaml"
    bad.write_text(text, encoding="latin-1")

    for word in ("check", "start"):
        result = await linnet(word, str(bad))
        assert (result.exit_code, "is no plan" in result.output) == (1, True), result.output


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: shop\nbake: {min: 5m, min: 6m}\n", "min is given twice"),
        ("arms: {canary: 2026-11-24}\n", "2026-11-24 is no text to YAML, but a date"),
    ],
)
async def test_what_yaml_would_change_silently_is_said(
    tmp_path: Path, text: str, words: str
) -> None:
    """Of two fields the last would win; a version that looks like a date would be one."""
    bad = tmp_path / "plan.yaml"
    bad.write_text(text)

    result = await linnet("check", str(bad))

    assert (result.exit_code, words in result.output) == (1, True), result.output


async def test_a_plan_may_share_parts_as_yaml_can(tmp_path: Path) -> None:
    """Merged fields are given once, by whoever gives them last."""
    path = tmp_path / "plan.yaml"
    path.write_text(
        yaml.safe_dump(plan_document(bake=None)).replace(
            "bake: null", "bake: &b\n  <<: &usual {min: 1m, max: 9m}\n  min: 2m"
        )
    )

    result = await linnet("check", str(path))

    assert "shop-2.4, 4 steps on" in result.output


async def test_a_good_plan_is_said_to_be_good(plan_file: Path) -> None:
    result = await linnet("check", str(plan_file))

    assert "shop-2.4, 4 steps on" in result.output
    schema = await linnet("schema")
    assert json.loads(schema.output)["title"] == "PlanIn"


async def test_without_a_queue_it_says_which_setting_is_missing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("SERVICEBUS", raising=False)

    result = await linnet("resume", "shop-2.4")

    assert result.exit_code == 1
    assert "ServiceBus__fullyQualifiedNamespace" in result.output


async def test_lists_show_where_things_are_and_why(linnet_url: str) -> None:
    del linnet_url
    shown = await linnet("list")
    assert "Baking at step 2 of 4 (10 %)." in shown.output

    one = await linnet("show", "shop-2.4")
    assert "Held by ada." in one.output
    assert "10:00:00" not in one.output

    refused = await linnet("rejected")
    assert "no JSON" in refused.output

    alerts = await linnet("alerts")
    assert ("shop-5xx" in alerts.output, "nobody" in alerts.output) == (True, True)


async def test_a_dark_launch_is_shown_with_its_worst_places_and_its_noise(linnet_url: str) -> None:
    del linnet_url

    lines = (await linnet("shadow", "dark-1")).output.splitlines()

    assert lines[0] == "dark-1 BAKING: mismatch: [too many] differ."
    assert lines[1] == (
        "1500 samples compared, 740 of them with stable too: "
        "30 differ, 2 without an answer; 4 skipped"
    )
    assert lines[2].split() == ["canary", "stable", "where", "kinds", "for", "example"]
    assert "2.00 %" in lines[3]
    assert "$.items[*].price" in lines[3]
    assert "missing, value" in lines[3]
    assert "[hidden] became nothing" in lines[3]
    assert "$.at (noise)" in lines[4]
    assert lines[5] == "and 17 differences at places that are not kept"


async def test_a_dark_launch_without_differences_shows_no_table(linnet_url: str) -> None:
    del linnet_url

    shown = await linnet("shadow", "dark-2")

    assert "1500 samples compared" in shown.output
    assert "where" not in shown.output
    assert "not kept" not in shown.output


async def test_a_plan_without_a_dark_launch_is_said_so(linnet_url: str) -> None:
    del linnet_url

    shown = await linnet("shadow", "shop-2.4")

    assert shown.exit_code == 1
    assert "the plan of shop-2.4 has no dark launch" in shown.output


async def test_a_rejected_message_is_posted_again_by_the_beginning_of_its_key(
    linnet_url: str,
) -> None:
    del linnet_url

    again = await linnet("resend", KEY[:6])
    nothing = await linnet("resend", "beef")

    assert "posted to commands as message again-1" in again.output
    assert (nothing.exit_code, "0 rejected messages" in nothing.output) == (1, True)


async def test_every_row_can_be_had_a_page_at_a_time(linnet_url: str) -> None:
    """With the command that gives the next page, if there is one."""
    result = await linnet("history", "shop-2.4", "--after", "600")

    assert result.exit_code == 0
    assert "Held by ada." in result.stdout
    assert "linnet history shop-2.4 --after 700" in result.stdout
    assert "go on with" not in (await linnet("history", "shop-2.4")).stdout


async def test_a_replay_says_whether_history_gives_the_record(linnet_url: str) -> None:
    del linnet_url

    same = await linnet("replay", "shop-2.4")
    forged = await linnet("replay", "forged")

    assert "5 rows, decided again, give the stored record" in same.output
    assert (forged.exit_code, "row 2 says all" in forged.output) == (1, True)


async def test_a_rollout_that_is_not_there_is_said_so(linnet_url: str) -> None:
    del linnet_url

    result = await linnet("show", "nobody")

    assert result.exit_code == 1
    assert "there is no rollout nobody" in result.output


async def test_a_host_that_is_away_is_said_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LINNET_URL", "http://127.0.0.1:1")

    result = await linnet("hold", "-h-")
    assert result.exit_code != 0
    result = await linnet("list")

    assert result.exit_code == 1
    assert "does not answer" in result.output
