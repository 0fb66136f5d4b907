r"""Paths in a JSON document, as text to read and as patterns to match.

A path starts at `$` and goes down by keys and indices. In a pattern:

    .name  ['any key']    this field of an object; \' \" \\ \uXXXX \UXXXXXXXX within quotes
    .*                    any field of an object
    [*]  [3]              any element of an array, this element
    ..name  ..*  ..[*]    the same, at any depth below

What `written` writes, `parsed` reads: a reported path may be pasted into a rule.
Only keys over 100 characters are cut, with the start of their hash so that they stay apart.
"""

import hashlib
import re
from functools import lru_cache
from typing import NamedTuple

type Trail = tuple[Trail, str | int] | None
"""A place as its parent's place and the last key or index; None is `$`."""

_MOST_PATTERN_CHARS = 500
_MOST_KEY_CHARS = 100
_CUT_KEY_CHARS = 80

_STEP = re.compile(
    r"""(?: (?P<deep>\.\.) | \.(?!\[) | (?=\[) )
        (?: (?P<name>(?!\d)[\w-]+) | (?P<any>\*) | \[ (?:
              (?P<each>\*) | (?P<index>\d{1,9})
              | '(?P<single>(?:[^'\\]|\\.)*)' | "(?P<double>(?:[^"\\]|\\.)*)" ) \] )""",
    re.VERBOSE | re.DOTALL,
)
_NAME = re.compile(r"(?!\d)[\w-]+")
_ESCAPE = re.compile(
    r"\\(?:u([0-9a-fA-F]{4})|U(000[0-9a-fA-F]{5}|0010[0-9a-fA-F]{4})|(.))", re.DOTALL
)


class Step(NamedTuple):
    """One step of a pattern: a field (str) or an element (int), one or (None) any of them."""

    of: type[str | int]
    wanted: str | int | None
    deep: bool

    def takes(self, of: type[str | int], key: str | int | None) -> bool:
        """Whether it matches this key; None stands for any key that no pattern names here."""
        return self.of is of and self.wanted in (None, key)


def parsed(pattern: str) -> tuple[Step, ...]:
    """Read one pattern. Raises ValueError with words that name it and the character."""
    if len(pattern) > _MOST_PATTERN_CHARS:
        raise ValueError(f"pattern {pattern[:40]!r}... is over {_MOST_PATTERN_CHARS} characters")
    if not pattern.startswith("$"):
        raise ValueError(f"pattern {pattern!r} must start with $")
    steps, at = [], 1
    while at < len(pattern):
        found = _STEP.match(pattern, at)
        if found is None:
            raise ValueError(f"pattern {pattern!r} cannot be read from character {at + 1} on")
        steps.append(_step(found))
        at = found.end()
    return tuple(steps)


def _step(found: re.Match[str]) -> Step:
    deep = found["deep"] is not None
    if found["each"] or found["index"]:
        return Step(int, int(found["index"]) if found["index"] else None, deep)
    if found["name"] or found["any"]:
        return Step(str, found["name"], deep)
    quoted = found["single"] if found["single"] is not None else found["double"]
    return Step(str, _ESCAPE.sub(_unescaped, quoted), deep)


def _unescaped(found: re.Match[str]) -> str:
    code = found[1] or found[2]
    return chr(int(code, 16)) if code else found[3]


def written(trail: Trail) -> tuple[str, str]:
    """The path (`$.items[3].price`), and with its indices collapsed to `[*]`, to count by."""
    path, pattern = [], []
    while trail is not None:
        trail, key = trail
        if isinstance(key, str):
            name = _field(key if len(key) <= _MOST_KEY_CHARS else _cut(key))
            path.append(name)
            pattern.append(name)
        else:
            path.append(f"[{key}]")
            pattern.append("[*]")
    return "$" + "".join(reversed(path)), "$" + "".join(reversed(pattern))


def _cut(key: str) -> str:
    digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{key[:_CUT_KEY_CHARS]}...{digest[:12]}"


@lru_cache(maxsize=1024)
def _field(key: str) -> str:
    return f".{key}" if _NAME.fullmatch(key) else f"['{''.join(map(_escaped, key))}']"


def _escaped(char: str) -> str:
    """A lone surrogate or a control character in a path would break whoever prints it."""
    if char in "\\'":
        return "\\" + char
    if char.isprintable():
        return char
    return f"\\u{ord(char):04x}" if char < "\U00010000" else f"\\U{ord(char):08x}"
