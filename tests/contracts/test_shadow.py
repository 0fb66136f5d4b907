"""What comes back of a replay, from servers that stand for a canary in every mood."""

import asyncio
import gzip
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from shared.cloud.shadow import NOT_TRIED
from shared.core.shadow import Request
from tests.contracts.canaries import Speak, answer, app, ask, at, fine, raw, shadowing, silent


async def test_an_answer_is_taken_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    """No redirect followed, no cookie kept, no proxy asked, nothing unpacked, duplicates joined."""
    heard: list[str] = []
    packed = gzip.compress(b"hello")

    async def handle(request: web.Request) -> web.Response:
        heard.append(f"{request.method} {request.path} {request.headers.get('Cookie', '')}")
        headers = [("Location", "/elsewhere"), ("X-A", "1"), ("x-a", "2"), ("X-B", "é\udcff")]
        headers += [("Set-Cookie", "s=1"), ("Content-Encoding", "gzip")]
        return web.Response(status=302, headers=headers, body=packed)

    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    async with app(handle) as port, shadowing(at(port)) as shadow:
        got = answer(await ask(shadow))
        await ask(shadow)
        head = answer(await ask(shadow, Request("HEAD", "/", {})))
    assert heard == ["GET / ", "GET / ", "HEAD / "]
    assert (got.status, got.body, got.truncated) == (302, packed, False)
    assert got.headers["content-encoding"] == "gzip"
    assert got.headers["x-a"] == "1, 2"
    got.headers["x-b"].encode()
    assert (head.body, head.headers["content-length"]) == (b"", str(len(packed)))


async def test_the_time_is_from_the_request_to_the_last_byte() -> None:
    """What the server took is in it, and what the connection took is not."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        await asyncio.sleep(0.1)
        await response.write(b"late")
        return response

    async with app(handle) as port, shadowing(at(port)) as shadow:
        assert 100 <= answer(await ask(shadow)).elapsed_ms < 1000


async def test_a_connection_is_used_again_unless_it_was_closed() -> None:
    """A kept connection that the target closed meanwhile costs no replay, whatever its method."""
    connections = 0

    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await writer.drain()

    async with raw(twice) as port, shadowing(at(port)) as shadow:
        for _ in range(6):
            assert answer(await ask(shadow, Request("POST", "/", {}))).body == b"ok"
            await asyncio.sleep(0.005)
    assert connections == 3


@pytest.mark.parametrize(("size", "cut"), [(0, False), (1000, False), (1001, True)])
async def test_a_body_is_read_up_to_the_bound(size: int, cut: bool) -> None:
    """The bound itself is still whole."""

    async def handle(_: web.Request) -> web.Response:
        return web.Response(body=b"x" * size)

    async with app(handle) as port, shadowing(at(port)) as shadow:
        got = answer(await ask(shadow, most_bytes=1000))
    assert (len(got.body), got.truncated) == (min(size, 1000), cut)


async def test_a_huge_body_is_not_fetched() -> None:
    """Of 100 MB no more is sent than what lies in buffers; the next replay works."""
    sent = 0

    async def handle(request: web.Request) -> web.StreamResponse:
        nonlocal sent
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1600):
            await response.write(b"x" * 65_536)
            sent += 65_536
        return response

    async with app(handle) as port, shadowing(at(port), concurrent=1) as shadow:
        for _ in range(2):
            got = answer(await ask(shadow, most_bytes=100_000))
            assert (len(got.body), got.truncated) == (100_000, True)
        await asyncio.sleep(0.05)
    assert sent < 30_000_000


async def dripping(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _number in range(100):
        writer.write(b"x")
        await asyncio.sleep(0.01)


async def resetting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.transport.abort()


async def breaking_off(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()


async def babbling(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"SSH-2.0-OpenSSH_9.6 password=hunter2\r\n\r\n")
    await writer.drain()


async def boasting(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 10_000_000 + b"\r\n\r\n")
    await writer.drain()


@pytest.mark.parametrize(
    ("speak", "said"),
    [
        (silent, "no whole answer within 0.2 s"),
        (dripping, "no whole answer within 0.2 s"),
        (resetting, ""),
        (breaking_off, "not completed"),
        (babbling, "no HTTP"),
        (boasting, "no HTTP"),
    ],
)
async def test_no_answer_is_a_value_with_a_reason(speak: Speak, said: str) -> None:
    """It comes in time, says what happened, and repeats nothing that was sent or received."""
    async with raw(speak) as port, shadowing(at(port)) as shadow:
        timeout_s = 0.2 if "0.2 s" in said else 2
        async with asyncio.timeout(3):
            asked = Request("GET", "/?password=hunter2", {})
            got = await ask(shadow, asked, timeout_s=timeout_s)
    assert got.reply is None
    assert got.reason
    assert not got.reason.startswith(NOT_TRIED)
    assert said in got.reason
    assert "hunter2" not in got.reason


async def test_nobody_there_and_no_such_name_are_values_too() -> None:
    """A port that is closed and a name that leads nowhere."""
    async with raw(silent) as port:
        pass
    async with shadowing(at(port)) as shadow:
        assert "onnect" in (await ask(shadow)).reason
        assert "onnect" in (await ask(shadow, whom="nowhere.invalid")).reason


def certified(*names: str) -> tuple[bytes, bytes]:
    """A self-signed certificate and its key, as PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(who, who, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.DNSName(n) for n in names]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    public = made.public_bytes(Encoding.PEM)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return public, private


async def test_a_certificate_is_verified_for_the_host_header(tmp_path: Path) -> None:
    """Users' name in the Host header is the certificate's; the target's own need not be on it."""
    public, private = certified("shop.example")
    (tmp_path / "both.pem").write_bytes(private + public)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "both.pem")
    trusting = ssl.create_default_context(cadata=public.decode())
    async with app(fine, server) as port:
        for host, tls, works in [
            ("shop.example", trusting, True),
            ("shop.example:443", trusting, True),
            ("other.example", trusting, False),
            ("", trusting, False),
            ("shop.example", None, False),
        ]:
            async with shadowing(at(port, "HTTPS", host), tls=tls) as shadow:
                got = await ask(shadow)
                assert (got.reply is not None) is works, (host, got.reason)
                assert works or "ertificate" in got.reason
