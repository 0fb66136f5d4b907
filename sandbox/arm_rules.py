"""What Azure Resource Manager would refuse about a Traffic Manager profile.

Pure functions from JSON as received to JSON as stored. The rules come from the field
descriptions of the public OpenAPI document of api-version 2026-09-01 and from the Traffic
Manager documentation on monitoring; error codes and wording are ours where neither names one.
They show that our requests are well formed. They do NOT prove that Azure accepts them.
"""

import ipaddress
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sandbox.arm_checks import Json, as_object, bad, integer, known, one_of

PROFILE_TYPE: Final = "Microsoft.Network/trafficManagerProfiles"
KINDS: Final = ("AzureEndpoints", "ExternalEndpoints", "NestedEndpoints")
ROUTING: Final = ("Performance", "Priority", "Weighted", "Geographic", "MultiValue", "Subnet")
SWITCH: Final = ("Enabled", "Disabled")
MAX_ENDPOINTS: Final = 200
MAX_TTL_S: Final = 2_147_483_647
LABEL: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?")
HOST: Final = re.compile(rf"(?=.{{1,253}}$){LABEL.pattern}(?:\.{LABEL.pattern})*")

# --- endpoints -------------------------------------------------------------------------------

_NESTED_ONLY: Final = ("minChildEndpoints", "minChildEndpointsIPv4", "minChildEndpointsIPv6")
ENDPOINT_FIELDS: Final = (
    "targetResourceId",
    "target",
    "endpointStatus",
    "weight",
    "priority",
    "endpointLocation",
    *_NESTED_ONLY,
    "geoMapping",
    "subnets",
    "customHeaders",
    "alwaysServe",
)


def endpoint_kind(text: object) -> str:
    """The endpoint type that a path segment or a body's `type` names, e.g. `ExternalEndpoints`."""
    return one_of(str(text).rpartition("/")[2], KINDS, "endpoint.type")


def endpoint_fields(body: object) -> Json:
    """The endpoint properties that a request's body sets, checked for names and enums only."""
    envelope = known(
        as_object(body, "endpoint"), ("name", "type", "properties"), ("id",), "endpoint"
    )
    target = "endpoint.properties"
    given = as_object(envelope.get("properties"), target)
    fields = known(given, ENDPOINT_FIELDS, ("endpointMonitorStatus",), target)
    for switch in ("endpointStatus", "alwaysServe"):
        if switch in fields:
            fields[switch] = one_of(fields[switch], SWITCH, switch)
    return fields


def endpoint(kind: str, fields: Json, record_type: str | None) -> Json:
    """A whole endpoint's properties with defaults, or ArmError.

    `priority` is left out when it was: the profile gives one (see `priorities`).
    """
    whole: Json = {"endpointStatus": "Enabled", "weight": 1, "alwaysServe": "Disabled"} | fields
    integer(whole["weight"], 1, 1000, "weight")
    if "priority" in whole:
        integer(whole["priority"], 1, 1000, "priority")
    _target(kind, whole, record_type)
    if kind != "NestedEndpoints" and any(name in whole for name in _NESTED_ONLY):
        raise bad("minChildEndpoints applies to nested endpoints only.", "minChildEndpoints")
    if whole["alwaysServe"] == "Enabled" and kind == "NestedEndpoints":
        raise bad("alwaysServe does not apply to nested endpoints.", "alwaysServe")
    return whole


def may_always_serve(asked: Json, whole: Json) -> None:
    """Refuse to set alwaysServe on a disabled endpoint; one that has it may be disabled."""
    if asked.get("alwaysServe") == "Enabled" and whole["endpointStatus"] == "Disabled":
        raise bad("alwaysServe can be set on an enabled endpoint only.", "alwaysServe")


def _target(kind: str, whole: Json, record_type: str | None) -> None:
    """Check what the endpoint points at, and fill `target` in for resources."""
    if kind == "ExternalEndpoints":
        if "targetResourceId" in whole:
            raise bad("targetResourceId does not apply to external endpoints.", "targetResourceId")
    elif "targetResourceId" not in whole and "target" not in whole:
        raise bad(f"targetResourceId is required for {kind}.", "targetResourceId")
    elif "target" not in whole:
        domain = "azurewebsites.net" if kind == "AzureEndpoints" else "trafficmanager.test"
        whole["target"] = f"{str(whole['targetResourceId']).rpartition('/')[2]}.{domain}"
    target = whole.get("target")
    if not isinstance(target, str) or (record_of(target) == "CNAME" and not HOST.fullmatch(target)):
        raise bad(f"{target!r} is neither a host name nor an IP address.", "target")
    if record_type and record_of(target) != record_type:
        raise bad(f"The profile takes {record_type} targets only, not {target!r}.", "target")


def record_of(target: str) -> str:
    """The DNS record type that answers with *target*: `A`, `AAAA` or `CNAME`."""
    try:
        return "A" if ipaddress.ip_address(target).version == 4 else "AAAA"  # noqa: PLR2004  # IPv4 is its name
    except ValueError:
        return "CNAME"


def priorities(given: Iterable[Json], *, whole: bool) -> None:
    """Give the endpoints that lack a priority the next free ones; refuse doubles.

    With *whole*, the list came in one request, which must set all priorities or none.
    """
    fields = list(given)
    have = [each["priority"] for each in fields if "priority" in each]
    if whole and 0 < len(have) < len(fields):
        raise bad("priority must be specified on all endpoints or on none.", "priority")
    if len(set(have)) != len(have):
        raise bad("No two endpoints can share the same priority.", "priority")
    free = (number for number in range(1, 1001) if number not in set(have))
    for each in fields:
        if "priority" not in each:
            each["priority"] = next(free)


# --- profiles --------------------------------------------------------------------------------

PROFILE_FIELDS: Final = (
    "profileStatus",
    "trafficRoutingMethod",
    "dnsConfig",
    "monitorConfig",
    "endpoints",
    "trafficViewEnrollmentStatus",
    "allowedEndpointRecordTypes",
    "maxReturn",
    "recordType",
)
MONITOR_FIELDS: Final = (
    "protocol",
    "port",
    "path",
    "intervalInSeconds",
    "timeoutInSeconds",
    "toleratedNumberOfFailures",
    "customHeaders",
    "expectedStatusCodeRanges",
)


def profile_fields(body: Json) -> Json:
    """The profile properties that a request's body sets, checked for names only."""
    known(body, ("location", "tags", "properties"), ("id", "name", "type"), "profile")
    given = as_object(body.get("properties"), "properties")
    fields = known(given, PROFILE_FIELDS, (), "properties")
    for part, writable, readonly in (
        ("dnsConfig", ("relativeName", "ttl"), ("fqdn",)),
        ("monitorConfig", MONITOR_FIELDS, ("profileMonitorStatus",)),
    ):
        if part in fields:
            fields[part] = known(as_object(fields[part], part), writable, readonly, part)
    return fields


def profile(fields: Json) -> Json:
    """A whole profile's properties (endpoints aside) with defaults, or ArmError."""
    whole: Json = {"profileStatus": "Enabled", "trafficViewEnrollmentStatus": "Disabled"} | fields
    for required in ("trafficRoutingMethod", "dnsConfig", "monitorConfig"):
        if required not in whole:
            raise bad(f"{required} is required.", required)
    for name, choices in (
        ("profileStatus", SWITCH),
        ("trafficViewEnrollmentStatus", SWITCH),
        ("trafficRoutingMethod", ROUTING),
    ):
        whole[name] = one_of(whole[name], choices, name)
    if "recordType" in whole:
        whole["recordType"] = one_of(whole["recordType"], ("A", "AAAA", "CNAME"), "recordType")
    _dns(whole["dnsConfig"])
    whole["monitorConfig"] = _monitor(whole["monitorConfig"])
    return whole


def _dns(config: Json) -> None:
    name = config.get("relativeName")
    if not isinstance(name, str) or not LABEL.fullmatch(name):
        raise bad(f"{name!r} is not a valid DNS label.", "dnsConfig.relativeName")
    integer(config.get("ttl"), 0, MAX_TTL_S, "dnsConfig.ttl")


def _monitor(config: Json) -> Json:
    """Check the probe settings; defaults as documented: 30 s, 10 s (9 s at 10 s), 3 failures."""
    interval = config.get("intervalInSeconds", 30)
    if isinstance(interval, bool) or interval not in {10, 30}:
        raise bad("intervalInSeconds must be 10 or 30.", "monitorConfig.intervalInSeconds")
    longest = 10 if interval == 30 else 9  # noqa: PLR2004  # the two intervals there are
    defaults: Json = {
        "intervalInSeconds": interval,
        "timeoutInSeconds": longest,
        "toleratedNumberOfFailures": 3,
    }
    whole = defaults | config
    integer(whole["timeoutInSeconds"], 5, longest, "monitorConfig.timeoutInSeconds")
    integer(whole["toleratedNumberOfFailures"], 0, 9, "monitorConfig.toleratedNumberOfFailures")
    integer(whole.get("port"), 1, 65535, "monitorConfig.port")
    whole["protocol"] = one_of(
        whole.get("protocol"), ("HTTP", "HTTPS", "TCP"), "monitorConfig.protocol"
    )
    _probe_path(whole)
    _probe_lists(whole)
    return whole


def _probe_path(whole: Mapping[str, Any]) -> None:
    path = whole.get("path")
    if whole["protocol"] == "TCP":
        if path:
            raise bad("path does not apply to TCP.", "monitorConfig.path")
    elif not isinstance(path, str) or not path.startswith("/"):
        raise bad("path is required and starts with '/'.", "monitorConfig.path")


def _probe_lists(whole: Mapping[str, Any]) -> None:
    for name in ("customHeaders", "expectedStatusCodeRanges"):
        if not isinstance(whole.get(name, []), list) or len(whole.get(name, [])) > 8:  # noqa: PLR2004  # documented
            raise bad(f"{name} takes at most 8 items.", f"monitorConfig.{name}")
    for span in whole.get("expectedStatusCodeRanges", []):
        low, high = (as_object(span, "range").get(end) for end in ("min", "max"))
        integer(low, 100, 999, "monitorConfig.expectedStatusCodeRanges.min")
        integer(high, low or 100, 999, "monitorConfig.expectedStatusCodeRanges.max")
