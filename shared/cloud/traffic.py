"""Traffic Manager as the traffic port.

Reads are retried within a deadline and never raise. A write is one endpoint PATCH of exactly
weight and status: the service has no ETag, so a write that arrives late undoes a newer one, and
a write is therefore short, is repeated only when the service asks to wait, and says when nobody
can know whether it was applied.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from azure.core.exceptions import AzureError, HttpResponseError
from azure.mgmt.trafficmanager.aio import TrafficManagerManagementClient
from azure.mgmt.trafficmanager.models import Endpoint, EndpointProperties, Profile
from tenacity import (
    AsyncRetrying,
    RetryCallState,
    retry_if_exception,
    stop_after_attempt,
    stop_before_delay,
)

from shared.cloud import probe, seeing, trouble
from shared.cloud.probe import Check
from shared.cloud.retries import patiently
from shared.core.model import EndpointSeen, ProbeSeen, TrafficSeen
from shared.core.telemetry import Sight
from shared.core.weights import Write
from shared.errors import RefusedError, UnreachableError

log = logging.getLogger(__name__)

# Retries of one read may take this many times the time of one call.
PATIENCE = 2.0
WRITE_TRIES = 2
MAX_CLIENTS = 64

_PROFILE_ID = re.compile(
    r"/subscriptions/(?P<subscription>[0-9A-Za-z-]{1,64})"
    r"/resourceGroups/(?P<group>[-\w.()]{0,89}[-\w()])"
    r"/providers/Microsoft\.Network/trafficManagerProfiles/(?P<name>[-\w.]{0,62}[-\w])/?",
    re.IGNORECASE,
)
_NOT_FOUND = 404
_NEVER_APPLIED = frozenset({400, 401, 403, _NOT_FOUND, 409, 412, 429})
_WORTH_WAITING = frozenset({429, 503})

type Connect = Callable[[str], TrafficManagerManagementClient]


@dataclass(frozen=True, slots=True)
class ProfileId:
    """The parts of a profile's resource id."""

    subscription: str
    group: str
    name: str


def profile_id(text: str) -> ProfileId:
    """A resource id in its parts, in any casing. Raises RefusedError when it is none."""
    found = _PROFILE_ID.fullmatch(text)
    if not found:
        raise RefusedError(f"{text[:200]!r} is not the resource id of a Traffic Manager profile")
    return ProfileId(**found.groupdict())


class ArmTraffic:
    """Profiles of any subscription the identity may reach; `connect` makes a client for one."""

    def __init__(self, connect: Connect, *, timeout_s: float) -> None:
        self._connect = connect
        self._timeout_s = timeout_s
        self._clients: dict[str, TrafficManagerManagementClient] = {}

    async def see(self, profile: str) -> TrafficSeen:
        """The profile as it is now. Never raises: what went wrong is part of the value."""
        try:
            found = await self._read(profile)
            if found is None:
                return TrafficSeen(Sight.ABSENT, "the Traffic Manager profile does not exist")
            return TrafficSeen(Sight.SEEN, profile=seeing.profile(found))
        except Exception as error:  # noqa: BLE001  # the port's contract: blindness is a value
            return TrafficSeen(Sight.FAILED, f"Traffic Manager: {trouble.words(error)}")

    async def write(self, profile: str, endpoint: EndpointSeen, write: Write) -> None:
        """One endpoint PATCH of weight and status.

        Raises UnreachableError, whose words say whether it may have been applied.
        """
        where = profile_id(profile)
        status = "Enabled" if write.to.enabled else "Disabled"
        body = Endpoint(
            properties=EndpointProperties(weight=write.to.weight, endpoint_status=status)
        )
        patch = partial(
            self._client(where).endpoints.update,
            where.group,
            where.name,
            endpoint.kind,
            endpoint.name,
            body,
        )
        try:
            async with asyncio.timeout(self._timeout_s):
                await _twice_at_most(patch, self._timeout_s)
        except (AzureError, TimeoutError, OSError) as error:
            raise _translated(
                error, f"set {endpoint.name} to {status} {write.to.weight}"
            ) from error

    async def probe(self, profile: str, endpoint: str) -> ProbeSeen:
        """Ask the endpoint's monitor path as the profile's monitor config says. Never raises."""
        try:
            found = await self._read(profile)
            if found is None:
                return ProbeSeen(healthy=False, reason="the profile does not exist")
            return await probe.perform(seeing.check(found, endpoint))
        except Exception as error:  # noqa: BLE001  # the port's contract: trouble is a value
            return ProbeSeen(
                healthy=False, reason=f"it could not be probed: {trouble.words(error)}"
            )

    async def origin(self, profile: str, endpoint: str) -> Check:
        """Where and how the endpoint is asked, by the profile's monitor config.

        Raises RefusedError when there is no such endpoint, UnreachableError when nobody can tell.
        """
        try:
            found = await self._read(profile)
        except (AzureError, TimeoutError, OSError) as error:
            raise UnreachableError(f"Traffic Manager: {trouble.words(error)}") from error
        if found is None:
            raise RefusedError("the Traffic Manager profile does not exist")
        return seeing.check(found, endpoint)

    async def _read(self, profile: str) -> Profile | None:
        where = profile_id(profile)
        look = partial(self._get, where)
        return await patiently(look, deadline_s=self._timeout_s * PATIENCE)

    async def _get(self, where: ProfileId) -> Profile | None:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._client(where).profiles.get(where.group, where.name)
        except HttpResponseError as error:
            if error.status_code == _NOT_FOUND:
                return None
            raise

    def _client(self, where: ProfileId) -> TrafficManagerManagementClient:
        """The subscription's client; the oldest makes room (connections are not theirs)."""
        key = where.subscription.casefold()
        if key not in self._clients:
            if len(self._clients) >= MAX_CLIENTS:
                self._clients.pop(next(iter(self._clients)))
            self._clients[key] = self._connect(where.subscription)
        return self._clients[key]


async def _twice_at_most(patch: Callable[[], Awaitable[object]], deadline_s: float) -> None:
    """Try again only when asked to wait, and only when the wait ends before the deadline."""
    tries = AsyncRetrying(
        retry=retry_if_exception(_asks_to_wait),
        wait=_as_long_as_asked,
        stop=stop_after_attempt(WRITE_TRIES) | stop_before_delay(deadline_s),
        reraise=True,
    )
    await tries(patch)


def _as_long_as_asked(state: RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    return trouble.retry_after_s(error) or 0.0


def _asks_to_wait(error: BaseException) -> bool:
    asked = trouble.status_of(error) in _WORTH_WAITING
    return asked and trouble.retry_after_s(error) is not None


def _translated(error: Exception, what: str) -> UnreachableError:
    status = trouble.status_of(error)
    said = f"could not {what}: {trouble.words(error)}"
    if status in _NEVER_APPLIED:
        return UnreachableError(f"{said}; it was not applied")
    return UnreachableError(f"{said}; it may have been applied")
