"""Simulated users: they ask a caching resolver where a service is and send it real requests.

Rules:
- A resolver keeps each answer for its TTL and so sends all its users the same way until then.
- Load is open: requests leave when they are due (exponential gaps, seeded), whether or not the
  ones before were answered, up to a bound in flight.
- All users of a resolver live in one city, and several resolvers serve a city. So a mix of cities
  moves with DNS, which is what strata are for.
- One loop per resolver, kept-alive connections, and counters instead of records.

They prove that a change of weights reaches users as late and as clumped as caches make it. They
do NOT prove how many users share a resolver in the world, nor that resolvers there keep to TTLs.
"""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Literal, Self

import aiohttp
import dns.asyncresolver
import dns.exception
import dns.resolver
from yarl import URL

from sandbox.dns import LOOPBACK
from sandbox.services import CITY_HEADER, FAR_CITY, USER_HEADER

type Arm = Literal["stable", "canary"]

MAX_IN_FLIGHT: Final = 500
CITIES: Final = ("Bergen", "Lyon", "Porto", FAR_CITY, "Turin")
_ANSWER_S: Final = 5.0
# A query that is lost is asked again, as glibc does: after 5 s, and twice. That a name is gone is
# an answer, and is heard at once.
_ASK_AGAIN_S: Final = 5.0
_RESOLVE_S: Final = 11.0
_FAILED_FROM: Final = 500


@dataclass(frozen=True, slots=True)
class Habits:
    """How many users there are, behind how many resolvers, and how much they ask for together."""

    resolvers: int = 60
    users_each: int = 4
    rate_per_s: float = 100.0
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Where:
    """The name users know, who resolves it, and which version answers at which address."""

    name: str
    dns_port: int
    port: int
    arms: Mapping[str, Arm]


@dataclass(slots=True)
class Tally:
    """What users met, by arm; times are seconds since the epoch.

    `first_bad_s` is the canary's, since the last `forget_first_bad`; `lost` counts requests that
    had no address to go to, `skipped` those not sent because too many were in flight.
    """

    requests: Counter[Arm] = field(default_factory=Counter)
    bad: Counter[Arm] = field(default_factory=Counter)
    answers: Counter[Arm] = field(default_factory=Counter)
    hurt: dict[Arm, set[str]] = field(default_factory=lambda: {"stable": set(), "canary": set()})
    first_bad_s: float | None = None
    last_canary_s: float | None = None
    lost: int = 0
    skipped: int = 0

    def forget_first_bad(self) -> None:
        """Bad requests count as the first from now on: the canary is about to turn bad."""
        self.first_bad_s = None

    def note(self, arm: Arm, user: str, at_s: float, *, good: bool) -> None:
        """One request and how it ended; `at_s` is when it was sent."""
        self.requests[arm] += 1
        if arm == "canary":
            self.last_canary_s = max(at_s, self.last_canary_s or at_s)
        if good:
            return
        self.bad[arm] += 1
        self.hurt[arm].add(user)
        if arm == "canary" and self.first_bad_s is None:
            self.first_bad_s = at_s


class Resolver:
    """One caching resolver, and the users behind it."""

    def __init__(self, number: int, where: Where, habits: Habits, tally: Tally) -> None:
        self.users = [f"user-{number}-{each}" for each in range(habits.users_each)]
        self.city = CITIES[number % len(CITIES)]
        self.dice = random.Random(f"{habits.seed} {where.name} {number}")
        self._where = where
        self._tally = tally
        self._last: dns.resolver.Answer | None = None
        self._asker = dns.asyncresolver.Resolver(configure=False)
        self._asker.nameservers = [LOOPBACK]
        self._asker.port = where.dns_port
        self._asker.timeout = _ASK_AGAIN_S
        self._asker.lifetime = _RESOLVE_S
        self._asker.cache = dns.resolver.Cache()

    async def address(self) -> str | None:
        """Where the name leads now, from the cache while the answer lives; None is nowhere."""
        try:
            found = await self._asker.resolve(self._where.name, "A", search=False)
        except (dns.exception.DNSException, OSError):
            return None
        address = str(found[0].address)
        if found is not self._last:
            self._last = found
            self._tally.answers[self._where.arms[address]] += 1
        return address


class Crowd:
    """All users of one service; they are at work while it is entered."""

    def __init__(self, where: Where, habits: Habits | None = None) -> None:
        self.where = where
        self.habits = habits or Habits()
        self.tally = Tally()
        self._resolvers = [
            Resolver(number, where, self.habits, self.tally)
            for number in range(self.habits.resolvers)
        ]
        self._urls = {
            address: URL.build(scheme="http", host=address, port=where.port, path="/")
            for address in where.arms
        }
        self._session: aiohttp.ClientSession | None = None
        self._loops: list[asyncio.Task[None]] = []
        self._in_flight: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._session = session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=30),
            timeout=aiohttp.ClientTimeout(total=_ANSWER_S),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        self._loops = [
            asyncio.create_task(self._live(session, resolver)) for resolver in self._resolvers
        ]
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()
        if self._session is not None:
            await self._session.close()

    async def leave(self) -> None:
        """Send no more; requests under way are given up and not counted.

        Raises what a loop of ours ended with before its time.
        """
        tasks = [*self._loops, *self._in_flight]
        for task in tasks:
            task.cancel()
        self._loops = []
        for ended in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(ended, Exception):
                raise ended

    async def _live(self, session: aiohttp.ClientSession, resolver: Resolver) -> None:
        """One resolver's users: wait until the next request is due, ask where to, let it go."""
        per_s = self.habits.rate_per_s / self.habits.resolvers
        due_s = time.monotonic()
        while True:
            due_s += resolver.dice.expovariate(per_s)
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            address = await resolver.address()
            user = resolver.dice.choice(resolver.users)
            if address is None:
                self.tally.lost += 1
            elif len(self._in_flight) >= MAX_IN_FLIGHT:
                self.tally.skipped += 1
            else:
                headers = {USER_HEADER: user, CITY_HEADER: resolver.city}
                request = asyncio.create_task(self._send(session, address, headers))
                self._in_flight.add(request)
                request.add_done_callback(self._in_flight.discard)

    async def _send(
        self, session: aiohttp.ClientSession, address: str, headers: dict[str, str]
    ) -> None:
        at_s = time.time()
        try:
            async with session.get(self._urls[address], headers=headers) as response:
                await response.read()
                good = response.status < _FAILED_FROM
        except (aiohttp.ClientError, TimeoutError):
            good = False
        self.tally.note(self.where.arms[address], headers[USER_HEADER], at_s, good=good)
