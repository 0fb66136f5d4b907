r"""Free text and request paths without what looks like a secret or like somebody's account.

1. Detectors know forms, not meanings: a person's name in a text stays, and so does a secret that
   reads like a word and has no telling name in front of it. In doubt they take too much.
2. Input is cut to a bound before it is searched, and every pattern is linear up to small bounded
   factors. Of a cut text the word at the cut is left out: it may be a piece of a secret.
3. Only what scrubbing leaves as it is, is given out: so scrubbing twice is scrubbing once.
"""

import re
from collections.abc import Callable
from typing import Final

MOST_TEXT_CHARS: Final = 4096
MOST_PATH_CHARS: Final = 1000
HIDDEN: Final = "[hidden]"
CUT: Final = "[cut]"
CARD_CHARS: Final = "0123456789 .-"
_MOST_CARD_RUN, _MOST_ROUNDS = 60, 8

# Names whose values are secret wherever they stand, and (weak) such as often mean nothing.
_TELLING = (
    r"pass(?:word|wd|phrase|code|port|wort)|pwd|secret|token|credential|cookie|jwt|signature|iban"
    r"|authori[sz]ation|connection[_-]?string|session[_-]?id|card[_-]?num|social[_-]?sec"
    r"|(?:api|access|account|auth|private|shared|master|signing|encryption|subscription|functions?"
    r"|storage)[_-]?key|(?<![^\W_])(?:pass|pin|pw|otp|cvv2?|cvc|ssn|sid)(?![^\W_])"
)
SECRET_NAME: Final = re.compile(_TELLING, re.IGNORECASE)
WEAK_NAMES: Final = frozenset({"key", "code", "sig", "auth"})

_IS = r"""(?:\\{0,4}["'`]|&quot;|%22)?\s{0,4}(?:=>|[:=]|%3[AD])\s{0,4}"""
_QUOTED = r"""(?P<q>\\{0,4}["'`]|&quot;|%22)(?:(?!(?<!\\)(?P=q)).)*+(?P=q)?"""
_END = r"""\s|;|&(?=[\w.%\[\]-]{1,60}=)|\\{0,4}["'](?=[\s,}\]:;]|\Z)|,(?=\\{0,4}["'])|</"""
_LOCAL = r"-\w.!#$*+^`{|}~"

_NAME = re.compile(r"[@$]?(?!\d)[\w.-]{1,60}")
_PIECE = re.compile(r"(?:[A-Z]{0,18}|[A-Z]?[a-z]{0,18}(?:[A-Z][a-z]{1,18}){0,7})\d{0,4}")
_SEGMENT = re.compile(
    r"(?P<number>\d+)|(?P<uuid>[\da-f]{8}(?:-[\da-f]{4}){3}-[\da-f]{12})|(?P<hex>[\da-f]{8,})"
    r"|(?P<date>\d{4}-\d\d-\d\d)|(?P<token>[\w.~+=-]+)|(?P<email>.+(?:@|%40).+)",
    re.IGNORECASE | re.DOTALL,
)
_PLACEHOLDER = re.compile(r"\{(?:number|uuid|hex|date|token|email|text)\}")


def text_without_secrets(text: str) -> str:
    """Any text, cut to `MOST_TEXT_CHARS`, with placeholders for what must not be kept."""
    return settled(_scrubbed, text, HIDDEN)


def suspect(text: str) -> bool:
    """Whether a detector finds anything in a short text."""
    return _detected(text) != text


def endpoint(path: str) -> str:
    """Path and query, cut to `MOST_PATH_CHARS`, with placeholders for ids: one for each endpoint.

    Of the query only the names are left, each once and sorted.
    """
    return settled(_endpoint, path, "/{text}")


def reads_like_a_name(name: str) -> bool:
    """Whether a field, header or segment is called by words, rather than by an id or a secret."""
    if not _NAME.fullmatch(name):
        return False
    return _few_digits(name) and (len(name) < 16 or _words(name))  # noqa: PLR2004  # as the run below


def settled[T](once: Callable[[T], T], value: T, otherwise: T) -> T:
    """Repeat until nothing changes any more; `otherwise` where that takes too long."""
    for _ in range(_MOST_ROUNDS):
        after = once(value)
        if after == value:
            return value
        value = after
    return otherwise


def _scrubbed(text: str) -> str:
    if len(text) > MOST_TEXT_CHARS:
        whole = text[: MOST_TEXT_CHARS - len(CUT) - 1].rsplit(maxsplit=1)[:-1]
        text = " ".join([*(each.rstrip(CARD_CHARS) for each in whole), CUT])
    return _detected(text.encode(errors="backslashreplace").decode())


def _detected(text: str) -> str:
    for pattern, put in _DETECTORS:
        text = pattern.sub(put, text)
    return text


def _few_digits(run: str) -> bool:
    groups = re.findall(r"\d+", run)
    return len(groups) <= 2 and all(len(each) <= 4 for each in groups)  # noqa: PLR2004  # a taste


def _words(run: str) -> bool:
    """Whether a long run is words in snake, kebab or camel case, and not random."""
    return _few_digits(run) and all(map(_PIECE.fullmatch, re.split(r"[^A-Za-z0-9]+", run)))


def _run(found: re.Match[str]) -> str:
    return found[0] if _words(found[0]) else "[token]"


def _card(found: re.Match[str]) -> str:
    """A card has 13 to 19 digits with a check digit (ISO/IEC 7812-1, Luhn), anywhere in the run."""
    digits = [int(char) for char in found[0] if char.isdigit()]
    if len(digits) > _MOST_CARD_RUN:
        return "[card]"
    ends = ((at, at + size) for size in range(13, 20) for at in range(len(digits) - size + 1))
    return "[card]" if any(_luhn(digits[start:end]) for start, end in ends) else found[0]


def _luhn(digits: list[int]) -> bool:
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return digits[0] > 1 and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _endpoint(path: str) -> str:
    if len(path) > MOST_PATH_CHARS:
        path = path[:MOST_PATH_CHARS]
        path = path[: max(0, *map(path.rfind, "/?&"))] or "{text}"
    target, _, query = path.partition("#")[0].partition("?")
    names = sorted({_parameter(each) for each in query.split("&") if each})
    return "/".join(map(_segment, target.split("/"))) + "?" * bool(names) + "&".join(names)


def _parameter(text: str) -> str:
    name, equals, _ = text.partition("=")
    named = equals and reads_like_a_name(re.sub(r"[$\[\]]", "", name))
    return (name if named else "{text}") + equals


def _segment(text: str) -> str:
    if not text or _PLACEHOLDER.fullmatch(text) or reads_like_a_name(text):
        return text
    found = _SEGMENT.fullmatch(text)
    return f"{{{found.lastgroup if found else 'text'}}}"


# Each of them: what to find, and what to put. Their order matters: the more telling come first.
_DETECTORS: Final[tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]] = (
    (  # a private key, of which either end may have been cut off
        re.compile(
            r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY.*?(?:-----END [A-Z0-9 ]{0,40}-----|\Z)"
            r"|\A(?:(?!-----BEGIN).)*?-----END [A-Z0-9 ]{0,40}PRIVATE KEY-----",
            re.DOTALL,
        ),
        HIDDEN,
    ),
    (  # an element of XML
        re.compile(
            rf"<([\w.:-]{{0,60}}?(?:{_TELLING})[\w.-]{{0,40}})(?:\s[^<>]{{0,200}})?>(?:(?!</).)*+",
            re.DOTALL | re.IGNORECASE,
        ),
        rf"<\1>{HIDDEN}",
    ),
    (  # user and password in an address
        re.compile(r"(?<=://)(?:[^\s/:@]{0,100}:\S{0,256}|[^\s/:@]{1,256})@"),
        f"{HIDDEN}@",
    ),
    (re.compile(r"eyJ[\w-]{4,}+(?:\.[\w-]*+){0,4}"), "[token]"),
    (  # headers whose values have spaces
        re.compile(
            rf"((?:authori[sz]ation|cookie2?){_IS})(?:{_QUOTED}|[^\r\n]++)",
            re.DOTALL | re.IGNORECASE,
        ),
        rf"\1\g<q>{HIDDEN}\g<q>",
    ),
    (
        re.compile(
            r"""\b(bearer|basic|negotiate|ntlm|dpop|sharedkey(?:lite)?|sharedaccesssignature|apikey)
            \s{1,4}[^\s"'<>,;]++""",
            re.IGNORECASE | re.VERBOSE,
        ),
        rf"\1 {HIDDEN}",
    ),
    (  # name and value, in a query, a form, JSON, a connection string or a log line
        re.compile(
            rf"((?:(?:{_TELLING})[\w-]{{0,30}}+|key|(?<![^\W_])(?:code|sig|auth)(?![^\W_])){_IS})"
            rf"(?:{_QUOTED}|(?!\[hidden\])[\[{{].*+|(?:(?!{_END}).)++)",
            re.DOTALL | re.IGNORECASE,
        ),
        rf"\1\g<q>{HIDDEN}\g<q>",
    ),
    (
        re.compile(
            rf"(?<![{_LOCAL}%])(?:[{_LOCAL}]|%(?!(?:25)?40))++"
            r"(?:@|%(?:25)?40|\\+u0040|&\#64;)[\w.-]++"
        ),
        "[email]",
    ),
    # An IBAN in its groups of four; its check digits are not asked for, so that text may follow.
    (re.compile(r"\b[A-Z]{2}\d\d(?:[ -]?[A-Z0-9]{4}){2,7}(?:[ -]?[A-Z0-9]{1,3}\b)?"), "[iban]"),
    (re.compile(r"\d(?:[\s._+-]{0,2}+\d){12,}+"), _card),
    (re.compile(r"[A-Za-z0-9_+/=~%-]{16,}+"), _run),
)
