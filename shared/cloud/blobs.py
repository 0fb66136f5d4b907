"""Bodies too large for a message, read from the blobs that the deployment allows.

1. A sender names a blob; the deployment's prefixes say which may be read, and without any none may.
   Host and path are compared in their parts, and what could be read in two ways is refused.
2. A URL carries no secret: one with a query (a SAS) or a user is refused. Linnet's identity reads;
   a connection string is for storage on this machine only.
3. A body is what its hash says, or nothing. One that is too large is not read beyond its beginning.
"""

import asyncio
import hashlib
import re
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote, urlsplit

from azure.core.credentials_async import AsyncTokenCredential
from azure.core.exceptions import AzureError
from azure.storage.blob.aio import BlobServiceClient

from shared.cloud import loopback, trouble
from shared.cloud.retries import patiently
from shared.errors import RefusedError, UnreachableError

# The first request shows how large a blob is, so it asks for little.
FIRST_BYTES = 262_144
PATIENCE = 2.0  # retries of one read may take this many times the time of one

_SHA256 = re.compile(r"[0-9a-fA-F]{64}")
_URL = re.compile(r"[!\"$->@-~]{1,2048}")
_NAME = re.compile(r"(?!\.{1,2}\Z)[^/\\\ufffd]+")
_SETTING = "ALLOWED_BLOBS"
_BLOB = "the URL of the blob"
_FINAL = frozenset({400, 404, 409, 410})  # malformed, gone, archived: it stays so

type Connect = Callable[[str], BlobServiceClient]


@dataclass(frozen=True, slots=True)
class Place:
    """A URL in its parts: the account's own URL, then the container and the names below it."""

    account: str
    path: tuple[str, ...]

    def holds(self, other: "Place") -> bool:
        """Whether the other one lies below this one."""
        depth = len(self.path)
        return self.account == other.account and self.path == other.path[:depth] != other.path


class BlobBodies:
    """Blobs below the allowed URLs; `connect` makes the client of one account.

    Raises RefusedError when an allowed URL is none.
    """

    def __init__(self, allowed: tuple[str, ...], connect: Connect, *, timeout_s: float) -> None:
        self._allowed = tuple(_place(url.rstrip("/"), _SETTING) for url in allowed)
        self._connect = connect
        self._timeout_s = timeout_s
        self._clients: dict[str, BlobServiceClient] = {}

    async def read(self, url: str, sha256: str, most_bytes: int) -> bytes:
        """The blob's bytes as they are stored.

        Raises RefusedError when there is no such blob for us, UnreachableError when nobody knows.
        """
        if not _SHA256.fullmatch(sha256):
            raise RefusedError("the sha256 of the blob is not 64 hexadecimal digits")
        place = self._allowed_place(url)
        whole = partial(self._whole, place, most_bytes)
        try:
            body = await patiently(whole, deadline_s=self._timeout_s * PATIENCE)
        except (AzureError, TimeoutError, OSError, ValueError) as error:
            raise _translated(error) from error
        if hashlib.sha256(body).hexdigest() != sha256.lower():
            raise RefusedError("the blob is not the one that the sha256 was made of")
        return body

    async def close(self) -> None:
        """Close every connection."""
        clients, self._clients = self._clients, {}
        for client in clients.values():
            await client.close()

    def _allowed_place(self, url: str) -> Place:
        place = _place(url, _BLOB)
        if place.path[1:] and any(allowed.holds(place) for allowed in self._allowed):
            return place
        raise RefusedError(f"{_BLOB} is below none of this deployment's {_SETTING}")

    async def _whole(self, place: Place, most_bytes: int) -> bytes:
        container, *names = place.path
        blob = self._client(place.account).get_blob_client(container, "/".join(names))

        def seen(response: Any) -> None:
            answers.push_async_callback(response.http_response.close)

        # Interrupted within a body, the SDK itself leaves the connection open.
        async with asyncio.timeout(self._timeout_s), AsyncExitStack() as answers:
            # Unpacked it would be neither what was hashed nor bounded.
            stream = await blob.download_blob(
                max_concurrency=1, decompress=False, raw_response_hook=seen
            )
            if stream.size > most_bytes:
                raise RefusedError(f"the blob has {stream.size} bytes, and {most_bytes} are taken")
            # readall would read later ranges in tasks of its own, which outlive an interruption.
            return b"".join([chunk async for chunk in stream.chunks()])

    def _client(self, account: str) -> BlobServiceClient:
        """One for each account; there are no more than the allowed URLs name."""
        if account not in self._clients:
            self._clients[account] = self._connect(account)
        return self._clients[account]


def account_client(
    account: str, identity: AsyncTokenCredential, connection: str, **options: Any
) -> BlobServiceClient:
    """The client of one account: by identity, or by connection string on this machine.

    Raises RefusedError when the account is on this machine and the connection string is not its.
    """
    options["max_single_get_size"] = FIRST_BYTES
    if not loopback.is_loopback(account, _SETTING):
        return BlobServiceClient(account, credential=identity, **options)
    options["use_env_settings"] = False
    try:
        made = BlobServiceClient.from_connection_string(connection, **options)
    except ValueError:
        made = None
    if made is None or made.url.rstrip("/") != account:
        raise RefusedError(f"BLOBS_CONNECTION does not lead to {account} of {_SETTING}")
    return made


def _place(url: str, what: str) -> Place:
    if not _URL.fullmatch(url):
        raise RefusedError(f"{what} is too long or has a query; Linnet reads by its own identity")
    local = loopback.is_loopback(url, what)
    parts = urlsplit(url)
    path = [unquote(segment) for segment in parts.path.split("/")[1:]]
    if any(not _NAME.fullmatch(name) or not name.isprintable() for name in path):
        raise RefusedError(f"{what} holds a name that could be read in two ways")
    account = f"{parts.scheme}://{parts.netloc.lower().removesuffix(':443')}"
    owner = int(local)  # on this machine the account is the first name of the path
    return Place("/".join([account, *path[:owner]]), tuple(path[owner:]))


def _translated(error: Exception) -> Exception:
    # The SDK hides a body that broke off in an error without a status.
    cause = error.__cause__ if isinstance(error.__cause__, AzureError) else error
    said = f"the blob could not be read: {trouble.words(cause)}"
    return (RefusedError if trouble.status_of(error) in _FINAL else UnreachableError)(said)
