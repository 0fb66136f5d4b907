"""host.json, %NAME% and named connections."""

import json
from pathlib import Path
from typing import Any

import pytest

from sandbox.host.front import paths
from sandbox.host.settings import (
    Connections,
    HostSettings,
    SettingError,
    is_loopback,
    read_host_json,
    resolve,
)

_TEXT = "Endpoint=sb://127.0.0.1:5672;SharedAccessKeyName=Root;SharedAccessKey=c2VjcmV0"


def _read(folder: Path, document: Any) -> HostSettings:
    path = folder / "host.json"
    path.write_text(json.dumps(document))
    return read_host_json(path)


def test_an_empty_host_json_has_azures_defaults(tmp_path: Path) -> None:
    assert _read(tmp_path, {"version": "2.0"}) == HostSettings("api", 1800.0, 16, 1000, 0, 300.0)


def test_what_host_json_sets_is_taken(tmp_path: Path) -> None:
    bus = {"maxConcurrentCalls": 2, "maxAutoLockRenewalDuration": "1.00:01:00", "prefetchCount": 9}
    extensions = {"http": {"routePrefix": ""}, "serviceBus": bus}
    document = {"version": "2.0", "functionTimeout": "-1", "extensions": extensions}
    settings = _read(tmp_path, document)
    assert (settings.route_prefix, settings.function_timeout_s) == ("", None)
    assert (settings.max_concurrent_calls, settings.prefetch) == (2, 9)
    assert settings.lock_renewal_s == 86_460.0


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"version": "2.0", "functionTimeout": "soon"},
        {"version": "2.0", "extensions": {"serviceBus": {"autoCompleteMessages": False}}},
    ],
)
def test_what_the_stand_in_cannot_do_is_refused(tmp_path: Path, document: Any) -> None:
    with pytest.raises(SettingError):
        _read(tmp_path, document)


def test_names_between_percent_signs_are_looked_up() -> None:
    assert resolve("%A%-%B%", {"A": "x", "B": "y"}) == "x-y"
    with pytest.raises(SettingError, match="the setting C is not set"):
        resolve("%C%", {})


@pytest.mark.parametrize(
    ("namespace", "local"),
    [
        ("127.0.0.1:5672", True),
        ("localhost", True),
        ("shop.servicebus.windows.net", False),
        ("127.0.0.1.evil.example:5672", False),
    ],
)
async def test_only_a_loopback_namespace_goes_without_tls(
    monkeypatch: pytest.MonkeyPatch, namespace: str, local: bool
) -> None:
    assert is_loopback(namespace) is local
    monkeypatch.setenv("IDENTITY_ENDPOINT", "http://127.0.0.1:1/msi/token")
    monkeypatch.setenv("IDENTITY_HEADER", "secret")
    connections = Connections({"BUS__fullyQualifiedNamespace": namespace})
    connections.check("BUS")
    async with await connections.open("BUS") as client:
        assert client._config.use_tls is not local
    await connections.close()


async def test_a_connection_string_wins() -> None:
    connections = Connections({"BUS": f"{_TEXT};UseDevelopmentEmulator=true"})
    async with await connections.open("BUS") as client:
        assert client.fully_qualified_namespace == "127.0.0.1:5672"
    with pytest.raises(SettingError, match="the connection OTHER is not set"):
        connections.check("OTHER")


@pytest.mark.parametrize(
    ("prefix", "route", "expected"),
    [
        ("api", "health", ["/api/health"]),
        ("", "health", ["/health"]),
        ("api", "a/{name}", ["/api/a/{name:[^/]+}"]),
        ("api", "a/{n:int?}", [r"/api/a/{n:-?\d+}", "/api/a"]),
        ("api", "{*rest}", ["/api/{rest:.*}"]),
    ],
)
def test_route_templates_become_paths(prefix: str, route: str, expected: list[str]) -> None:
    assert paths(prefix, route) == expected
