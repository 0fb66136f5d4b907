"""Records on Azure Tables: one partition a rollout, so that a turn is saved in one transaction.

    partition            row                       what
    r-<rollout>          record                    plan and rollout; its etag is the one that counts
    r-<rollout>          h-<number>                one event and what it led to; never changed
    r-<rollout>          t-<newest first>          the same where something turned, apart from looks
    r-<rollout>          m-<hash of message id>    the message's effect is in row <number>
    index                <rollout>                 that there is such a rollout
    claims               <hash of profile>         which rollout holds the profile
    rejected             t-<newest first>-<hash>   a message that could not be used
    rejected             i-<hash of id and bytes>  that it is kept already, and in which row
    alerts               <hash of rule and target> since when it fires, and who was told
    s-<rollout>          t-<hash of samples>       what some samples count for; never changed
    s-<rollout>          i-<hash of sample id>     that a sample was counted
    heartbeat            tick                      when a tick last ran

Every update names the etag it read. A save whose reply was lost looks like a conflict to its
repetition; the caller reloads and finds its own row. A transaction has four operations at most,
with samples 91, of 100 allowed.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, ResourceNotFoundError
from azure.data.tables import TableEntity, TableErrorCode, UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient

from shared import record
from shared.cloud import rows, trouble
from shared.cloud.pieces import joined, split
from shared.cloud.retries import patiently
from shared.core.alerts import Spell
from shared.core.model import Plan, Rollout
from shared.core.tally import Tally, total
from shared.errors import ConflictError, UnreachableError
from shared.ports import Claim, Heard, HistoryRow, Rejected, Stored

# A row that is gone was changed by somebody, too.
CONFLICTS = frozenset({404, 409, 412})
# The same statuses when nobody won: there is no table to win in.
GONE = frozenset({TableErrorCode.TABLE_NOT_FOUND, TableErrorCode.TABLE_BEING_DELETED})
PAGE = 1000
# More batches than the samples of any plan make.
MOST_TALLIES = 200_000


class TableStore:
    """The store of shared/ports.py on one table of an account."""

    def __init__(self, client: TableServiceClient, prefix: str, timeout_s: float) -> None:
        self._service = client
        self._name = f"{prefix}Rollouts"
        self._timeout_s = timeout_s
        self._table: TableClient | None = None

    async def prepare(self) -> TableClient:
        """The table, made if it is missing; without this, the first call makes it."""
        if self._table is None:
            with self._calling("make the table"):
                make = partial(self._service.create_table_if_not_exists, self._name)
                self._table = await patiently(make, deadline_s=self._timeout_s)
        return self._table

    async def close(self) -> None:
        """Close the connection."""
        if self._table is not None:
            await self._table.close()
        await self._service.close()

    async def load(self, name: str) -> Stored | None:
        """The rollout of that name."""
        entity = await self._get(rows.partition(name), "record")
        if entity is None:
            return None
        plan, etag = record.plan_from_json(joined(entity, "plan")), str(entity.metadata["etag"])
        return Stored(plan, record.rollout_from_json(joined(entity, "rollout")), etag)

    async def create(
        self, plan: Plan, rollout: Rollout, row: HistoryRow, message_id: str
    ) -> Stored:
        """First record, row and seen message. Raises ConflictError when the rollout exists."""
        operations = [
            ("create", rows.of_record(plan, rollout)),
            *rows.of_event(rollout.name, row, message_id),
        ]
        # The index goes first: a name too many is passed over, a missing one would hide a rollout.
        await self._upsert({**rows.keys_of("index", rows.key(rollout.name)), "Name": rollout.name})
        return Stored(plan, rollout, await self._transact(rollout.name, operations))

    async def save(
        self, stored: Stored, rollout: Rollout, row: HistoryRow, message_id: str | None
    ) -> Stored:
        """Next record, row and seen message. Raises ConflictError when another turn was first.

        After UnreachableError it may have been saved all the same; the next load shows it.
        """
        first: Any = ("update", rows.of_record(stored.plan, rollout), _replacing(stored.etag))
        operations = [first, *rows.of_event(rollout.name, row, message_id)]
        return Stored(stored.plan, rollout, await self._transact(rollout.name, operations))

    async def seen(self, name: str, message_id: str) -> int | None:
        """The row a message led to."""
        entity = await self._get(rows.partition(name), f"m-{rows.digest(message_id)}")
        return None if entity is None else int(entity["Number"])

    async def history(self, name: str, after: int = 0, limit: int = 1000) -> list[HistoryRow]:
        """Rows in order."""
        span = f"RowKey gt '{rows.ROW.format(after)}' and RowKey lt 'i'"
        found = await self._query(f"PartitionKey eq '{rows.partition(name)}' and {span}", limit)
        return [rows.history(entity) for entity in found]

    async def turnings(self, name: str, limit: int = 200) -> list[HistoryRow]:
        """The newest rows at which something turned, in order."""
        span = "RowKey ge 't-' and RowKey lt 'u'"
        found = await self._query(f"PartitionKey eq '{rows.partition(name)}' and {span}", limit)
        return [rows.history(entity) for entity in reversed(found)]

    async def names(self, limit: int = 500) -> list[str]:
        """The rollouts there are."""
        found = await self._query("PartitionKey eq 'index'", limit)
        return [str(entity["Name"]) for entity in found]

    async def claim(self, profile: str, rollout: str, instead_of: Claim | None = None) -> Claim:
        """Take a free profile, or take it over; returns the claim in force afterwards."""
        key = rows.digest(profile.casefold())
        wanted = rows.fitted(
            {**rows.keys_of("claims", key), "Profile": profile, "Rollout": rollout}
        )
        takes: list[Any] = [("create", wanted)]
        if instead_of is not None:
            takes.insert(0, ("update", wanted, _replacing(instead_of.etag)))
        for take in takes:
            with suppress(ConflictError):
                return Claim(profile, rollout, await self._transact(f"claim on {profile}", [take]))
        entity = await self._get("claims", key)
        if entity is None:
            raise UnreachableError(f"the claim on {profile} was released a moment ago")
        return rows.claim(entity)

    async def claims(self) -> list[Claim]:
        """Every claim."""
        return [
            rows.claim(entity) for entity in await self._query("PartitionKey eq 'claims'", 10_000)
        ]

    async def release(self, claim: Claim) -> None:
        """Give a profile back, unless somebody else has it by now."""
        row = rows.keys_of("claims", rows.digest(claim.profile.casefold()))
        with suppress(ConflictError):
            await self._transact("release", [("delete", row, _unchanged(claim.etag))])

    async def reject(self, rejected: Rejected) -> None:
        """Keep a message that cannot be used, once."""
        parked = rows.of_rejected(rejected)
        kept = rows.keys_of("rejected", f"i-{rejected.key}") | {"Row": parked["RowKey"]}
        with suppress(ConflictError):
            await self._transact("a rejected message", [("create", row) for row in (kept, parked)])

    async def rejected(self, limit: int = 100) -> list[Rejected]:
        """Rejected messages, newest first."""
        query = "PartitionKey eq 'rejected' and RowKey ge 't-' and RowKey lt 'u'"
        return [rows.rejected(entity) for entity in await self._query(query, limit)]

    async def rejected_one(self, key: str) -> Rejected | None:
        """The rejected message of that key."""
        kept = await self._get("rejected", f"i-{rows.key(key)}")
        entity = await self._get("rejected", str(kept["Row"])) if kept else None
        return rows.rejected(entity) if entity else None

    async def heard(self, key: str) -> Heard | None:
        """What is known of an alert."""
        entity = await self._get("alerts", rows.key(key))
        return Heard(rows.spell(entity), str(entity.metadata["etag"])) if entity else None

    async def hear(self, spell: Spell, instead_of: Heard | None) -> None:
        """Remember an alert. Raises ConflictError when somebody else heard it meanwhile."""
        entity = rows.keys_of("alerts", rows.key(spell.key)) | split(
            "spell", record.spell_to_json(spell)
        )
        write: Any = ("create", rows.fitted(entity))
        if instead_of is not None:
            write = ("update", rows.fitted(entity), _replacing(instead_of.etag))
        await self._transact(f"alert {spell.rule}", [write])

    async def spells(self, limit: int = 1000) -> list[Spell]:
        """Alerts that were heard."""
        return [
            rows.spell(entity) for entity in await self._query("PartitionKey eq 'alerts'", limit)
        ]

    async def add_tally(self, name: str, tally: Tally, keys: Sequence[str]) -> None:
        """Write down what samples count for. Raises ConflictError when one was counted before."""
        seen = [rows.of_sample(name, key) for key in keys]
        made = [("create", row) for row in (rows.of_tally(name, tally, keys), *seen)]
        await self._transact(f"a tally of {name}", made)

    async def counted(self, name: str, keys: Sequence[str]) -> frozenset[str]:
        """Which of these samples were counted before."""
        wanted = [rows.of_sample(name, key) for key in keys]
        found = await asyncio.gather(
            *(self._get(row["PartitionKey"], row["RowKey"]) for row in wanted)
        )
        return frozenset(key for key, row in zip(keys, found, strict=True) if row)

    async def tally(self, name: str) -> Tally:
        """All tallies of a rollout, added up."""
        span = "RowKey ge 't-' and RowKey lt 'u'"
        query = f"PartitionKey eq '{rows.samples_of(name)}' and {span}"
        return total([rows.tally(entity) for entity in await self._query(query, MOST_TALLIES)])

    async def beat(self, at_s: float) -> None:
        """Note a tick."""
        await self._upsert({**rows.keys_of("heartbeat", "tick"), "At": at_s})

    async def last_beat_s(self) -> float | None:
        """When a tick last ran."""
        entity = await self._get("heartbeat", "tick")
        return None if entity is None else float(entity["At"])

    async def _get(self, partition: str, row: str) -> TableEntity | None:
        async def look(table: TableClient) -> TableEntity | None:
            try:
                return await table.get_entity(partition, row)
            except ResourceNotFoundError as error:
                if _code(error) in GONE:
                    raise
                return None

        return await self._try(f"read {partition}", look)

    async def _query(self, query: str, limit: int) -> list[TableEntity]:
        async def look(table: TableClient) -> list[TableEntity]:
            pages = table.query_entities(query, results_per_page=min(limit, PAGE)).by_page()
            found: list[TableEntity] = []
            while len(found) < limit and (page := await anext(pages, None)) is not None:
                found += [entity async for entity in page]
            return found[:limit]

        return await self._try("read the table", look)

    async def _upsert(self, entity: dict[str, Any]) -> None:
        await self._try("write the table", lambda table: table.upsert_entity(entity))

    async def _try[T](self, what: str, attempt: Callable[[TableClient], Awaitable[T]]) -> T:
        """A read, or a write that may safely be made twice, and so is tried again."""
        table = await self.prepare()
        with self._calling(what):
            return await patiently(lambda: attempt(table), deadline_s=self._timeout_s)

    async def _transact(self, name: str, operations: list[Any]) -> str:
        """Send one transaction, once, and return the first row's new etag.

        It is not tried again: whether a lost reply meant a save is for the next load to say.
        """
        table = await self.prepare()
        with self._calling(f"save {name}", CONFLICTS):
            async with asyncio.timeout(self._timeout_s):
                results = await table.submit_transaction(operations)
        return str(results[0].get("etag", ""))

    @contextmanager
    def _calling(self, what: str, conflicts: frozenset[int] = frozenset()) -> Iterator[None]:
        """The door for the SDK's errors; only a fenced write can lose to somebody."""
        try:
            yield
        except (AzureError, OSError, TimeoutError) as error:
            lost = trouble.status_of(error) in conflicts and _code(error) not in GONE
            kind = ConflictError if lost else UnreachableError
            raise kind(f"could not {what}: {trouble.words(error)}") from error


def _unchanged(etag: str) -> dict[str, Any]:
    return {"etag": etag, "match_condition": MatchConditions.IfNotModified}


def _replacing(etag: str) -> dict[str, Any]:
    return {"mode": UpdateMode.REPLACE, **_unchanged(etag)}


def _code(error: BaseException) -> object:
    return getattr(error, "error_code", None)
