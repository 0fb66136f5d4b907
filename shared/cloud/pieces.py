"""Long values over several properties of an entity: a property holds 64 KiB, an entity 1 MiB.

Limits are kept here, before sending, because an emulator is laxer than the service.
"""

from collections.abc import Mapping
from typing import Any, overload

from shared.errors import RefusedError

# A string property holds 32 Ki UTF-16 units of two bytes, a binary one 64 KiB.
PIECE = 30_000
MOST_TEXT, MOST_BYTES = 14, 28


@overload
def split(name: str, value: str) -> dict[str, str]: ...
@overload
def split(name: str, value: bytes) -> dict[str, bytes]: ...
def split(name: str, value: Any) -> dict[str, Any]:
    """The value as name0, name1, … Raises RefusedError when it is too long for one entity."""
    text = isinstance(value, str)
    width = PIECE // 2 if text and not value.isascii() else PIECE
    pieces = [value[at : at + width] for at in range(0, len(value), width)] or [value]
    if len(pieces) > (MOST_TEXT if text else MOST_BYTES):
        raise RefusedError(f"{name} has a length of {len(value)}, too much to keep in one row")
    return {f"{name}{number}": piece for number, piece in enumerate(pieces)}


@overload
def joined(entity: Mapping[str, Any], name: str) -> str: ...
@overload
def joined(entity: Mapping[str, Any], name: str, empty: bytes) -> bytes: ...
def joined(entity: Mapping[str, Any], name: str, empty: Any = "") -> Any:
    """The value again."""
    pieces: list[Any] = []
    while (piece := entity.get(f"{name}{len(pieces)}")) is not None:
        pieces.append(piece)
    return empty.join(pieces)
