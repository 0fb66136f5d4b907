"""What the table's rows look like: values of ours as entities, and back.

Sizes are checked here, before sending, since an emulator is laxer than the service.
"""

import hashlib
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from azure.data.tables import TableEntity

from shared import record
from shared.cloud.pieces import joined, split
from shared.core.alerts import Spell
from shared.core.model import Plan, Rollout
from shared.core.tally import Tally
from shared.errors import RefusedError
from shared.ports import Claim, HistoryRow, Message, Rejected

# The service allows 64 KiB a property, 1 MiB an entity, 1 KiB a key; some room is left.
PROPERTY_BYTES, ENTITY_BYTES, KEY_LENGTH = 60 * 1024, 900_000, 400
ROW, TURNING = "h-{:010d}", "t-{:010d}"
MOST_ROWS = 10**10 - 1


def of_record(plan: Plan, rollout: Rollout) -> dict[str, Any]:
    """The record, the row whose etag counts."""
    return fitted(
        keys_of(partition(rollout.name), "record")
        | {"Phase": rollout.phase.value, "Sequence": rollout.sequence, "Saved": datetime.now(UTC)}
        | split("plan", record.plan_to_json(plan))
        | split("rollout", record.rollout_to_json(rollout))
    )


def of_event(name: str, row: HistoryRow, message_id: str | None) -> list[Any]:
    """The operations that add a history row and, for a message, that it was seen.

    A row at which something turned is kept a second time, the newest first, apart from the looks.
    """
    own = partition(name)
    text = json.dumps(record.row_to_dict(row), separators=(",", ":"))
    rows = [keys_of(own, ROW.format(row.number)) | split("row", text)]
    if row.turning:
        rows.append(keys_of(own, TURNING.format(MOST_ROWS - row.number)) | split("row", text))
    if message_id is not None:
        rows.append(keys_of(own, f"m-{digest(message_id)}") | {"Number": row.number})
    return [("create", fitted(entity)) for entity in rows]


def history(entity: TableEntity) -> HistoryRow:
    """A history row as stored."""
    return record.row_from_dict(json.loads(joined(entity, "row")))


def fitted(entity: dict[str, Any]) -> dict[str, Any]:
    """The entity. Raises RefusedError when the service would not take it."""
    sizes = {name: _bytes(value) + _bytes(name) for name, value in entity.items()}
    largest = max(sizes, key=lambda name: sizes[name])
    if sizes[largest] > PROPERTY_BYTES or sum(sizes.values()) > ENTITY_BYTES:
        raise RefusedError(f"a row of {sum(sizes.values())} bytes is too much, mostly {largest}")
    return entity


def _bytes(value: object) -> int:
    """What a value costs in an entity: texts count in UTF-16."""
    if isinstance(value, str):
        return len(value.encode("utf-16-le"))
    return len(value) if isinstance(value, bytes) else 16


def keys_of(in_: str, row: str) -> dict[str, Any]:
    """The two keys of an entity."""
    return {"PartitionKey": in_, "RowKey": row}


def partition(name: str) -> str:
    """The partition of a rollout."""
    return f"r-{key(name)}"


def key(name: str) -> str:
    """A name with what keys may not hold escaped; a plan's own name stays as it is."""
    escaped = quote(name, safe="").replace("%", "=")
    return escaped if len(escaped) <= KEY_LENGTH else f"=={digest(name)}"


def digest(text: str) -> str:
    """A key for what may not be one itself."""
    return hashlib.sha256(text.encode()).hexdigest()


def claim(entity: TableEntity) -> Claim:
    """A claim as stored."""
    return Claim(str(entity["Profile"]), str(entity["Rollout"]), str(entity.metadata["etag"]))


def spell(entity: TableEntity) -> Spell:
    """An alert as stored."""
    return record.spell_from_json(joined(entity, "spell"))


def of_rejected(rejected: Rejected) -> dict[str, Any]:
    """A rejected message, in a row that sorts the newest first."""
    message = rejected.message
    newest_first = f"{10**17 - round(rejected.at_s * 1e6):018d}"
    return fitted(
        keys_of("rejected", f"t-{newest_first}-{rejected.key}")
        | {"MessageId": message.id, "Queue": rejected.queue, "At": rejected.at_s}
        | {"EnqueuedAt": message.enqueued_at_s, "Deliveries": message.deliveries}
        | split("Reason", rejected.reason)
        | split("Body", message.body)
    )


def rejected(entity: TableEntity) -> Rejected:
    """A rejected message as stored."""
    id_, body = str(entity["MessageId"]), joined(entity, "Body", empty=b"")
    message = Message(id_, body, float(entity["EnqueuedAt"]), int(entity["Deliveries"]))
    return Rejected(message, str(entity["Queue"]), joined(entity, "Reason"), float(entity["At"]))


def samples_of(name: str) -> str:
    """The partition of a rollout's samples, apart from its record: they come in their thousands."""
    return f"s-{key(name)}"


def of_tally(name: str, tally: Tally, keys: Sequence[str]) -> dict[str, Any]:
    """What some samples count for, in a row named by them."""
    row = keys_of(samples_of(name), f"t-{digest(chr(10).join(sorted(keys)))}")
    return fitted(row | split("tally", record.tally_to_json(tally)))


def of_sample(name: str, sample_key: str) -> dict[str, Any]:
    """That a sample was counted."""
    return keys_of(samples_of(name), f"i-{digest(sample_key)}")


def tally(entity: TableEntity) -> Tally:
    """A tally as stored."""
    return record.tally_from_json(joined(entity, "tally"))
