"""What one Traffic Manager profile is, how healthy its endpoints are, and who may be answered.

Values and small functions for `arm.py`. The table of monitor statuses is the documented one:
an endpoint is in the answers while it is Online, CheckingEndpoint or Unmonitored; Degraded ones
are in only when all that are left are Degraded; Disabled, Inactive and Stopped ones never are.
"""

import re
from collections import deque
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sandbox.arm_checks import ArmError, Json, one_of
from sandbox.arm_rules import PROFILE_TYPE, endpoint_kind
from sandbox.clock import Clock

DOMAIN: Final = "trafficmanager.test"
PROBED: Final = ("Online", "CheckingEndpoint", "Degraded", "Stopped")
_SERVED: Final = frozenset({"Online", "CheckingEndpoint", "Unmonitored"})


_ID: Final = re.compile(
    r"/subscriptions/(?P<subscription>[^/]+)/resourceGroups/(?P<group>[^/]+)"
    r"/providers/Microsoft\.Network/trafficManagerProfiles/(?P<profile>[^/]+)"
    r"(?:/(?P<kind>[^/]+)/(?P<endpoint>[^/]+))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Address:
    """A parsed ARM id: of a profile, or of one of its endpoints."""

    subscription: str
    group: str
    profile: str
    kind: str | None = None
    endpoint: str | None = None

    @property
    def key(self) -> tuple[str, str, str]:
        """What tells profiles apart."""
        return self.subscription.lower(), self.group.lower(), self.profile.lower()

    @property
    def resource_id(self) -> str:
        """The ARM id it was parsed from, with the usual casing of its fixed parts."""
        profile = _profile_id(self.subscription, self.group, self.profile)
        return f"{profile}/{_camel(self.kind)}/{self.endpoint}" if self.kind else profile


def parse_id(resource_id: str) -> Address:
    """Read an ARM id. Raises ArmError 404 for ids of anything else."""
    found = _ID.fullmatch(resource_id.rstrip("/"))
    if not found:
        raise ArmError(404, "NotFound", f"There is nothing at {resource_id}.")
    parts = found.groupdict()
    if parts["kind"] is not None:
        try:
            parts["kind"] = endpoint_kind(parts["kind"])
        except ArmError as error:
            message = f"The resource type '{parts['kind']}' could not be found."
            raise ArmError(404, "InvalidResourceType", message) from error
    return Address(**parts)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One endpoint: its stored properties, and since when probes have known it as it is."""

    name: str
    kind: str
    fields: Json
    since: datetime


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile: its stored properties (endpoints apart)."""

    subscription: str
    group: str
    name: str
    tags: Json
    fields: Json
    endpoints: tuple[Endpoint, ...]

    @property
    def resource_id(self) -> str:
        """Its ARM id, in the casing of whoever created it."""
        return _profile_id(self.subscription, self.group, self.name)

    @property
    def relative_name(self) -> str:
        """Its DNS label, in lower case."""
        return str(self.fields["dnsConfig"]["relativeName"]).lower()

    def endpoint(self, name: str) -> Endpoint | None:
        """The endpoint of that name, in any casing."""
        return next((each for each in self.endpoints if each.name.lower() == name.lower()), None)

    def endpoint_id(self, endpoint: Endpoint) -> str:
        """The ARM id of one of its endpoints."""
        return f"{self.resource_id}/{_camel(endpoint.kind)}/{endpoint.name}"


@dataclass(frozen=True, slots=True)
class Answer:
    """One DNS answer: a host name or IP address, its TTL in seconds, and whose it is."""

    target: str
    ttl_s: int
    endpoint_id: str


class Health:
    """What the probes would say: Online after `probe_after_s`, or what a test has set."""

    def __init__(self, clock: Clock, probe_after_s: float) -> None:
        self._clock = clock
        self._probe_after = timedelta(seconds=probe_after_s)
        self._overrides: dict[str, str] = {}

    def override(self, endpoint_id: str, status: str | None) -> None:
        """Let probes find *status* from now on; None ends that. Raises ArmError."""
        if status is None:
            self._overrides.pop(endpoint_id.lower(), None)
        else:
            self._overrides[endpoint_id.lower()] = one_of(status, PROBED, "endpointMonitorStatus")

    def of(self, profile: Profile, endpoint: Endpoint) -> str:
        """The `endpointMonitorStatus` of one endpoint."""
        if endpoint.fields["endpointStatus"] == "Disabled":
            return "Disabled"
        if profile.fields["profileStatus"] == "Disabled":
            return "Inactive"
        if endpoint.fields["alwaysServe"] == "Enabled":
            return "Unmonitored"
        if set_by_test := self._overrides.get(profile.endpoint_id(endpoint).lower()):
            return set_by_test
        known = self._clock() >= endpoint.since + self._probe_after
        return "Online" if known else "CheckingEndpoint"

    def of_profile(self, profile: Profile) -> str:
        """The `profileMonitorStatus`: the worst news first, as the documentation orders it."""
        if profile.fields["profileStatus"] == "Disabled":
            return "Disabled"
        seen = {self.of(profile, each) for each in profile.endpoints}
        if "Degraded" in seen:
            return "Degraded"
        if seen & {"Online", "Unmonitored"}:
            return "Online"
        return "CheckingEndpoints" if "CheckingEndpoint" in seen else "Inactive"


class Zone:
    """What the name servers know: each profile as it was `propagation_s` ago."""

    def __init__(self, clock: Clock, propagation_s: float) -> None:
        self._clock = clock
        self._delay = timedelta(seconds=propagation_s)
        self._versions: dict[str, deque[tuple[datetime, Profile | None]]] = {}

    def publish(self, relative_name: str, profile: Profile | None) -> None:
        """Make *profile* (None: nothing) what the name will mean after the delay."""
        versions = self._versions.setdefault(relative_name, deque())
        versions.append((self._clock() + self._delay, profile))
        self._drop_old(versions)

    def visible(self, name: str) -> Profile | None:
        """The profile behind a full DNS name, as the name servers see it now."""
        label, _, domain = name.lower().rstrip(".").partition(".")
        versions = self._versions.get(label)
        if domain != DOMAIN or not versions:
            return None
        self._drop_old(versions)
        since, profile = versions[0]
        return profile if since <= self._clock() else None

    def _drop_old(self, versions: deque[tuple[datetime, Profile | None]]) -> None:
        now = self._clock()
        while len(versions) > 1 and versions[1][0] <= now:
            versions.popleft()


def eligible(profile: Profile, health: Health) -> tuple[Endpoint, ...]:
    """The endpoints among which an answer is drawn; none means NXDOMAIN."""
    status = {each.name: health.of(profile, each) for each in profile.endpoints}
    served = tuple(each for each in profile.endpoints if status[each.name] in _SERVED)
    return served or tuple(each for each in profile.endpoints if status[each.name] == "Degraded")


def shares(profile: Profile, health: Health) -> dict[str, float]:
    """The share of DNS answers by endpoint name (0..1) when drawn by weight; {} is NXDOMAIN."""
    pool = eligible(profile, health)
    whole = sum(each.fields["weight"] for each in pool)
    mine = {each.name: each.fields["weight"] / whole for each in pool}
    return {each.name: mine.get(each.name, 0.0) for each in profile.endpoints} if pool else {}


def endpoint_json(profile: Profile, endpoint: Endpoint, health: Health) -> Json:
    """An endpoint as ARM writes it."""
    return {
        "id": profile.endpoint_id(endpoint),
        "name": endpoint.name,
        "type": f"{PROFILE_TYPE}/{_camel(endpoint.kind)}",
        "properties": endpoint.fields | {"endpointMonitorStatus": health.of(profile, endpoint)},
    }


def as_json(profile: Profile, health: Health) -> Json:
    """A profile as ARM writes it."""
    fields = profile.fields
    fqdn = {"fqdn": f"{profile.relative_name}.{DOMAIN}"}
    status = {"profileMonitorStatus": health.of_profile(profile)}
    properties: Json = {"recordType": None} | fields
    properties["dnsConfig"] = fields["dnsConfig"] | fqdn
    properties["monitorConfig"] = fields["monitorConfig"] | status
    properties["endpoints"] = [endpoint_json(profile, each, health) for each in profile.endpoints]
    return {
        "id": profile.resource_id,
        "name": profile.name,
        "type": PROFILE_TYPE,
        "location": "global",
        "tags": profile.tags,
        "properties": properties,
    }


def _profile_id(subscription: str, group: str, name: str) -> str:
    owner = f"/subscriptions/{subscription}/resourceGroups/{group}"
    return f"{owner}/providers/{PROFILE_TYPE}/{name}"


def _camel(kind: str) -> str:
    return kind[0].lower() + kind[1:]
