"""A stand-in for Traffic Manager: the state behind its ARM routes and its DNS answers.

No sockets here and no time but the clock it is given: `arm_http.py` puts it on the wire and
`dns.py` answers from it. Rules:
- A resource is addressed by its ARM id, in any casing.
- PUT replaces, PATCH of an endpoint changes exactly the fields that are given and not null,
  PATCH of a profile that carries `endpoints` replaces all of them.
- There is no ETag and no If-Match: the last writer wins, as with the real service.
- A write is seen by DNS `propagation_s` after it was made; health is seen at once.

It proves that our reads and writes are well formed and that they move simulated traffic in the
order we meant. It does NOT prove how Azure words its errors, how long its name servers take,
how its probes judge an endpoint (here health is what a test says), or how it draws.
"""

import random
from collections import Counter, deque
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Final

from sandbox import arm_rules as rules
from sandbox.arm_checks import ArmError, Json, as_object, bad, resource_name
from sandbox.arm_profile import (
    Address,
    Answer,
    Endpoint,
    Health,
    Profile,
    Zone,
    as_json,
    eligible,
    endpoint_json,
    parse_id,
    shares,
)
from sandbox.clock import Clock, iso, utc_now

MAX_PROFILES: Final = 500
MAX_WRITES: Final = 5000


@dataclass(frozen=True, slots=True)
class Write:
    """One accepted write: what was sent, and the DNS shares by endpoint name it led to."""

    at: str
    method: str
    resource_id: str
    body: Json
    shares: dict[str, float]


class TrafficManager:
    """All profiles of all subscriptions, their endpoints' health, and what DNS says of them."""

    def __init__(
        self,
        *,
        clock: Clock = utc_now,
        seed: int = 0,
        probe_after_s: float = 0.0,
        propagation_s: float = 0.0,
    ) -> None:
        self._clock = clock
        self._profiles: dict[tuple[str, str, str], Profile] = {}
        self._health = Health(clock, probe_after_s)
        self._zone = Zone(clock, propagation_s)
        self._draw = random.Random(seed)
        self.journal: deque[Write] = deque(maxlen=MAX_WRITES)
        self.answers: Counter[str] = Counter()

    # --- reads

    def get(self, resource_id: str) -> Json:
        """The profile or endpoint at *resource_id*, as ARM writes it. Raises ArmError."""
        address = parse_id(resource_id)
        profile = self._profile(address)
        if address.endpoint is None:
            return as_json(profile, self._health)
        return endpoint_json(profile, self._endpoint(profile, address), self._health)

    def list(self, subscription: str, group: str | None = None) -> list[Json]:
        """All profiles of a subscription, or of one resource group in it."""
        wanted = (subscription.lower(), group.lower() if group is not None else None)
        return [
            as_json(profile, self._health)
            for (owner, where, _), profile in sorted(self._profiles.items())
            if wanted in {(owner, where), (owner, None)}
        ]

    def shares(self, profile_id: str) -> dict[str, float]:
        """The share of DNS answers each endpoint gets by the state as written, 0..1 by name."""
        return shares(self._profile(parse_id(profile_id)), self._health)

    # --- writes

    def put(self, resource_id: str, body: Json) -> tuple[Json, bool]:
        """Create or replace; answers the resource and whether it is new. Raises ArmError."""
        address = parse_id(resource_id)
        if address.endpoint is not None:
            return self._put_endpoint(address, body)
        old = self._profiles.get(address.key)
        self._keep(address, self._whole_profile(address, old, body), "PUT", body)
        return self.get(resource_id), old is None

    def patch(self, resource_id: str, body: Json) -> Json:
        """Change what *body* gives and nothing else. Raises ArmError."""
        address = parse_id(resource_id)
        profile = self._profile(address)
        if address.endpoint is None:
            self._keep(address, self._patched(profile, body), "PATCH", body)
        else:
            old = self._endpoint(profile, address)
            asked = rules.endpoint_fields(body)
            new = self._whole_endpoint(profile, old.kind, old.name, old.fields | asked)
            rules.may_always_serve(asked, new.fields)
            self._keep(address, self._with_endpoint(profile, new), "PATCH", body)
        return self.get(resource_id)

    def delete(self, resource_id: str) -> bool:
        """Remove a profile or endpoint; whether there was one. Raises ArmError."""
        address = parse_id(resource_id)
        try:
            profile = self._profile(address)
            gone = self._endpoint(profile, address) if address.endpoint is not None else None
        except ArmError:
            return False
        if gone is None:
            del self._profiles[address.key]
            self._zone.publish(profile.relative_name, None)
            self._note("DELETE", address, {}, {})
        else:
            rest = tuple(each for each in profile.endpoints if each is not gone)
            self._keep(address, replace(profile, endpoints=rest), "DELETE", {})
        return True

    # --- health and DNS

    def set_health(self, endpoint_id: str, status: str | None) -> None:
        """Let probes find *status* (Online, CheckingEndpoint, Degraded, Stopped); None: as usual.

        Raises ArmError when there is no such endpoint or status.
        """
        address = parse_id(endpoint_id)
        profile = self._profile(address)
        endpoint = self._endpoint(profile, address)
        self._health.override(profile.endpoint_id(endpoint), status)

    def answer_dns(self, name: str) -> Answer | None:
        """Draw one answer for *name* and count it; None means NXDOMAIN.

        Weighted profiles draw by weight and Priority profiles take the first that is available.
        Raises NotImplementedError for other routing methods.
        """
        profile = self._zone.visible(name)
        pool = eligible(profile, self._health) if profile else ()
        if profile is None or not pool:
            return None
        match profile.fields["trafficRoutingMethod"]:
            case "Weighted":
                weights = [each.fields["weight"] for each in pool]
                chosen = self._draw.choices(pool, weights)[0]
            case "Priority":
                chosen = min(pool, key=lambda each: int(each.fields["priority"]))
            case other:
                raise NotImplementedError(f"no DNS answers for {other} profiles here")
        endpoint_id = profile.endpoint_id(chosen)
        self.answers[endpoint_id] += 1
        return Answer(chosen.fields["target"], profile.fields["dnsConfig"]["ttl"], endpoint_id)

    # --- inside

    def _profile(self, address: Address) -> Profile:
        found = self._profiles.get(address.key)
        if found is None:
            raise _missing(rules.PROFILE_TYPE, address.profile, address.group)
        return found

    @staticmethod
    def _endpoint(profile: Profile, address: Address) -> Endpoint:
        name = str(address.endpoint)
        found = profile.endpoint(name)
        if found is None or found.kind != address.kind:
            raise _missing(
                f"{rules.PROFILE_TYPE}/{address.kind}", f"{profile.name}/{name}", profile.group
            )
        return found

    def _put_endpoint(self, address: Address, body: Json) -> tuple[Json, bool]:
        profile = self._profile(address)
        name = resource_name(address.endpoint, "endpoint.name")
        old = profile.endpoint(name)
        if old is not None and old.kind != address.kind:
            raise bad(f"The name '{name}' is taken by another endpoint.", "endpoint.name")
        fields = rules.endpoint_fields(body)
        if old is not None:
            fields = {"priority": old.fields["priority"]} | fields
        new = self._whole_endpoint(profile, str(address.kind), name, fields)
        rules.may_always_serve(fields, new.fields)
        self._keep(address, self._with_endpoint(profile, new), "PUT", body)
        return endpoint_json(profile, new, self._health), old is None

    def _whole_endpoint(self, profile: Profile, kind: str, name: str, fields: Json) -> Endpoint:
        """The endpoint with its rules kept; it is checked anew when it changed for the probes."""
        whole = rules.endpoint(kind, fields, profile.fields.get("recordType"))
        old = profile.endpoint(name)
        same = old is not None and all(
            old.fields[key] == whole[key] for key in ("endpointStatus", "target", "alwaysServe")
        )
        return Endpoint(name, kind, whole, old.since if old and same else self._clock())

    @staticmethod
    def _with_endpoint(profile: Profile, new: Endpoint) -> Profile:
        old = profile.endpoint(new.name)
        both = tuple(new if each is old else each for each in profile.endpoints)
        endpoints = both if old else (*both, new)
        rules.priorities([each.fields for each in endpoints], whole=False)
        return replace(profile, endpoints=endpoints)

    def _whole_profile(self, address: Address, old: Profile | None, body: Json) -> Profile:
        if str(body.get("location")).lower() != "global":
            raise ArmError(400, "LocationRequired", "location must be 'global'.", "location")
        fields = rules.profile_fields(body)
        listed = fields.pop("endpoints", [])
        bare = Profile(
            subscription=old.subscription if old else address.subscription,
            group=old.group if old else address.group,
            name=old.name if old else resource_name(address.profile, "profile.name"),
            tags=as_object(body.get("tags"), "tags"),
            fields=rules.profile(fields),
            endpoints=old.endpoints if old else (),
        )
        return self._renewed(old, self._listed(bare, listed))

    def _patched(self, old: Profile, body: Json) -> Profile:
        fields = rules.profile_fields(body)
        listed = fields.pop("endpoints", None)
        merged = old.fields | {
            key: old.fields[key] | value if key in {"dnsConfig", "monitorConfig"} else value
            for key, value in fields.items()
        }
        tags = as_object(body["tags"], "tags") if body.get("tags") is not None else old.tags
        new = replace(old, tags=tags, fields=rules.profile(merged))
        if listed is not None:
            return self._renewed(old, self._listed(new, listed))
        for each in new.endpoints:
            rules.endpoint(each.kind, each.fields, new.fields.get("recordType"))
        return self._renewed(old, new)

    def _listed(self, profile: Profile, listed: object) -> Profile:
        """*profile* with exactly the endpoints of a request's list."""
        if not isinstance(listed, list) or len(listed) > rules.MAX_ENDPOINTS:
            raise bad(f"endpoints is a list of at most {rules.MAX_ENDPOINTS}.", "endpoints")
        new = tuple(self._from_list(profile, each) for each in listed)
        if len({each.name.lower() for each in new}) != len(new):
            raise bad("The names of endpoints must be unique in the profile.", "endpoints")
        rules.priorities([each.fields for each in new], whole=True)
        return replace(profile, endpoints=new)

    def _from_list(self, profile: Profile, listed: object) -> Endpoint:
        fields = rules.endpoint_fields(listed)
        given = as_object(listed, "endpoint")
        kind = rules.endpoint_kind(given.get("type"))
        name = resource_name(given.get("name"), "endpoint.name")
        return self._whole_endpoint(profile, kind, name, fields)

    def _renewed(self, old: Profile | None, new: Profile) -> Profile:
        """Probes start over for every endpoint of a profile that was just enabled."""
        if old is None or old.fields["profileStatus"] == new.fields["profileStatus"]:
            return new
        now = self._clock()
        return replace(new, endpoints=tuple(replace(each, since=now) for each in new.endpoints))

    def _keep(self, address: Address, profile: Profile, method: str, body: Json) -> None:
        old = self._profiles.get(address.key)
        self._check_room(address, profile)
        if old is not None and old.relative_name != profile.relative_name:
            self._zone.publish(old.relative_name, None)
        self._profiles[address.key] = profile
        self._zone.publish(profile.relative_name, profile)
        self._note(method, address, body, shares(profile, self._health))

    def _check_room(self, address: Address, profile: Profile) -> None:
        others = [each for key, each in self._profiles.items() if key != address.key]
        if len(profile.endpoints) > rules.MAX_ENDPOINTS or len(others) >= MAX_PROFILES:
            raise ArmError(409, "Conflict", "The limit of profiles or endpoints is reached.")
        if any(each.relative_name == profile.relative_name for each in others):
            name = profile.fields["dnsConfig"]["relativeName"]
            raise ArmError(409, "Conflict", f"The name '{name}' is in use.", "dnsConfig")

    def _note(self, method: str, address: Address, body: Json, after: dict[str, float]) -> None:
        moment = iso(self._clock())
        self.journal.append(Write(moment, method, address.resource_id, deepcopy(body), after))


def _missing(kind: str, name: str, group: str) -> ArmError:
    message = f"The Resource '{kind}/{name}' under resource group '{group}' was not found."
    return ArmError(404, "ResourceNotFound", message)
