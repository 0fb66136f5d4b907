"""Odd bodies: each kind has one defined outcome, and none of them raises or takes long."""

import codecs
import gzip
import json

import pytest

from shared.core.bodies import Body, Form, Oddity, Reply, read
from shared.core.diff import Bounds, Comparison, Difference, Kind, Rules, compare

JSON = "application/json"
BOUNDS = Bounds()


def reply(body: bytes | str, media: str | None = JSON, **more: str) -> Reply:
    headers = {name.replace("_", "-"): value for name, value in more.items()}
    if media is not None:
        headers["content-type"] = media
    raw = body.encode() if isinstance(body, str) else body
    return Reply(200, headers, raw, elapsed_ms=1.0)


def compared(
    left: bytes | str,
    right: bytes | str,
    media: str | None = JSON,
    rules: Rules = Rules(),  # noqa: B008  # frozen
) -> Comparison:
    return compare(reply(left, media), reply(right, media), rules)


def kinds(comparison: Comparison) -> list[tuple[str, Kind]]:
    return [(each.path, each.kind) for each in comparison.differences]


BODY = [("$", Kind.BODY)]


@pytest.mark.parametrize(
    ("body", "media", "expected"),
    [
        (b"", JSON, Body(Form.EMPTY)),
        (b"", None, Body(Form.EMPTY)),
        (b'{"a": 1}', JSON, Body(Form.JSON, {"a": 1})),
        (b'{"a": 1}', "application/problem+json; charset=UTF-8", Body(Form.JSON, {"a": 1})),
        (b'{"a": 1}', "text/json", Body(Form.JSON, {"a": 1})),
        (b'{"a": 1}', None, Body(Form.JSON, {"a": 1})),
        (b'{"a": 1}', "", Body(Form.JSON, {"a": 1})),
        (b'{"a": 1}', "text/plain", Body(Form.TEXT, '{"a": 1}')),
        (b'{"a": 1}', "application/octet-stream", Body(Form.BYTES)),
        (b"<p>", "text/html", Body(Form.TEXT, "<p>")),
        (b"<p/>", "application/soap+xml", Body(Form.TEXT, "<p/>")),
        (b"a=1", "application/x-www-form-urlencoded", Body(Form.TEXT, "a=1")),
        (b"hello", None, Body(Form.TEXT, "hello")),
        (b"\xff\xfe\x00", None, Body(Form.BYTES)),
        (b'{"a":1}\n\n[2]\r\n', "application/x-ndjson", Body(Form.JSON, [{"a": 1}, [2]])),
        (b'{"a":1}\n{"a"', "application/x-ndjson", Body(Form.BYTES, oddity=Oddity.NOT_JSON)),
        (b'{"a": 1', JSON, Body(Form.BYTES, oddity=Oddity.NOT_JSON)),
        (b'{"a": 1} x', JSON, Body(Form.BYTES, oddity=Oddity.NOT_JSON)),
        (b'{"a":1}\n{"a":2}', JSON, Body(Form.BYTES, oddity=Oddity.NOT_JSON)),
        (b"  ", JSON, Body(Form.BYTES, oddity=Oddity.NOT_JSON)),
        (b"<html>", JSON, Body(Form.BYTES, oddity=Oddity.NOT_JSON)),
        (b'{"a": 1, "a": 2}', JSON, Body(Form.BYTES, oddity=Oddity.TWICE)),
        (b'{"a": 1, "a": 1}', None, Body(Form.BYTES, oddity=Oddity.TWICE)),
        (b'"caf\xe9"', JSON, Body(Form.BYTES, oddity=Oddity.UNDECODABLE)),
        (b'"caf\xe9"', f"{JSON}; charset=iso-8859-1", Body(Form.JSON, "caf\xe9")),
        (b"caf\xe9", 'text/plain; q=1; charset="Windows-1252"', Body(Form.TEXT, "caf\xe9")),
        (b"caf\xe9", "text/plain", Body(Form.BYTES, oddity=Oddity.UNDECODABLE)),
        (b"x", "text/plain; charset=punycode", Body(Form.BYTES, oddity=Oddity.UNDECODABLE)),
        (b"[1e400]", JSON, Body(Form.BYTES, oddity=Oddity.NUMBER)),
        (b"[" + b"9" * 100_000 + b"]", JSON, Body(Form.BYTES, oddity=Oddity.NUMBER)),
        (b"[1e308, 1e-400, -0.0]", JSON, Body(Form.JSON, [int(1e308), 0, 0])),
        (b'"\\ud800"', JSON, Body(Form.JSON, "\ud800")),
        (b'"\xed\xa0\x80"', JSON, Body(Form.BYTES, oddity=Oddity.UNDECODABLE)),
        (b"[" * 100_000 + b"]" * 100_000, JSON, Body(Form.BYTES, oddity=Oddity.DEEP)),
        (b'{"a":' * 100_000, None, Body(Form.BYTES, oddity=Oddity.DEEP)),
        (b'"' + b"[" * 100_000 + b'"', JSON, Body(Form.JSON, "[" * 100_000)),
    ],
)
def test_a_body_is_read_as_what_it_claims_to_be_or_is_odd(
    body: bytes, media: str | None, expected: Body
) -> None:
    assert read(reply(body, media), BOUNDS) == expected


@pytest.mark.parametrize(
    "codec", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"]
)
def test_json_is_the_same_in_every_unicode_encoding(codec: str) -> None:
    text = '{"name": "gr\xf6\xdfe", "n": [1, 2]}'

    assert kinds(compared(text.encode(codec), text, None)) == []
    assert kinds(compared(text.encode(codec), text.replace("2", "3"))) == [("$.n[1]", Kind.VALUE)]


def test_a_byte_order_mark_is_no_part_of_a_text() -> None:
    marked = codecs.BOM_UTF16_LE + "hello".encode("utf-16-le")

    assert kinds(compared(marked, "hello", "text/plain")) == []
    assert read(reply(marked, "text/plain; charset=utf-16le"), BOUNDS).value == "hello"


def test_not_a_number_is_itself_and_nothing_else() -> None:
    texts = ("NaN", "Infinity", "-Infinity", "0")
    for left in texts:
        for right in texts:
            found = kinds(compared(f"[ {left}]", f"[{right}]"))

            assert found == ([] if left == right else [("$[0]", Kind.VALUE)])


def test_not_a_number_is_itself_beside_a_change() -> None:
    assert kinds(compared("NaN", " NaN")) == []
    assert kinds(compared('[NaN, {"a": NaN}, 1]', '[NaN, {"a": NaN}, 2]')) == [("$[2]", Kind.VALUE)]


def test_spellings_of_one_number_are_one_number() -> None:
    spellings = ("[100, 0, 0.5]", "[1e2, -0.0, 5e-1]", "[100.0, 0.0, 0.50]", "[1.00E+2, -0, 0.5]")
    for left in spellings:
        for right in spellings:
            assert compared(left, right) == Comparison(())


def test_whole_numbers_are_not_rounded() -> None:
    assert kinds(compared("[9007199254740993]", "[9007199254740992]")) == [("$[0]", Kind.VALUE)]


def test_numbers_too_large_are_told_and_compared_by_their_bytes() -> None:
    assert compared("[1e400]", "[1e401]") == Comparison(
        (
            Difference(
                "$",
                "$",
                Kind.BODY,
                "a number too large, 7 bytes, sha256 c5707d15ca6a3c35",
                "a number too large, 7 bytes, sha256 b74af2c70706cf3d",
            ),
        ),
        0,
        Oddity.NUMBER,
        Oddity.NUMBER,
    )


def test_a_key_twice_is_never_settled_by_the_last() -> None:
    found = compared('{"a": 1, "a": 2}', '{"a": 2}')

    assert kinds(found) == BODY
    assert (found.left, found.right) == (Oddity.TWICE, Oddity.NONE)


def test_one_side_json_and_the_other_a_page() -> None:
    left, right = reply('{"a": 1}'), reply("<html>oops</html>", "text/html")

    assert kinds(compare(left, right, Rules())) == [("header.content-type", Kind.HEADER), *BODY]
    assert kinds(compare(left, right, Rules(headers=()))) == BODY
    assert kinds(compare(left, right, Rules(headers=(), ignore=("$",)))) == []


def test_different_json_types_are_compared_by_structure() -> None:
    left, right = reply('{"a": 1}'), reply('{ "a": 2}', "application/problem+json")

    assert kinds(compare(left, right, Rules(headers=()))) == [("$.a", Kind.VALUE)]


def test_json_and_the_same_bytes_as_text_differ_by_header_alone() -> None:
    found = compare(reply("[1]"), reply("[1]", "text/plain"), Rules())

    assert kinds(found) == [("header.content-type", Kind.HEADER)]


def test_no_content_and_an_empty_answer_differ_by_status_alone() -> None:
    left, right = Reply(204, {}, b"", 1), Reply(200, {}, b"", 900)

    assert compare(left, right, Rules()) == Comparison(
        (Difference("status", "status", Kind.STATUS, "204", "200"),)
    )
    assert compare(left, right, Rules(compare_status=False)) == Comparison(())


def test_empty_and_null_are_not_the_same() -> None:
    assert kinds(compared("", "null")) == BODY


def test_texts_differ_by_more_than_white_space() -> None:
    assert kinds(compared("one  two\r\n", "one\ntwo", "text/plain")) == []
    assert kinds(compared("one two", "one  two", "text/plain", Rules(normalise_text=False))) == BODY
    assert kinds(compared("one two", "onetwo", "text/plain")) == BODY


def test_a_difference_of_texts_shows_where_they_part() -> None:
    left, right = "a" * 5_000 + " left", "a" * 5_000 + " right and so on" * 99
    (found,) = compared(left, right, "text/plain", Rules(bounds=Bounds(shown_chars=40))).differences

    assert found.left == '"aaaaaaaaa left"'
    assert found.right == '"aaaaaaaaa right and so on right and ...'


@pytest.mark.parametrize("same", range(12))
def test_the_parting_is_found_wherever_it_is(same: int) -> None:
    left, right = ("a" * same + end for end in ("L", "R and more"))
    (found,) = compared(left, right, "text/plain", Rules(bounds=Bounds(shown_chars=8))).differences

    assert found.left == json.dumps("a" * min(same, 2) + "L")


def test_bytes_differ_by_their_hash() -> None:
    (found,) = compared(b"\x89PNG1", b"\x89PNG22", "image/png").differences

    assert found.kind is Kind.BODY
    assert found.left == "bytes, 5 bytes, sha256 4df179beae11055b"
    assert found.right.startswith("bytes, 6 bytes, sha256 ")


def test_compressed_bodies_stay_as_they_are() -> None:
    left, right = (
        reply(gzip.compress(b"[1]", mtime=stamp), content_encoding="GZip") for stamp in (1, 2)
    )
    found = compare(left, right, Rules())

    assert kinds(found) == BODY
    assert found.left is found.right is Oddity.ENCODED
    assert compare(left, left, Rules()) == Comparison(())
    assert read(reply(gzip.compress(b"[1]")), BOUNDS).oddity is Oddity.UNDECODABLE
    assert read(reply("[1]", content_encoding="identity"), BOUNDS).form is Form.JSON


def test_a_cut_answer_is_told_even_if_what_was_seen_is_equal() -> None:
    whole, cut = Reply(200, {}, b"[1, 2]", 1), Reply(200, {}, b"[1, 2]", 1, truncated=True)

    assert compare(whole, cut, Rules()) == Comparison((), 0, Oddity.NONE, Oddity.TRUNCATED)
    shorter = Reply(200, {}, b"[1,", 1, truncated=True)
    assert kinds(compare(whole, shorter, Rules())) == BODY
    assert compare(cut, shorter, Rules()).left is Oddity.TRUNCATED


def test_a_body_over_the_bound_is_compared_by_its_bytes() -> None:
    rules = Rules(bounds=Bounds(body_bytes=10))
    found = compared("[1, 2, 3, 4]", "[1, 2, 3]", rules=rules)

    assert kinds(found) == BODY
    assert (found.left, found.right) == (Oddity.HUGE, Oddity.NONE)


@pytest.mark.parametrize(("form", "levels"), [("[%s]", 1), ('{"a":%s}', 1), ('[{"]]]":%s}]', 2)])
def test_a_document_at_the_depth_bound_is_compared_and_one_deeper_is_not(
    form: str, levels: int
) -> None:
    left, right = "0", "1"
    for _ in range(100 // levels):
        left, right = form % left, form % right
    fits, short = (Rules(bounds=Bounds(depth=depth)) for depth in (100, 99))

    assert [each.kind for each in compared(left, right, rules=fits).differences] == [Kind.VALUE]
    assert compared(left, right, rules=short).left is Oddity.DEEP


def test_a_line_of_json_is_as_deep_as_in_an_array() -> None:
    for depth, form in ((1, Form.BYTES), (2, Form.JSON)):
        assert read(reply("[1]\n", "application/x-ndjson"), Bounds(depth=depth)).form is form


def test_references_are_fields_like_any_other() -> None:
    looping = '{"$ref": "#", "a": {"$ref": "#/a"}}'

    assert kinds(compared(looping, looping.replace("/a", "/b"))) == [("$.a['$ref']", Kind.VALUE)]


def test_lines_of_json_are_compared_as_one_array() -> None:
    left, right = '{"a":1}\n{"a":2}\n', '{"a":1}\n{"a":3}\n{"a":4}'

    assert kinds(compared(left, right, "application/x-ndjson")) == [
        ("$", Kind.LENGTH),
        ("$[1].a", Kind.VALUE),
        ("$[2]", Kind.EXTRA),
    ]


def test_odd_words_can_always_be_encoded() -> None:
    found = compared(r'{"\ud800": "\udfff", "b": "gr\u00f6"}', r'{"\ud800": "", "b": ""}')

    assert [(each.path, each.left) for each in found.differences] == [
        (r"$['\ud800']", r'"\udfff"'),
        ("$.b", '"gr\xf6"'),
    ]
