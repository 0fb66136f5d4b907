"""Bodies by reference, with the real Blobs client: against Azurite, and against broken storage."""

import asyncio
import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from hashlib import sha256
from typing import Any

import pytest
from aiohttp import web
from azure.storage.blob import ContentSettings
from azure.storage.blob.aio import ContainerClient

from sandbox.azurite import Azurite
from shared.cloud import blobs
from shared.cloud.blobs import BlobBodies
from shared.cloud.identity import LazyIdentity
from shared.errors import RefusedError, UnreachableError
from tests.contracts.canaries import app, raw

CLOUD = "https://shop.blob.core.windows.net"
ONE: dict[str, Any] = {
    "retry_total": 0,
    "permit_redirects": False,
    "connection_timeout": 1,
    "read_timeout": 1,
}


def digest(body: bytes) -> str:
    return sha256(body).hexdigest()


@asynccontextmanager
async def reading(
    connection: str, *allowed: str, timeout_s: float = 1.0
) -> AsyncIterator[BlobBodies]:
    identity = LazyIdentity("")
    connect = partial(blobs.account_client, identity=identity, connection=connection, **ONE)
    made = BlobBodies(allowed, connect, timeout_s=timeout_s)
    try:
        yield made
    finally:
        await made.close()
        await identity.close()


@pytest.fixture(scope="module")
async def storage() -> AsyncIterator[Azurite]:
    async with Azurite(service="blob") as running:
        yield running


@pytest.fixture
async def bodies(storage: Azurite) -> AsyncIterator[BlobBodies]:
    async with reading(storage.connection_string, f"{storage.endpoint}/bodies/shop/") as made:
        yield made


async def put(storage: Azurite, name: str, body: bytes, **options: Any) -> str:
    """The URL of a new blob in the container `bodies`."""
    made = ContainerClient.from_connection_string(
        storage.connection_string, "bodies", max_single_put_size=1_000_000, max_block_size=1_000_000
    )
    async with made as container:
        if not await container.exists():
            await container.create_container()
        blob = await container.upload_blob(name, body, overwrite=True, **options)
        return str(blob.url)


@pytest.mark.parametrize("size", [0, 1, blobs.FIRST_BYTES, blobs.FIRST_BYTES + 1, 9_000_000])
async def test_a_body_is_read_whole(bodies: BlobBodies, storage: Azurite, size: int) -> None:
    """In one request or in several, and an empty one too; the bound itself is not too large."""
    body = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    url = await put(storage, f"shop/{size}", body)
    assert await bodies.read(url, digest(body).upper(), size) == body


async def test_a_body_is_what_was_stored(bodies: BlobBodies, storage: Azurite) -> None:
    """A name is taken letter by letter, and what is packed stays packed."""
    packed = gzip.compress(b"hello" * 1000)
    options = {"content_settings": ContentSettings(content_encoding="gzip")}
    url = await put(storage, "shop/a b/é?#%2e+~.json", packed, **options)
    assert await bodies.read(url, digest(packed), 10_000) == packed


async def test_what_is_not_the_body_is_refused(bodies: BlobBodies, storage: Azurite) -> None:
    """Another content, one too large, no blob, no container, and a hash that is none."""
    url = await put(storage, "shop/body", b"x" * 1000)
    for asked, hashed, most, said in [
        (url, digest(b"y"), 1000, "not the one"),
        (url, digest(b"x" * 1000), 999, "1000 bytes, and 999"),
        (url + "2", digest(b""), 1000, "does not exist"),
        (url, "abc", 1000, "64 hexadecimal"),
        (url, digest(b"x" * 1000) + "\n", 1000, "64 hexadecimal"),
    ]:
        with pytest.raises(RefusedError, match=said):
            await bodies.read(asked, hashed, most)
    async with reading(storage.connection_string, storage.endpoint) as everywhere:
        assert await everywhere.read(url, digest(b"x" * 1000), 1000)
        with pytest.raises(RefusedError, match="does not exist"):
            await everywhere.read(f"{storage.endpoint}/nowhere/body", digest(b""), 1)
        with pytest.raises(RefusedError, match="below none"):
            await everywhere.read(f"{storage.endpoint}/bodies", digest(b""), 1)


ODD = [
    *("", "body", "/bodies/shop/a", "ftp://shop.blob.core.windows.net/bodies/shop/a"),
    *(f"http{CLOUD[5:]}/bodies/shop/a", "https:///bodies/shop/a", f"{CLOUD} /bodies/shop/a"),
    *(
        f"{CLOUD}/bodies/shop/a?sv=2024&sig=secret",
        f"{CLOUD}/bodies/shop/a?",
        f"{CLOUD}/bodies/shop/a#b",
    ),
    "https://user:secret@shop.blob.core.windows.net/bodies/shop/a",
    "https://shop.blob.core.windows.net@evil.example/bodies/shop/a",
    "https://shop.blob.core.windows.net.evil.example/bodies/shop/a",
    "https://shop.blob.core.windows.net:8443/bodies/shop/a",
    "https://\u017fhop.blob.core.windows.net/bodies/shop/a",
    *(f"{CLOUD}/bodies", f"{CLOUD}/bodies/", f"{CLOUD}/bodies/shop", f"{CLOUD}/bodies/shop/"),
    *(f"{CLOUD}/bodies/shopper/a", f"{CLOUD}/bodies/Shop/a", f"{CLOUD}/other/shop/a"),
    *(
        f"{CLOUD}/bodies/shop/../../other/a",
        f"{CLOUD}/bodies/shop/%2e%2E/a",
        f"{CLOUD}/bodies/shop/./a",
    ),
    *(f"{CLOUD}/bodies/shop/..", f"{CLOUD}/bodies/shop//a", f"{CLOUD}/bodies/shop/a%2f..%2fb"),
    *(f"{CLOUD}/bodies/shop\\a", f"{CLOUD}/bodies/shop/..%5c..%5ca", f"{CLOUD}/bodies/shop/%00"),
    *(
        f"{CLOUD}/bodies/shop/%ff",
        f"{CLOUD}/bodies/shop/" + "a" * 3000,
        f"{CLOUD}/bodies/shop/a\r\n",
    ),
]


@pytest.mark.parametrize("url", ODD)
async def test_what_is_not_allowed_is_refused_and_nobody_asked(url: str) -> None:
    """Host and path count in their parts; a secret in a URL is neither used nor repeated."""

    def never(account: str) -> Any:
        raise AssertionError(account)

    bodies = BlobBodies((f"{CLOUD}/bodies/shop/",), never, timeout_s=1)
    with pytest.raises(RefusedError) as refused:
        await bodies.read(url, digest(b""), 1)
    assert "secret" not in str(refused.value)
    with pytest.raises(RefusedError):
        await BlobBodies((), never, timeout_s=1).read(url, digest(b""), 1)


async def test_the_host_counts_without_case_and_the_account_asked_is_the_allowed_one() -> None:
    """Each account has one client, which is given Linnet's identity."""
    asked: list[str] = []

    def connect(account: str) -> Any:
        asked.append(account)
        raise OSError("no network here")

    allowed = (f"{CLOUD}/bodies", "https://Other.blob.core.windows.net:443/")
    bodies = BlobBodies(allowed, connect, timeout_s=0.1)
    for url in (f"{CLOUD.upper().replace('HTTPS', 'https')}/bodies/a", allowed[1] + "any/b"):
        with pytest.raises(UnreachableError):
            await bodies.read(url, digest(b""), 1)
    assert set(asked) == {CLOUD, "https://other.blob.core.windows.net"}


@pytest.mark.parametrize(
    "odd",
    [
        "",
        "bodies",
        f"http{CLOUD[5:]}/bodies",
        f"{CLOUD}/bodies?sig=1",
        f"{CLOUD}/a/../b",
    ],
)
def test_an_allowed_url_that_is_none_is_refused_at_the_start(odd: str) -> None:
    """A setting that is unclear is not found out at the first sample."""
    with pytest.raises(RefusedError, match="ALLOWED_BLOBS"):
        BlobBodies((odd,), blobs.account_client, timeout_s=1)  # type: ignore[arg-type]


def test_a_key_is_for_this_machine_and_identity_for_all_others() -> None:
    """A connection string that leads elsewhere is refused."""
    identity = LazyIdentity("")
    local = "http://127.0.0.1:10000/devstoreaccount1"
    development = "UseDevelopmentStorage=true"
    assert blobs.account_client(CLOUD, identity, development).credential is identity
    assert blobs.account_client(local, identity, development).url == f"{local}/"
    cloud = f"AccountName=shop;AccountKey=a2V5;BlobEndpoint={CLOUD}"
    for connection in ("", "nonsense", cloud, development.replace("true", "false")):
        with pytest.raises(RefusedError, match="BLOBS_CONNECTION"):
            blobs.account_client(local, identity, connection)


class Broken:
    """Storage that answers every request as a test says."""

    def __init__(self, status: int, **headers: str) -> None:
        self.asked = 0
        self.status = status
        self.headers = headers

    async def answer(self, _: web.Request) -> web.Response:
        self.asked += 1
        return web.Response(status=self.status, headers=self.headers, body=b"")


async def outcome(port: int, timeout_s: float = 0.5) -> BaseException:
    account = f"http://127.0.0.1:{port}/shop"
    connection = f"AccountName=shop;AccountKey=a2V5;BlobEndpoint={account}"
    async with reading(connection, account, timeout_s=timeout_s) as bodies:
        with pytest.raises((RefusedError, UnreachableError)) as failed:
            await bodies.read(f"{account}/bodies/a", digest(b""), 1000)
    return failed.value


@pytest.mark.parametrize(
    ("status", "kind", "tries"),
    [
        (500, UnreachableError, 2),
        (503, UnreachableError, 2),
        (403, UnreachableError, 1),
        (301, UnreachableError, 1),
        (400, RefusedError, 1),
        (409, RefusedError, 1),
    ],
)
async def test_storage_that_fails_says_so(status: int, kind: type[Exception], tries: int) -> None:
    """What may pass is tried again and later; what stays is refused; no redirect is followed."""
    broken = Broken(status, Location="/elsewhere")
    async with app(broken.answer) as port:
        assert isinstance(await outcome(port), kind)
    assert broken.asked >= tries if tries > 1 else broken.asked == 1


async def test_storage_that_does_not_answer_is_unreachable() -> None:
    """It hangs, is away, or answers something else; the time is bounded."""

    async def hang(_: web.Request) -> web.Response:
        await asyncio.sleep(1)
        return web.Response()

    async def break_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = (
            b"HTTP/1.1 206 Partial\r\nContent-Range: bytes 0-99/100\r\nContent-Length: 100\r\n\r\n"
        )
        writer.write(head + b"half")
        await writer.drain()

    async with asyncio.timeout(5):
        async with app(hang) as port:
            assert "no answer in time" in str(await outcome(port, timeout_s=0.1))
        async with raw(break_off) as port:
            assert isinstance(await outcome(port, timeout_s=0.2), UnreachableError)
        assert "onnect" in str(await outcome(port))
        async with app(Broken(200).answer) as port:
            assert isinstance(await outcome(port), UnreachableError)


@pytest.mark.parametrize("whole_ranges", [0, 1])
async def test_storage_that_falls_silent_within_a_body_is_hung_up_on(whole_ranges: int) -> None:
    """In the first range or a later one, at once: not when the collector comes by."""
    hung_up = asyncio.Event()

    async def fall_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        size = blobs.FIRST_BYTES
        for number in range(whole_ranges + 1):
            await reader.readuntil(b"\r\n\r\n")
            first, length = number * size, size if number < whole_ranges else 4
            writer.write(
                b"HTTP/1.1 206 Partial\r\nETag: a\r\nContent-Length: %d\r\n"
                b"Content-Range: bytes %d-%d/%d\r\n\r\n%s"
                % (size, first, first + size - 1, 2 * size, b"x" * length)
            )
        await reader.read()
        hung_up.set()

    async with raw(fall_silent) as port:
        account = f"http://127.0.0.1:{port}/shop"
        connection = f"AccountName=shop;AccountKey=a2V5;BlobEndpoint={account}"
        async with reading(connection, account, timeout_s=0.3) as bodies:
            with pytest.raises(UnreachableError, match="no answer in time"):
                await bodies.read(f"{account}/bodies/a", digest(b""), 10**6)
            async with asyncio.timeout(1):
                await hung_up.wait()
