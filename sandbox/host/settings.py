"""What the host reads beside the app: host.json, %NAME% and named connections.

Rules: a connection X is the variable X with a connection string, or X__fullyQualifiedNamespace
with managed identity (and X__clientId for a user-assigned one). Plain AMQP without TLS is for
loopback namespaces only. A setting that is missing is an error at start, as in Azure.
"""

import json
import re
from collections.abc import Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from azure.identity.aio import ManagedIdentityCredential
from azure.servicebus.aio import ServiceBusClient

_NAME = re.compile(r"%([^%]+)%")
_SPAN = re.compile(r"(?:(\d+)\.)?(\d+):(\d\d):(\d\d)(?:\.\d+)?")
_LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
# One quick second try of the SDK's own; longer outages are the pump's to wait out and report.
_CLIENT_OPTIONS: dict[str, Any] = {"retry_total": 1, "retry_backoff_factor": 0.1}


class SettingError(Exception):
    """The host's configuration is missing something, or holds what the stand-in cannot do."""


@dataclass(frozen=True, slots=True)
class HostSettings:
    """host.json with the real host's defaults."""

    route_prefix: str = "api"
    function_timeout_s: float | None = 1800.0
    max_concurrent_calls: int = 16
    max_batch: int = 1000
    prefetch: int = 0
    lock_renewal_s: float = 300.0


def read_host_json(path: Path) -> HostSettings:
    """The settings of `path`; SettingError if it is absent, malformed or not version 2.0."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingError(f"{path.name}: {error}") from error
    if document.get("version") != "2.0":
        raise SettingError(f'{path.name}: "version" must be "2.0"')
    extensions = document.get("extensions", {})
    bus = extensions.get("serviceBus", {})
    if bus.get("autoCompleteMessages", True) is not True:
        raise SettingError("autoCompleteMessages: false needs settlement by the function")
    return HostSettings(
        route_prefix=extensions.get("http", {}).get("routePrefix", "api"),
        function_timeout_s=_timeout_s(document.get("functionTimeout", "00:30:00")),
        max_concurrent_calls=bus.get("maxConcurrentCalls", 16),
        max_batch=bus.get("maxMessageBatchSize", 1000),
        prefetch=bus.get("prefetchCount", 0),
        lock_renewal_s=_span_s(bus.get("maxAutoLockRenewalDuration", "00:05:00")),
    )


def resolve(text: str, environment: Mapping[str, str]) -> str:
    """The text with every %NAME% replaced by that setting; SettingError names a missing one."""

    def look_up(match: re.Match[str]) -> str:
        try:
            return environment[match[1]]
        except KeyError:
            raise SettingError(f"the setting {match[1]} is not set") from None

    return _NAME.sub(look_up, text)


class Connections:
    """Opens clients for named connections and closes the credentials they needed."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._stack = AsyncExitStack()
        self._credentials: dict[str, ManagedIdentityCredential] = {}

    def check(self, name: str) -> None:
        """Raise SettingError when the connection is not configured."""
        if not self._environment.get(name) and not self._namespace(name):
            raise SettingError(f"the connection {name} is not set")

    async def open(self, name: str) -> ServiceBusClient:
        """A new client for the connection; the caller closes it."""
        text = self._environment.get(name)
        if text:
            return ServiceBusClient.from_connection_string(text, **_CLIENT_OPTIONS)
        namespace = self._namespace(name)
        credential = await self._credential(name)
        tls = not is_loopback(namespace)
        return ServiceBusClient(namespace, credential, use_tls=tls, **_CLIENT_OPTIONS)

    async def close(self) -> None:
        """Close the credentials."""
        await self._stack.aclose()

    def _namespace(self, name: str) -> str:
        return self._environment.get(f"{name}__fullyQualifiedNamespace", "")

    async def _credential(self, name: str) -> ManagedIdentityCredential:
        if name not in self._credentials:
            client_id = self._environment.get(f"{name}__clientId")
            credential = ManagedIdentityCredential(client_id=client_id)
            self._credentials[name] = await self._stack.enter_async_context(credential)
        return self._credentials[name]


def is_loopback(namespace: str) -> bool:
    """Whether the namespace (`host` or `host:port`) is this machine."""
    return namespace.strip().rsplit(":", 1)[0] in _LOOPBACK or namespace.strip() in _LOOPBACK


def _timeout_s(span: str) -> float | None:
    return None if span == "-1" else _span_s(span)


def _span_s(span: str) -> float:
    match = _SPAN.fullmatch(span)
    if match is None:
        raise SettingError(f"not a time span (hh:mm:ss): {span!r}")
    days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
