"""What a replay sends: a path byte for byte or nothing, and headers that end no line."""

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from shared.cloud import aim
from shared.cloud.shadow import NOT_TRIED
from shared.core.shadow import Request
from tests.contracts.canaries import Listening, answer, app, ask, at, raw, shadowing

HOSTILE = [
    *(
        "",
        "cart",
        "*",
        "//evil.example",
        "//evil.example/x",
        "http://evil.example/",
        "/\\evil.example",
    ),
    *(
        "\\\\evil.example",
        "@evil.example",
        ":80/",
        "/a b",
        "/a\tb",
        "/a\r\nHost: evil.example",
        "/a\n",
    ),
    *("/a\x00", "/a\x7f", "/a#b", "/a?", "/é", "/a\u2028", "/\ud800", " /a", "///evil.example"),
]
BYTE_FOR_BYTE = [
    *("/", "/..//", "/..//evil.example", "/../../x", "/./a", "/@evil.example", "/:80@evil.example"),
    *(
        "/a//b",
        "/%2e%2e/%2F%zz",
        "/http://evil.example/",
        "/a?u=http://evil.example/&v=%20+",
        "/a;b?c?d",
    ),
    *("/a?x=[1]{2}|^`<>\"'", "/%0d%0aHost:%20evil.example", "/a?&", "/~a!$&'()*+,;=:@"),
]


async def test_a_path_is_sent_byte_for_byte_or_not_at_all() -> None:
    """Whatever the path, the request goes to the target, or it does not go."""
    ears = Listening()
    async with raw(ears) as port, shadowing(at(port)) as shadow:
        for path in HOSTILE:
            got = await ask(shadow, Request("GET", path, {}))
            assert got.reply is None, path
            assert got.reason.startswith(NOT_TRIED), path
            assert "evil" not in got.reason
        for path in BYTE_FOR_BYTE:
            answer(await ask(shadow, Request("GET", path, {})))
    lines = [head.split(b"\r\n")[0] for head in ears.heads]
    assert lines == [f"GET {path} HTTP/1.1".encode() for path in BYTE_FOR_BYTE]
    assert all(f"\r\nHost: 127.0.0.1:{port}\r\n".encode() in head for head in ears.heads)


@given(st.text("/\\@:?#%.[]a1 \r\n\té", max_size=12).map(lambda text: "/" + text))
def test_no_path_changes_the_host(path: str) -> None:
    """What is not refused keeps the origin and itself."""
    origin = aim.Origin(URL("http://green.example:8080"))
    if not aim.refusal(Request("GET", path, {})):
        url = aim.url(origin, path)
        assert (url.raw_host, url.port, url.user) == ("green.example", 8080, None)
        assert url.raw_path_qs == path


@pytest.mark.parametrize(
    "odd",
    [
        Request("GET", "/", {"x-a": "1\r\nx-b: 2"}),
        Request("GET", "/", {"x-a": "1\n"}),
        Request("GET", "/", {"x-a": "1\x00"}),
        Request("GET", "/", {"x-a": "\ud800"}),
        Request("GET", "/", {"x-a: 1\r\nx-b": "2"}),
        Request("GET", "/", {"": "2"}),
        Request("GET / HTTP/1.1\r\nHost: evil\r\n\r\nGET", "/", {}),
        Request("CONNECT", "/", {}),
        Request("", "/", {}),
    ],
)
async def test_what_could_end_a_line_is_refused(odd: Request) -> None:
    """A sample cannot smuggle a header or a second request."""
    async with shadowing(at(1)) as shadow:
        got = await ask(shadow, odd)
    assert got.reason.startswith(NOT_TRIED)
    assert "evil" not in got.reason


async def test_a_request_is_sent_as_it_is_and_framed_by_us() -> None:
    """No header is invented; length and connection are never the sample's."""
    heard: list[tuple[str, dict[str, str], bytes]] = []

    async def handle(request: web.Request) -> web.Response:
        heard.append((request.method, dict(request.headers), await request.read()))
        return web.Response()

    body = b"x" * 2_000_000
    framed = {"content-length": "3", "transfer-encoding": "chunked", "connection": "close"}
    kept = {"cookie": "a=1", "content-type": "text/plain", "x-name": "zoë"}
    async with app(handle) as port, shadowing(at(port)) as shadow:
        answer(await ask(shadow, Request("POST", "/", {**framed, **kept, "expect": "x"}, body)))
        answer(await ask(shadow, Request("POST", "/", {})))
    sent = {name.lower(): value for name, value in heard[0][1].items()}
    assert heard[0][2] == body
    assert sent == kept | {
        "host": f"127.0.0.1:{port}",
        "accept-encoding": "identity",
        "content-length": "2000000",
    }
    assert {name.lower() for name in heard[1][1]} == {"host", "accept-encoding", "content-length"}
    assert heard[1][2] == b""
