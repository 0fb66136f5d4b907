"""What is kept of a dark launch holds no secret, and still says what differs and where."""

import base64
import json
import re
import string
from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import quote

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shared.core import scrub
from shared.core.diff import Bounds, Comparison, Difference, Kind, Reply, Rules, compare
from shared.core.redact import MOST_VALUE_CHARS, Redaction, Redactor, Values, redactor

SALT = "a salt of this rollout"
CARD = "4111 1111 1111 1111"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"
UUID = "550e8400-e29b-41d4-a716-446655440000"
PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----"


def ready(**fields: object) -> Redactor:
    return redactor(Redaction(**fields), SALT)  # type: ignore[arg-type]  # as the plan gives them


SHOWN = ready(values=Values.SHOWN)
EACH_WAY = [ready(values=values) for values in Values]


def value(left: str, right: str = "", path: str = "$.note", kind: Kind = Kind.VALUE) -> Difference:
    return Difference(path, path, kind, left, right)


def seeded(examples: int) -> settings:
    """The same examples in every run."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
    )


# --- text --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("password=hunter2 and more", "password=[hidden] and more"),
        ("db_pass: hunter2", "db_pass: [hidden]"),
        ("PIN=1234", "PIN=[hidden]"),
        ("mypin=1234", "mypin=1234"),
        ("code=404&page=2", "code=[hidden]&page=2"),
        ('{"password": "hun\\"ter2", "n": 1}', '{"password": "[hidden]", "n": 1}'),
        ('{"body": "{\\"pwd\\": \\"a\\\\\\"b\\"}"}', '{"body": "{\\"pwd\\": \\"[hidden]\\"}"}'),
        ('{"tokens": ["a", "b"]}', '{"tokens": [hidden]'),
        ('{"pin":1234,"user":"Bob"}', '{"pin":[hidden],"user":"Bob"}'),
        ('the password: "correct horse', 'the password: "[hidden]"'),
        ("token=[hidden]hunter2", "token=[hidden]"),
        ("a%3Fkey%3Db", "a%3Fkey%3D[hidden]"),
        ("Server=x;Password=a&b,c;User Id=sa", "Server=x;Password=[hidden];User Id=sa"),
        ("AccountKey=aGk=;Suffix=net", "AccountKey=[hidden];Suffix=net"),
        ("https://u:p@ss@host/?sig=a%3D&n=1", "https://[hidden]@host/?sig=[hidden]&n=1"),
        ("https://token1@host/", "https://[hidden]@host/"),
        ("<a:Password x='1'>a&lt;b</a:Password>", "<a:Password>[hidden]</a:Password>"),
        ("Authorization: Digest a=b, c=d\nHost: h", "Authorization: [hidden]\nHost: h"),
        ('{"set-cookie": "a=b; c=d", "n": 1}', '{"set-cookie": "[hidden]", "n": 1}'),
        ("sent bearer abc.def to it", "sent bearer [hidden] to it"),
        (f"see {JWT}, please", "see [token], please"),
        (f"id {UUID}.", "id [token]."),
        ("AKIAIOSFODNN7EXAMPLE", "[token]"),
        ("Ab3xYz9Qw1Er5Ty7", "[token]"),
        ("to alice.o+x@example.co.uk now", "to [email] now"),
        ("to=alice%40example.com&n=1", "to=[email]&n=1"),
        (f"paid with {CARD}, thanks", "paid with [card], thanks"),
        ("on 12 4111-1111-1111-1111", "on [card]"),
        ("1 " * 70, "[card] "),
        ("to DE89 3704 0044 0532 0130 00 BIC", "to [iban] BIC"),
        (f"a {PEM} b", "a [hidden] b"),
        (f"a {PEM[:50]}", "a [hidden]"),
        (f"{PEM[20:]} b", "[hidden] b"),
        ("\ud800", "\\ud800"),
    ],
)
def test_a_secret_in_a_text_is_replaced(text: str, kept: str) -> None:
    assert SHOWN.text(text) == kept
    assert SHOWN.text(kept) == kept


@pytest.mark.parametrize(
    "text",
    [
        "",
        "the order 12345 was shipped on 2024-01-15T10:00:00Z",
        "4111 1111 1111 1112",
        "numberOfOutstandingInvoices in customer_order_history_2024",
        "/var/lib/orders/items/main",
        "see @type, or a keyboard and a tokenizer",
        "text/html; charset=utf-8",
        "max-age=3600, must-revalidate",
    ],
)
def test_a_text_without_a_secret_stays(text: str) -> None:
    assert SHOWN.text(text) == text


def test_a_long_text_is_cut_before_the_word_at_the_cut() -> None:
    """Neither half a token nor the first digits of a card are left at the end."""
    text = "x" * 9 + " word" * 814 + " 4111 1111 secretive-tail-of-something"
    kept = SHOWN.text(text)
    assert kept.endswith("word [cut]")
    assert len(kept) <= scrub.MOST_TEXT_CHARS
    assert SHOWN.text("y" * 5000) == "[cut]"


@pytest.mark.parametrize(
    "piece",
    [
        *("a", "1", "1 ", "\\", '\\"', "%", "&", "@", "a@", "a@b ", "<", "://", "://a:", "\n", "-"),
        *(
            "password",
            "password='",
            'password="\\',
            "<password ",
            "<password>",
            "key&a=&",
            "secret ",
        ),
        *("-----BEGIN PRIVATE KEY", "-----BEGIN ", "-----END ", "eyJaaaa.", "AB12", "AB12 "),
        *(
            "&quot;",
            "bearer ",
            "cookie:",
            "/",
            "/a",
            "?",
            "a=&",
            "\ud800",
            "é",
            "[",
            "{",
            "$",
            "['",
        ),
    ],
)
def test_a_hostile_megabyte_is_met(piece: str) -> None:
    """Only so much is searched, whatever comes; the results are bounded and stay as they are."""
    text = piece * (1_000_000 // len(piece))
    for scrubbed, most in (
        (scrub.text_without_secrets, scrub.MOST_TEXT_CHARS),
        (scrub.endpoint, scrub.MOST_PATH_CHARS),
    ):
        kept = scrubbed(text)
        assert len(kept) <= most
        assert scrubbed(kept) == kept
    for each in EACH_WAY:
        found = each.difference(Difference(f"$.{text}", f"${text}", Kind.VALUE, text, f'"{text}"'))
        assert all(len(part) <= MOST_VALUE_CHARS for part in parts(found))


def test_what_never_settles_is_given_up() -> None:
    assert scrub.settled(lambda number: number + 1, 0, -1) == -1


# --- request paths and headers -----------------------------------------------------------------


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("", ""),
        ("/", "/"),
        ("/orders/12345/lines", "/orders/{number}/lines"),
        (f"/v1/orders/{UUID}/", "/v1/orders/{uuid}/"),
        ("/oauth2/a1b2c3d4e5", "/oauth2/{hex}"),
        ("/on/2024-01-15/report.pdf", "/on/{date}/report.pdf"),
        (f"/verify/{JWT}", "/verify/{token}"),
        ("/user12345/user_1", "/{token}/user_1"),
        ("/u/alice@example.com", "/u/{email}"),
        ("/u/alice%40example.com#top", "/u/{email}"),
        ("/search/two%20words", "/search/{text}"),
        (
            "/numberOfOutstandingInvoices/abcdefghijklmnopqrstu",
            "/numberOfOutstandingInvoices/{token}",
        ),
        ("/a?limit=5&id=1&id=2&", "/a?id=&limit="),
        ("/a?$top=5&filter[name]=x&a@b.c=1&secret", "/a?$top=&filter[name]=&{text}&{text}="),
        ("/1" * 600, "/{number}" * 111),
        ("a" * 1001, "{text}"),
    ],
)
def test_ids_of_a_request_path_become_placeholders(path: str, kept: str) -> None:
    assert SHOWN.request_path(path) == kept
    assert SHOWN.request_path(kept) == kept


def test_only_headers_that_are_allowed_are_kept_and_scrubbed() -> None:
    headers = {"Content-Type": "text/plain", "X-Who": "a@b.example", "Cookie": "a=b", "Age": "1"}
    kept = ready(headers=("Content-Type", "x-who", "cookie")).headers(headers)
    assert kept == {"content-type": "text/plain", "x-who": "[email]", "cookie": "[hidden]"}
    assert ready().headers(headers) == {"content-type": "text/plain"}


# --- differences -------------------------------------------------------------------------------


def test_values_are_hashed_by_default_with_their_type() -> None:
    """Equal values have equal hashes within a rollout, and others in the next."""
    ours = ready().difference(value('"Alice"', "true"))
    assert re.fullmatch(r"string sha256:[0-9a-f]{10}", ours.left)
    assert re.fullmatch(r"boolean sha256:[0-9a-f]{10}", ours.right)
    assert ready().difference(value('"Alice"', path="$.other")).left == ours.left
    theirs = redactor(Redaction(), SALT[::-1]).difference(value('"Alice"'))
    assert theirs.left != ours.left


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("", ""),
        ("null", "null"),
        ("12", "number sha256:"),
        ("NaN", "number sha256:"),
        ("[1]", "array sha256:"),
        ('{"a": 1}', "object sha256:"),
        ("what is this", "text sha256:"),
    ],
)
def test_a_hash_says_of_what(text: str, kept: str) -> None:
    assert ready().difference(value(text)).left.startswith(kept)


def test_a_hash_says_that_it_is_of_a_part() -> None:
    assert ready().difference(value('"Alice and...')).left.endswith(", cut")


@pytest.mark.parametrize(
    ("left", "right", "apart"),
    [
        ("100", "112", ", 11 % apart"),
        ("-1", "1", ", 200 % apart"),
        ("1e-7", "1.00001e-7", ", 0.001 % apart"),
        ("0", "0.0", ""),
        ("1e999", "1", ""),
        ("NaN", "1", ""),
        ("1", "12345678901234567890123456789012345678901", ""),
    ],
)
def test_two_numbers_are_as_far_apart_as_a_tolerance_would_be(
    left: str, right: str, apart: str
) -> None:
    found = ready().difference(value(left, right))
    assert re.fullmatch(rf"number sha256:\w{{10}}{re.escape(apart)}", found.right)
    assert re.fullmatch(r"number sha256:\w{10}", found.left)


def test_structure_is_shown() -> None:
    """Status codes and lengths tell nobody's secret."""
    length = value("3", "5", "$.items", Kind.LENGTH)
    status = value("200", "500", "status", Kind.STATUS)
    assert ready().difference(length) == length
    assert ready().difference(status) == status
    assert ready(hide=("$.items",)).difference(length).left == "[hidden]"
    assert ready().difference(value("x", "", "status", Kind.STATUS)).left.startswith("text sha256:")


def test_a_body_in_a_few_words_keeps_them_but_not_its_plain_hash() -> None:
    """A hash without a key would let anyone try short bodies out."""
    told = "compressed, 4 bytes, sha256 0123456789abcdef"
    left = ready().difference(value(told, path="$", kind=Kind.BODY)).left
    assert re.fullmatch(r"compressed, 4 bytes, sha256:[0-9a-f]{10}", left)
    assert ready(hide=("$",)).difference(value(told, path="$", kind=Kind.BODY)).left == "[hidden]"
    assert ready().difference(value(told)).left.startswith("text sha256:")


def test_hide_comes_before_show_and_show_before_the_rest() -> None:
    made = ready(hide=("$.user.name", "$..born"), show=("$.user", "$.items[*].price"))
    kept = made.difference(value('{"name": "Al", "age": 5, "born": {"on": 1}}', path="$.user"))
    assert json.loads(kept.left) == {"name": "[hidden]", "age": 5, "born": "[hidden]"}
    assert made.difference(value('"Al"', path="$.user.name.first")).left == "[hidden]"
    assert made.difference(value("5", path="$.items[3].price")).left == "5"
    item = made.difference(value('{"price": 5, "who": "Al", "x": null}', path="$.items[3]")).left
    assert re.fullmatch(r'\{"price": 5, "who": "string sha256:\w{10}", "x": null\}', item)
    assert made.difference(value('[{"price": 5}]', path="$.items")).left == '[{"price": 5}]'
    assert made.difference(value("[5]", path="$.other")).left.startswith("array sha256:")
    assert made.difference(value('{"price": 5,...', path="$.items[3]")).left.endswith(", cut")


@pytest.mark.parametrize(
    ("path", "kept"),
    [
        ("$.user.password", r"\[hidden\]"),
        ("$.accessTokens[0].value", r"\[hidden\]"),
        ("$.error.code", r"string sha256:\w{10}"),
        ("$.key.of", r"string sha256:\w{10}"),
        ("header.set-cookie", r"\[hidden\]"),
        ("header.x-who", r"string sha256:\w{10}"),
        ("header.vary", '"two"'),
        ("$.note", '"two"'),
        ("$[", r"\[hidden\]"),
        ("$.a" * 200, r"\[hidden\]"),
        (f"$['{'long key ' * 10}']", r"\[hidden\]"),
    ],
)
def test_a_name_gives_a_secret_away_where_all_is_shown(path: str, kept: str) -> None:
    kind = Kind.HEADER if path.startswith("header") else Kind.VALUE
    found = ready(values=Values.SHOWN, headers=("vary", "set-cookie"), show=("$",)).difference(
        value('"two"', path=path, kind=kind)
    )
    assert re.fullmatch(kept, found.left)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('"a plain note"', '"a plain note"'),
        ('"ask alice@example.com"', '"ask [email]"'),
        ('"a \\"quoted\\" \\ud800"', '"a \\"quoted\\" \\\\ud800"'),
        ('"pay 4111 1111 11...', '"pay [cut]"'),
        ('"a note \\u00...', '"a note [cut]"'),
        ('"notes\\\\ and \\" this...', '"notes\\\\ and \\" [cut]"'),
        ('"one word\\u0031 1...', r"string sha256:\w{10}, cut"),
        ('[1, "some...', r"array sha256:\w{10}, cut"),
        ("4111111111111111", r"number sha256:\w{10}"),
        ("12.5", "12.5"),
        ("true", "true"),
        ("null", "null"),
        ('["a", {"pin": 12}]', '["a", {"pin": "[hidden]"}]'),
        ("[" * 65 + "]" * 65, r"array sha256:\w{10}"),
        (f'"{"note " * 100}"', r"string sha256:\w{10}"),
        (json.dumps([["a b"] * 10, {"a b": 1}] + [{"c d": 1}] * 20), r"array sha256:\w{10}"),
    ],
)
def test_what_the_plan_shows_is_scrubbed_first(text: str, kept: str) -> None:
    found = SHOWN.difference(value(text))
    assert found.left == kept or re.fullmatch(kept, found.left)


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ('"a long note"', '"a long…"'),
        ('"short"', '"short"'),
        (f'"{JWT}"', '"[token]"'),
        ("12345", "12000.0"),
        ("0.012345", "0.012"),
        ("false", "false"),
        ("[12345]", "[12000.0]"),
        ("1" + "0" * 400, r"number sha256:\w{10}"),
    ],
)
def test_shortened_values_keep_how_they_begin(text: str, kept: str) -> None:
    found = ready(values=Values.SHORTENED).difference(value(text))
    assert found.left == kept or re.fullmatch(kept, found.left)


def test_a_piece_of_a_text_body_is_never_shown() -> None:
    """It may begin within the name of a secret."""
    found = value('"sword> hunter2 </password>"', path="$", kind=Kind.BODY)
    assert re.fullmatch(r"string sha256:\w{10}", SHOWN.difference(found).left)


def test_a_key_is_shown_if_it_is_a_name_and_else_always_has_the_same_hash() -> None:
    paths = ("$.users['alice@example.com'].name", "$.users['alice@example.com'].age")
    one, other = (ready().difference(value("1", path=path)).path for path in paths)
    assert re.fullmatch(r"\$\.users\['sha256:\w{10}'\]\.name", one)
    assert other == one.replace("name", "age")
    found = ready().difference(Difference("$.a[3].b", "$.a[*].b", Kind.VALUE, "1", "2"))
    assert (found.path, found.pattern) == ("$.a[3].b", "$.a[*].b")
    assert re.fullmatch(r"sha256:\w{10}", ready().difference(value("1", path="a@b.example")).path)


def test_a_show_that_names_a_hidden_key_shows_nothing() -> None:
    """Redacted again it would not match, and what is given out must not change."""
    made = ready(show=("$['a@b.example']",))
    assert made.difference(value('"x y"', path="$['a@b.example']")).left.startswith(
        "string sha256:"
    )


def test_the_salt_is_not_told_and_values_may_be_plain_text() -> None:
    """Whoever has the salt could try values out; and a plan holds no members of enumerations."""
    made = ready(values="hashed")
    assert SALT not in repr(made)
    assert made.difference(value('"Al"')) == ready().difference(value('"Al"'))


def test_all_differences_of_a_comparison_are_redacted() -> None:
    kept = ready().comparison(Comparison((value('"Al"'), value('"Bo"')), more=3))
    assert all(each.left.startswith("string sha256:") for each in kept.differences)
    assert kept.more == 3


@pytest.mark.parametrize(
    ("fields", "salt", "words"),
    [
        ({"hide": ("user",)}, SALT, "'user' must start with"),
        ({"show": ("$.a[",)}, SALT, r"'\$.a\[' cannot be read"),
        ({}, "short", "salt must have at least 16"),
        ({"values": "clear"}, SALT, "'clear' is not a valid Values"),
    ],
)
def test_what_cannot_be_made_ready_is_named(
    fields: dict[str, object], salt: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        redactor(Redaction(**fields), salt)  # type: ignore[arg-type]  # as the plan gives them


# --- whatever comes ----------------------------------------------------------------------------

PIECES = st.sampled_from(
    [
        *(
            " ",
            "=",
            ":",
            '"',
            "'",
            "\\",
            '\\"',
            "&",
            ";",
            ",",
            "<",
            ">",
            "</",
            "@",
            "%40",
            "/",
            "?",
        ),
        *(
            "[",
            "]",
            "{",
            "}",
            "[hidden]",
            "[cut]",
            "[token",
            "...",
            "…",
            "\n",
            "-",
            "://",
            "\ud800",
        ),
        *("password", "token", "key", "bearer", "cookie", "<pin>", "eyJabcd.", CARD, JWT, PEM),
        *(
            "-----BEGIN PRIVATE KEY-----",
            "-----END PRIVATE KEY-----",
            "AB12 CD34 EF56",
            "a@b.example",
        ),
        *(
            "string sha256:0123456789",
            "number sha256:0123456789, 5 % apart",
            "null",
            "$.",
            "['",
            "']",
        ),
    ]
)
ANY_TEXT = st.lists(PIECES | st.text(max_size=6), max_size=12).map("".join)
JSON_TEXT = ANY_TEXT | ANY_TEXT.map(json.dumps) | st.floats().map(json.dumps)
ANY_PATH = (
    ANY_TEXT | ANY_TEXT.map(lambda key: f"$.a[2]['{key}']") | st.sampled_from(["$", "$.a[3]"])
)
MADE = st.sampled_from(
    [
        *EACH_WAY,
        ready(hide=("$.a",), values=Values.SHOWN),
        ready(show=("$.a", "$..['a b']"), hide=("$..pin",)),
    ]
)


def parts(found: Difference) -> tuple[str, ...]:
    return found.path, found.pattern, found.left, found.right


@seeded(250)
@given(ANY_TEXT)
def test_scrubbing_twice_is_scrubbing_once(text: str) -> None:
    for scrubbed in (scrub.text_without_secrets, scrub.endpoint):
        kept = scrubbed(text)
        assert scrubbed(kept) == kept


@seeded(250)
@given(MADE, ANY_PATH, ANY_PATH, st.sampled_from(Kind), JSON_TEXT, JSON_TEXT)
def test_redacting_twice_is_redacting_once(
    made: Redactor, path: str, pattern: str, kind: Kind, left: str, right: str
) -> None:
    kept = made.difference(Difference(path, pattern, kind, left, right))
    assert made.difference(kept) == kept
    assert all(len(part) <= MOST_VALUE_CHARS for part in parts(kept))


# --- planted secrets ---------------------------------------------------------------------------

LETTERS, ALNUM = string.ascii_letters, string.ascii_letters + string.digits


@dataclass(frozen=True)
class Planted:
    """A secret, and whether only its name tells that it is one."""

    secret: str
    named: bool = False

    def pieces(self) -> Iterator[str]:
        """What must not be seen: any eight characters of it, and other spellings of it."""
        size = min(8, len(self.secret))
        yield from (self.secret[at : at + size] for at in range(len(self.secret) - size + 1))
        encoded = base64.b64encode(self.secret.encode()).decode()
        yield from (encoded, encoded.rstrip("="), quote(self.secret, safe=""))


def luhn(digits: str) -> str:
    """Append the check digit."""
    doubled = (sum(divmod(2 * int(digit), 10)) for digit in digits[::-2])
    return digits + str(-(sum(doubled) + sum(map(int, digits[-2::-2]))) % 10)


def grouped(digits: str, by: str) -> str:
    return by.join(digits[at : at + 4] for at in range(0, len(digits), 4))


# Three groups of digits and more: what has fewer may be a name in camel case.
TOKENS = st.one_of(
    st.text(ALNUM, min_size=18, max_size=60).filter(lambda t: len(re.findall(r"\d+", t)) > 2),
    st.binary(min_size=24, max_size=40).map(lambda raw: "z9" + base64.b64encode(raw).decode()),
    st.binary(min_size=12, max_size=32).map(lambda raw: "a1b2c3" + raw.hex()),
    st.uuids().map(str),
).filter(lambda token: len(re.findall(r"\d+", token)) > 2)
EMAILS = st.builds(
    "{}@{}.{}".format,
    st.from_regex(r"[a-z][a-z0-9._+-]{1,20}[a-z0-9]", fullmatch=True),
    st.from_regex(r"[a-z]{2,8}(-[a-z]{2,5})?", fullmatch=True),
    st.sampled_from(["com", "co.uk", "example"]),
)
CARDS = st.builds(
    lambda first, rest, by: grouped(luhn(first + rest), by),
    st.sampled_from("3456"),
    st.from_regex(r"[0-9]{11,14}", fullmatch=True),
    st.sampled_from(["", " ", "-"]),
)
BARE = st.builds(Planted, TOKENS | EMAILS | CARDS)
PASSWORDS = st.builds(
    Planted,
    st.text(ALNUM + "!#$%*+-.?@^_~:/|=,", min_size=8, max_size=20).filter(lambda t: t[0] in ALNUM),
    st.just(True),
)
PADDING = st.lists(st.sampled_from(["and", "the", "order", "was", "sent,"]), max_size=40).map(
    " ".join
)
SECRET_NAMES = st.sampled_from(
    ["password", "dbPassword", "client_secret", "apiKey", "pin", "Token"]
)


def documents(planted: Planted, name: str, before: str, after: str) -> Iterator[object]:
    """Documents with the secret at many places."""
    if planted.named:
        yield from ({name: planted.secret}, {"a": {name: [{"of": planted.secret}]}})
        yield {"note": f"{before} {json.dumps({name: planted.secret})} {after}"}
        return
    text = f"{before} {planted.secret} {after}"
    yield from ({"note": text}, {planted.secret: {planted.secret: 1}}, [[planted.secret, text]])
    yield {"a": {planted.secret: text, "b": [planted.secret]}}


def texts(planted: Planted, name: str, before: str, after: str) -> Iterator[str]:
    """Texts with the secret in many forms."""
    if not planted.named:
        yield from (f"{before} {planted.secret} {after}", f"{before}={planted.secret}&{after}")
        yield f"{before} <{planted.secret}> {after}"
        return
    yield from (f"{before} {name}={planted.secret} {after}", f"{name}: {planted.secret}\n{after}")
    yield f"{before} <{name} a='1'>{planted.secret}</{name}> {after}"
    yield f"{before} Server=x;{name}={planted.secret};User=sa {after}"
    yield f"{before} https://u:{quote(planted.secret, safe='')}@host/ {after}"
    yield f"{before} Basic {base64.b64encode(planted.secret.encode()).decode()} {after}"
    yield f"{before} {json.dumps({'a': json.dumps({name: planted.secret})})} {after}"


def outputs(made: Redactor, found: Comparison) -> Iterator[str]:
    for each in made.comparison(found).differences:
        yield from parts(each)


def hold(planted: Planted, outputs: Iterator[str]) -> None:
    """Nothing of the secret is to be seen."""
    pieces = set(planted.pieces())
    for text in outputs:
        seen = [piece for piece in pieces if piece in text]
        assert not seen, text


REDACTORS = st.sampled_from([*EACH_WAY, ready(show=("$",)), ready(headers=("x-a", "location"))])
BOUNDS = st.sampled_from([40, 120, 400]).map(lambda chars: Bounds(shown_chars=chars))


def reply(content_type: str, body: str, **headers: str) -> Reply:
    return Reply(200, {"content-type": content_type, **headers}, body.encode(), 1)


@seeded(100)
@given(REDACTORS, BOUNDS, BARE | PASSWORDS, SECRET_NAMES, PADDING, PADDING)
def test_no_secret_survives_in_a_difference_of_documents(
    made: Redactor, bounds: Bounds, planted: Planted, name: str, before: str, after: str
) -> None:
    others: list[object] = [{"other": 1}, [], {"note": 5}, {"a": {}}, {"note": before}]
    for document in documents(planted, name, before, after):
        left = reply("application/json", json.dumps(document))
        for other in others:
            right = reply("application/json", json.dumps(other))
            hold(planted, outputs(made, compare(left, right, Rules(bounds=bounds))))
            hold(planted, outputs(made, compare(right, left, Rules(bounds=bounds))))


@seeded(100)
@given(REDACTORS, BOUNDS, BARE | PASSWORDS, SECRET_NAMES, PADDING, PADDING)
def test_no_secret_survives_in_a_text_a_header_or_their_differences(
    made: Redactor, bounds: Bounds, planted: Planted, name: str, before: str, after: str
) -> None:
    rules = Rules(bounds=bounds, headers=("x-a", "authorization"))
    for text in texts(planted, name, before, after):
        left = reply("text/plain", text, **{"x-a": text, "authorization": text})
        for other in ("", f"{before} x", text.replace(planted.secret[-4:], "-")):
            hold(planted, outputs(made, compare(left, reply("text/plain", other), rules)))
        hold(planted, iter((made.text(text), *made.headers(left.headers).values())))


@seeded(150)
@given(BARE | PASSWORDS, SECRET_NAMES, st.integers(0, 3))
def test_no_secret_survives_in_a_request_path(planted: Planted, name: str, at: int) -> None:
    secret = quote(planted.secret, safe="@")
    kept = SHOWN.request_path(f"/orders?{'a=1&' * at}{name}={secret}&b=2")
    hold(planted, iter((kept,)))
    assert kept.startswith("/orders?") and f"{name}=" in kept  # noqa: PT018  # one thought
    if not planted.named:
        hold(planted, iter((SHOWN.request_path("/a" * at + f"/{secret}/b?{secret}&{secret}=1"),)))
