"""The store in memory, and what every port in memory has: a hook before and after each call.

A stand-in for tests of the controllers: it runs the same contract suite as the store on Azure
Tables, and proves nothing about Azure.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal

from shared import record
from shared.core.alerts import Spell
from shared.core.model import Plan, Rollout
from shared.core.tally import Tally, total
from shared.errors import ConflictError
from shared.ports import Claim, Heard, HistoryRow, Rejected, Stored

type Stage = Literal["before", "after"]
type Hook = Callable[[str, str, Stage], Awaitable[None]]


async def no_fault(_port: str, _method: str, _stage: Stage) -> None:
    """The hook of a world where all goes well; a fault raises or waits here instead."""


@dataclass
class Faulty:
    """A port whose calls pass through the hook, before the effect and after it."""

    hook: Hook = no_fault

    @asynccontextmanager
    async def call(self, method: str) -> AsyncIterator[None]:
        """One call; a fault after the effect is a lost reply."""
        await self.hook(type(self).__name__, method, "before")
        yield
        await self.hook(type(self).__name__, method, "after")


@dataclass
class MemoryStore(Faulty):
    """Records and rows as JSON text, so that nothing is kept that could not be stored."""

    records: dict[str, tuple[str, str, int]] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    messages: dict[tuple[str, str], int] = field(default_factory=dict)
    holders: dict[str, Claim] = field(default_factory=dict)
    parked: dict[str, Rejected] = field(default_factory=dict)
    alerts: dict[str, Heard] = field(default_factory=dict)
    samples: dict[str, set[str]] = field(default_factory=dict)
    tallies: dict[str, list[str]] = field(default_factory=dict)
    beat_s: float | None = None
    version: int = 0

    async def load(self, name: str) -> Stored | None:
        """The rollout of that name."""
        async with self.call("load"):
            return self._stored(name)

    async def create(
        self, plan: Plan, rollout: Rollout, row: HistoryRow, message_id: str
    ) -> Stored:
        """First record, row and seen message."""
        async with self.call("create"):
            if rollout.name in self.records:
                raise ConflictError(f"{rollout.name} exists")
            return self._put(record.plan_to_json(plan), rollout, row, message_id)

    async def save(
        self, stored: Stored, rollout: Rollout, row: HistoryRow, message_id: str | None
    ) -> Stored:
        """Next record, row and seen message, against the etag."""
        async with self.call("save"):
            plan, _, etag = self.records.get(rollout.name, ("", "", 0))
            seen = message_id is not None and (rollout.name, message_id) in self.messages
            taken = any(old["number"] == row.number for old in self.rows.get(rollout.name, []))
            if str(etag) != stored.etag or seen or taken:
                raise ConflictError(f"{rollout.name} was saved by another turn")
            return self._put(plan, rollout, row, message_id)

    async def seen(self, name: str, message_id: str) -> int | None:
        """The row a message led to."""
        async with self.call("seen"):
            return self.messages.get((name, message_id))

    async def history(self, name: str, after: int = 0, limit: int = 1000) -> list[HistoryRow]:
        """Rows in order."""
        async with self.call("history"):
            rows = [row for row in self.rows.get(name, []) if row["number"] > after]
            return [record.row_from_dict(row) for row in rows[:limit]]

    async def turnings(self, name: str, limit: int = 200) -> list[HistoryRow]:
        """The newest rows at which something turned, in order."""
        async with self.call("turnings"):
            rows = [record.row_from_dict(row) for row in self.rows.get(name, [])]
            return [row for row in rows if row.turning][-limit:]

    async def names(self, limit: int = 500) -> list[str]:
        """The rollouts there are."""
        async with self.call("names"):
            return list(self.records)[:limit]

    async def claim(self, profile: str, rollout: str, instead_of: Claim | None = None) -> Claim:
        """Take a free profile, or take it over."""
        async with self.call("claim"):
            key = profile.casefold()
            held = self.holders.get(key)
            if held is None or (instead_of is not None and held.etag == instead_of.etag):
                self.version += 1
                self.holders[key] = Claim(profile, rollout, str(self.version))
            return self.holders[key]

    async def claims(self) -> list[Claim]:
        """Every claim."""
        async with self.call("claims"):
            return list(self.holders.values())

    async def release(self, claim: Claim) -> None:
        """Give a profile back, unless somebody else has it by now."""
        async with self.call("release"):
            held = self.holders.get(claim.profile.casefold())
            if held is not None and held.etag == claim.etag:
                del self.holders[claim.profile.casefold()]

    async def reject(self, rejected: Rejected) -> None:
        """Keep a message that cannot be used, once."""
        async with self.call("reject"):
            self.parked.setdefault(rejected.key, rejected)

    async def rejected(self, limit: int = 100) -> list[Rejected]:
        """Rejected messages, newest first."""
        async with self.call("rejected"):
            newest = sorted(self.parked.values(), key=lambda entry: -entry.at_s)
            return newest[:limit]

    async def rejected_one(self, key: str) -> Rejected | None:
        """The rejected message of that key."""
        async with self.call("rejected_one"):
            return self.parked.get(key)

    async def heard(self, key: str) -> Heard | None:
        """What is known of an alert."""
        async with self.call("heard"):
            return self.alerts.get(key)

    async def hear(self, spell: Spell, instead_of: Heard | None) -> None:
        """Remember an alert, against the etag."""
        async with self.call("hear"):
            if self.alerts.get(spell.key) != instead_of:
                raise ConflictError(f"{spell.rule} was heard by another turn")
            self.version += 1
            kept = record.spell_from_json(record.spell_to_json(spell))
            self.alerts[spell.key] = Heard(kept, str(self.version))

    async def spells(self, limit: int = 1000) -> list[Spell]:
        """Alerts that were heard."""
        async with self.call("spells"):
            return [heard.spell for heard in self.alerts.values()][:limit]

    async def add_tally(self, name: str, tally: Tally, keys: Sequence[str]) -> None:
        """Write down what samples count for."""
        async with self.call("add_tally"):
            before = self.samples.setdefault(name, set())
            if before & set(keys):
                raise ConflictError("a sample was counted before")
            before |= set(keys)
            self.tallies.setdefault(name, []).append(record.tally_to_json(tally))

    async def counted(self, name: str, keys: Sequence[str]) -> frozenset[str]:
        """Which of these samples were counted before."""
        async with self.call("counted"):
            return frozenset(self.samples.get(name, set()) & set(keys))

    async def tally(self, name: str) -> Tally:
        """All tallies of a rollout, added up."""
        async with self.call("tally"):
            return total(record.tally_from_json(text) for text in self.tallies.get(name, []))

    async def beat(self, at_s: float) -> None:
        """Note a tick."""
        async with self.call("beat"):
            self.beat_s = at_s

    async def last_beat_s(self) -> float | None:
        """When a tick last ran."""
        async with self.call("last_beat_s"):
            return self.beat_s

    def _stored(self, name: str) -> Stored | None:
        if name not in self.records:
            return None
        plan, rollout, etag = self.records[name]
        return Stored(record.plan_from_json(plan), record.rollout_from_json(rollout), str(etag))

    def _put(self, plan: str, rollout: Rollout, row: HistoryRow, message_id: str | None) -> Stored:
        self.version += 1
        name = rollout.name
        self.records[name] = plan, record.rollout_to_json(rollout), self.version
        self.rows.setdefault(name, []).append(record.row_to_dict(row))
        if message_id is not None:
            self.messages[name, message_id] = row.number
        stored = self._stored(name)
        assert stored is not None  # noqa: S101  # it was put a line above
        return stored
