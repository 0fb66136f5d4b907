"""What is deployed is what Azure accepts: host.json, the triggers, the files that go along."""

import ast
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from function_app import app

ROOT = Path(__file__).parents[2]
DATA = Path(__file__).parent / "data"


def test_host_json_keeps_the_schema() -> None:
    schema = json.loads((DATA / "host.schema.json").read_text())

    jsonschema.validate(json.loads((ROOT / "host.json").read_text()), schema)


@pytest.fixture(scope="module")
def triggers() -> dict[str, dict[str, Any]]:
    """Each function's trigger as the host is told it; the app can be asked only once."""
    found: dict[str, dict[str, Any]] = {}
    for function in app.get_functions():
        bindings = json.loads(function.get_function_json())["bindings"]
        found[str(function.get_function_name())] = bindings[0]
    return found


def test_every_queue_trigger_takes_bytes(triggers: dict[str, dict[str, Any]]) -> None:
    """With text the host lays the body's own properties over the message's metadata."""
    queues = [t for t in triggers.values() if t["type"] == "serviceBusTrigger"]

    names = [str(queue["queueName"]) for queue in queues]
    assert names[:2] == ["%COMMANDS_QUEUE%", "%ALERTS_QUEUE%"]
    assert names[2:4] == [f"{name}/$deadletterqueue" for name in names[:2]]
    assert names[4:] == ["%SAMPLES_QUEUE%"]
    assert all(queue["dataType"] == "BINARY" for queue in queues)


def test_the_timer_does_not_run_on_startup(triggers: dict[str, dict[str, Any]]) -> None:
    assert not triggers["tick"].get("runOnStartup")
    assert triggers["tick"]["schedule"] == "%TICK_SCHEDULE%"


def test_only_health_is_open_to_anybody(triggers: dict[str, dict[str, Any]]) -> None:
    levels = {name: t["authLevel"] for name, t in triggers.items() if t["type"] == "httpTrigger"}

    assert levels.pop("health") == "ANONYMOUS"
    assert set(levels.values()) == {"FUNCTION"}


def test_the_triggers_see_azure_functions_and_no_other_part_of_azure() -> None:
    tree = ast.parse((ROOT / "function_app.py").read_text())
    names = {n for node in ast.walk(tree) if isinstance(node, ast.Import) for n in _names(node)}
    froms = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}

    azure = {name for name in names | froms if name and name.startswith("azure")}
    assert azure == {"azure.functions"}
    assert not any(name and name.startswith("sandbox") for name in names | froms)


def _names(node: ast.Import) -> set[str]:
    return {alias.name for alias in node.names}


def test_nothing_but_the_product_is_deployed() -> None:
    ignored = set((ROOT / ".funcignore").read_text().split())

    assert {"tests", "sandbox", "docs", "examples", "cli", "bench"} <= ignored
    assert not {"shared", "controllers", "function_app.py", "host.json"} & ignored


def test_requirements_are_pinned_and_name_no_registry() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        lines = (ROOT / name).read_text().split()
        assert all("==" in line and "://" not in line for line in lines)
    assert "azure-functions-worker" not in (ROOT / "requirements.txt").read_text()
