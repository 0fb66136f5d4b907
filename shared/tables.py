"""How the judge's tables of log-likelihoods are written: every bit of them, in few letters.

A table is one text: its doubles, lowest byte first, in base64; nothing at all when all are zero.
Decimal digits take nearly twice the room, and fewer digits or bits would change what is decided
again from the record. Older records hold lists of numbers, which are left as they are.
"""

import base64
import struct
from collections.abc import Sequence

from pydantic import ConfigDict, TypeAdapter

from shared.core.stats import EMPTY_TABLE

_DOUBLE_BYTES = 8
# Several times as quick as the base64 module.
_BASE64: TypeAdapter[bytes] = TypeAdapter(bytes, config=ConfigDict(val_json_bytes="base64"))


def packed(table: Sequence[float]) -> str:
    """The table as text."""
    if not any(table):
        return ""
    return base64.b64encode(struct.pack(f"<{len(table)}d", *table)).decode()


def unpacked(text: object) -> object:
    """The table again; what is no text stays what it is. Raises ValueError for a broken text."""
    if not isinstance(text, str):
        return text
    if not text:
        return EMPTY_TABLE
    data = _BASE64.validate_strings(text)
    if len(data) % _DOUBLE_BYTES:
        raise ValueError(f"a table of {len(data)} bytes is cut off: {_DOUBLE_BYTES} make a number")
    return struct.unpack(f"<{len(data) // _DOUBLE_BYTES}d", data)
