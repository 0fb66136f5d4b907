"""Long values over several properties of an entity: a property holds 64 KiB, an entity 1 MiB.

Limits are kept here, before sending, because an emulator is laxer than the service.
"""

from collections.abc import Iterator, Mapping
from typing import Any, overload

from shared.errors import RefusedError

# A string property holds 32 Ki UTF-16 units of two bytes, a binary one 64 KiB.
PIECE = 30_000
MOST_TEXT, MOST_BYTES = 14, 28
_SECOND_HALVES = frozenset(bytes([first]) for first in range(0xDC, 0xE0))


@overload
def split(name: str, value: str) -> dict[str, str]: ...
@overload
def split(name: str, value: bytes) -> dict[str, bytes]: ...
def split(name: str, value: Any) -> dict[str, Any]:
    """The value as name0, name1, … Raises RefusedError when it is too long for one entity."""
    text = isinstance(value, str)
    data, width = (value.encode("utf-16-le"), 2 * PIECE) if text else (value, PIECE)
    pieces = list(_cut(data, width, whole=text)) or [data]
    if len(pieces) > (MOST_TEXT if text else MOST_BYTES):
        raise RefusedError(f"{name} has a length of {len(value)}, too much to keep in one row")
    read = [piece.decode("utf-16-le") if text else piece for piece in pieces]
    return {f"{name}{number}": piece for number, piece in enumerate(read)}


def _cut(data: bytes, width: int, *, whole: bool) -> Iterator[bytes]:
    """Pieces of at most so many bytes; `whole` parts no character of two UTF-16 units."""
    at = 0
    while at < len(data):
        end = at + width
        if whole and data[end + 1 : end + 2] in _SECOND_HALVES:
            end -= 2
        yield data[at:end]
        at = end


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
