"""Profiles as Azure's SDK gives them, read into the core's values and into a probe's check.

Every field of the SDK's models may be missing: documented defaults stand in where there are
any, and anything else that is missing or odd is a ValueError, never a guess.
"""

from enum import Enum
from typing import Any

from azure.mgmt.trafficmanager.models import Endpoint, MonitorConfig, Profile

from shared.cloud.probe import Check
from shared.core.model import EndpointSeen, ProfileSeen
from shared.errors import RefusedError

_KINDS = {
    kind.casefold(): kind for kind in ("AzureEndpoints", "ExternalEndpoints", "NestedEndpoints")
}
_PORTS = {"HTTP": 80, "HTTPS": 443, "TCP": 0}
_DEFAULT_TIMEOUT_S = 10
_MAX_PORT = 65_535
_OK = ((200, 200),)


def profile(found: Profile) -> ProfileSeen:
    """The profile and its endpoints. Raises ValueError when something needed is missing."""
    if found.properties is None or found.dns_config is None:
        raise ValueError("the profile came without its properties")
    return ProfileSeen(
        routing=_text(found.traffic_routing_method, "routing method"),
        enabled=_enabled(found.profile_status),
        ttl_s=_whole(found.dns_config.ttl, "TTL"),
        endpoints=tuple(_endpoint(each) for each in found.endpoints or ()),
    )


def check(found: Profile, endpoint: str) -> Check:
    """What the monitor config asks of that endpoint. Raises RefusedError if it cannot."""
    asked = next((e for e in found.endpoints or () if _same(e.name, endpoint)), None)
    if asked is None:
        raise RefusedError(f"the profile has no endpoint {endpoint}")
    config = found.monitor_config
    if config is None or not asked.target:
        raise RefusedError(f"{endpoint} has no target or no monitor config (a nested profile?)")
    protocol = _word(config.protocol, "HTTP").upper()
    if protocol not in _PORTS:
        raise RefusedError(f"the monitor protocol {protocol} is not known")
    return Check(
        protocol=protocol,
        target=asked.target,
        port=_port(config, protocol),
        path="/" + (config.path or "").lstrip("/"),
        timeout_s=config.timeout_in_seconds or _DEFAULT_TIMEOUT_S,
        headers=_headers(config.custom_headers, asked.custom_headers),
        expected=_ranges(config),
    )


def _endpoint(each: Endpoint) -> EndpointSeen:
    weight = each.weight
    return EndpointSeen(
        name=_text(each.name, "endpoint name"),
        kind=_kind(each.type),
        target=each.target or "",
        weight=1 if weight is None else _whole(weight, "weight"),
        enabled=_enabled(each.endpoint_status),
        health=_word(each.endpoint_monitor_status, "unknown"),
    )


def _kind(full: str | None) -> str:
    """The path's endpoint type from a body's `type`, which is cased otherwise."""
    last = (full or "").rpartition("/")[2].casefold()
    if last not in _KINDS:
        raise ValueError(f"an endpoint of type {full!r}")
    return _KINDS[last]


def _enabled(status: object) -> bool:
    """Enabled is the documented default of both statuses."""
    return _same(_word(status, "Enabled"), "Enabled")


def _headers(*lists: Any) -> tuple[tuple[str, str], ...]:
    """Headers by name without case; an endpoint's own replace the profile's."""
    items = [item for some in lists for item in some or () if item.name]
    return tuple({item.name.casefold(): (item.name, item.value or "") for item in items}.values())


def _ranges(config: MonitorConfig) -> tuple[tuple[int, int], ...]:
    ranges = config.expected_status_code_ranges or ()
    return tuple((r.min or 0, r.max or r.min or 0) for r in ranges) or _OK


def _port(config: MonitorConfig, protocol: str) -> int:
    port = config.port or _PORTS[protocol]
    if not 1 <= port <= _MAX_PORT:
        raise RefusedError(f"the monitor port {port} is none")
    return port


def _same(one: str | None, other: str) -> bool:
    return (one or "").casefold() == other.casefold()


def _text(value: object, what: str) -> str:
    if not value or not isinstance(value, str):
        raise ValueError(f"the {what} is missing")
    return _word(value, "")


def _word(value: object, default: str) -> str:
    """A word of the service: the SDK gives known ones as enums, which print as something else."""
    return str(value.value if isinstance(value, Enum) else value or default)


def _whole(value: object, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"the {what} is {value!r}")
    return value
