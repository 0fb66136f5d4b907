"""Records on Azure Tables: one partition a rollout, so that a turn is saved in one transaction.

    partition            row                       what
    r-<rollout>          record                    plan and rollout; its etag is the one that counts
    r-<rollout>          h-<number>                one event and what it led to; never changed
    r-<rollout>          m-<hash of message id>    the message's effect is in row <number>
    index                <rollout>                 that there is such a rollout
    claims               <hash of profile>         which rollout holds the profile
    rejected             <hash of id and bytes>    a message that could not be used
    heartbeat            tick                      when a tick last ran

Every update names the etag it read. A save whose reply was lost looks like a conflict to its
repetition; the caller reloads and finds its own row.
"""

import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from azure.core import MatchConditions
from azure.core.exceptions import AzureError, HttpResponseError, ResourceNotFoundError
from azure.data.tables import TransactionOperation, UpdateMode
from azure.data.tables.aio import TableClient, TableServiceClient

from shared import record
from shared.cloud import trouble
from shared.cloud.pieces import joined, split
from shared.cloud.retries import patiently
from shared.core.model import Plan, Rollout
from shared.errors import ConflictError, UnreachableError
from shared.ports import Claim, HistoryRow, Message, Rejected, Stored

CONFLICTS = frozenset({404, 409, 412})
type Entity = Mapping[str, Any]


class TableStore:
    """The store of shared/ports.py on one table of an account."""

    def __init__(self, client: TableServiceClient, prefix: str, timeout_s: float) -> None:
        self._service = client
        self._name = f"{prefix}Rollouts"
        self._timeout_s = timeout_s
        self._table: TableClient | None = None

    async def close(self) -> None:
        """Close the connection."""
        if self._table is not None:
            await self._table.close()
        await self._service.close()

    async def load(self, name: str) -> Stored | None:
        """The rollout of that name."""
        entity = await self._get(_partition(name), "record")
        if entity is None:
            return None
        return Stored(
            record.plan_from_json(joined(entity, "plan")),
            record.rollout_from_json(joined(entity, "rollout")),
            _etag(entity),
        )

    async def create(
        self, plan: Plan, rollout: Rollout, row: HistoryRow, message_id: str
    ) -> Stored:
        """First record, row and seen message. Raises ConflictError when the rollout exists."""
        await self._upsert(_keys("index", rollout.name))
        written = _record(plan, rollout)
        operations: list[Any] = [("create", written), *_rows(rollout.name, row, message_id)]
        return Stored(plan, rollout, await self._transact(rollout.name, operations))

    async def save(
        self, stored: Stored, rollout: Rollout, row: HistoryRow, message_id: str | None
    ) -> Stored:
        """Next record, row and seen message. Raises ConflictError when another turn was first."""
        written = _record(stored.plan, rollout)
        fenced = {
            "mode": UpdateMode.REPLACE,
            "etag": stored.etag,
            "match_condition": MatchConditions.IfNotModified,
        }
        first: Any = ("update", written, fenced)
        operations = [first, *_rows(rollout.name, row, message_id)]
        return Stored(stored.plan, rollout, await self._transact(rollout.name, operations))

    async def seen(self, name: str, message_id: str) -> int | None:
        """The row a message led to."""
        entity = await self._get(_partition(name), f"m-{_hash(message_id)}")
        return None if entity is None else int(entity["Number"])

    async def history(self, name: str, after: int = 0, limit: int = 1000) -> list[HistoryRow]:
        """Rows in order."""
        query = (
            f"PartitionKey eq '{_partition(name)}' and RowKey gt '{_row(after)}' and RowKey lt 'i'"
        )
        found = await self._query(query, limit)
        return [record.row_from_dict(json.loads(joined(entity, "row"))) for entity in found]

    async def names(self, limit: int = 500) -> list[str]:
        """The rollouts there are."""
        found = await self._query("PartitionKey eq 'index'", limit)
        return [str(entity["RowKey"]) for entity in found]

    async def claim(self, profile: str, rollout: str, instead_of: Claim | None = None) -> Claim:
        """Take a free profile, or take it over; returns the claim in force afterwards."""
        key = _hash(profile.casefold())
        wanted = {**_keys("claims", key), "Profile": profile, "Rollout": rollout}
        table = await self._ready()
        try:
            async with self._calling("claim a profile"):
                if instead_of is None:
                    await table.create_entity(wanted)
                else:
                    await table.update_entity(
                        wanted,
                        mode=UpdateMode.REPLACE,
                        etag=instead_of.etag,
                        match_condition=MatchConditions.IfNotModified,
                    )
        except ConflictError:
            pass
        entity = await self._get("claims", key)
        if entity is None:
            raise UnreachableError(f"the claim on {profile} was released a moment ago")
        return _claim(entity)

    async def claims(self) -> list[Claim]:
        """Every claim."""
        return [_claim(entity) for entity in await self._query("PartitionKey eq 'claims'", 10_000)]

    async def release(self, claim: Claim) -> None:
        """Give a profile back, unless somebody else has it by now."""
        table = await self._ready()
        try:
            async with self._calling("release a profile"):
                await table.delete_entity(
                    "claims",
                    _hash(claim.profile.casefold()),
                    etag=claim.etag,
                    match_condition=MatchConditions.IfNotModified,
                )
        except ConflictError:
            return

    async def reject(self, rejected: Rejected) -> None:
        """Keep a message that cannot be used, once."""
        message = rejected.message
        entity = {
            **_keys("rejected", _hash(message.id, message.body)),
            "MessageId": message.id,
            "Queue": rejected.queue,
            "At": rejected.at_s,
            "EnqueuedAt": message.enqueued_at_s,
            "Deliveries": message.deliveries,
            **split("Reason", rejected.reason),
            **split("Body", message.body),
        }
        table = await self._ready()
        try:
            async with self._calling("keep a rejected message"):
                await table.create_entity(entity)
        except ConflictError:
            return

    async def rejected(self, limit: int = 100) -> list[Rejected]:
        """Rejected messages, newest first."""
        found = await self._query("PartitionKey eq 'rejected'", 10_000)
        newest = sorted(found, key=lambda entity: -float(entity["At"]))[:limit]
        return [_rejected(entity) for entity in newest]

    async def beat(self, at_s: float) -> None:
        """Note a tick."""
        await self._upsert({**_keys("heartbeat", "tick"), "At": at_s})

    async def last_beat_s(self) -> float | None:
        """When a tick last ran."""
        entity = await self._get("heartbeat", "tick")
        return None if entity is None else float(entity["At"])

    async def _ready(self) -> TableClient:
        """The table, made at the first call if it is not there."""
        if self._table is None:
            async with self._calling("make the table"):
                self._table = await patiently(
                    lambda: self._service.create_table_if_not_exists(self._name),
                    deadline_s=self._timeout_s,
                )
        return self._table

    async def _get(self, partition: str, row: str) -> Entity | None:
        table = await self._ready()
        async with self._calling(f"read {partition}"):
            try:
                return await patiently(
                    lambda: table.get_entity(partition, row), deadline_s=self._timeout_s
                )
            except ResourceNotFoundError:
                return None

    async def _query(self, query: str, limit: int) -> list[Entity]:
        table = await self._ready()

        async def look() -> list[Entity]:
            found: list[Entity] = []
            async for entity in table.query_entities(query):
                found.append(entity)
                if len(found) == limit:
                    break
            return found

        async with self._calling("read the table"):
            return await patiently(look, deadline_s=self._timeout_s)

    async def _upsert(self, entity: dict[str, Any]) -> None:
        table = await self._ready()
        async with self._calling("write the table"):
            await patiently(lambda: table.upsert_entity(entity), deadline_s=self._timeout_s)

    async def _transact(self, name: str, operations: list[Any]) -> str:
        """Send one transaction, once, and return the record's new etag.

        It is not tried again: whether a lost reply meant a save is for the next load to say.
        """
        table = await self._ready()
        async with self._calling(f"save {name}"):
            results = await table.submit_transaction(operations)
        return str(results[0]["etag"])

    @asynccontextmanager
    async def _calling(self, what: str) -> AsyncIterator[None]:
        """The door for the SDK's errors; what is gone was changed by somebody, too."""
        try:
            yield
        except HttpResponseError as error:
            said = trouble.words(error)
            if error.status_code in CONFLICTS:
                raise ConflictError(f"could not {what}: {said}") from error
            raise UnreachableError(f"could not {what}: {said}") from error
        except (AzureError, OSError, TimeoutError) as error:
            raise UnreachableError(f"could not {what}: {trouble.words(error)}") from error


def _record(plan: Plan, rollout: Rollout) -> dict[str, Any]:
    return {
        **_keys(_partition(rollout.name), "record"),
        "Phase": rollout.phase.value,
        "Sequence": rollout.sequence,
        "Saved": datetime.now(UTC),
        **split("plan", record.plan_to_json(plan)),
        **split("rollout", record.rollout_to_json(rollout)),
    }


def _rows(name: str, row: HistoryRow, message_id: str | None) -> list[Any]:
    partition = _partition(name)
    text = json.dumps(record.row_to_dict(row), separators=(",", ":"))
    history = {**_keys(partition, _row(row.number)), **split("row", text)}
    operations: list[Any] = [(TransactionOperation.CREATE, history)]
    if message_id is not None:
        seen = {**_keys(partition, f"m-{_hash(message_id)}"), "Number": row.number}
        operations.append((TransactionOperation.CREATE, seen))
    return operations


def _keys(partition: str, row: str) -> dict[str, Any]:
    return {"PartitionKey": partition, "RowKey": row}


def _partition(name: str) -> str:
    return f"r-{name}"


def _row(number: int) -> str:
    return f"h-{number:010d}"


def _hash(text: str, more: bytes = b"") -> str:
    return hashlib.sha256(text.encode() + more).hexdigest()


def _etag(entity: Any) -> str:
    return str(entity.metadata["etag"])


def _claim(entity: Entity) -> Claim:
    return Claim(str(entity["Profile"]), str(entity["Rollout"]), _etag(entity))


def _rejected(entity: Entity) -> Rejected:
    message = Message(
        id=str(entity["MessageId"]),
        body=joined(entity, "Body", empty=b""),
        enqueued_at_s=float(entity["EnqueuedAt"]),
        deliveries=int(entity["Deliveries"]),
    )
    return Rejected(message, str(entity["Queue"]), joined(entity, "Reason"), float(entity["At"]))
