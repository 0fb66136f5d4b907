"""Whatever arrives, a comparison ends soon: no input costs quadratic time or endless recursion."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from shared.core.diff import (
    Comparison,
    Reply,
    Rules,
    Tolerance,
    Unordered,
    compare,
    compare_documents,
    compiled,
)

PLAIN = Rules()


def members(key: str | None = None) -> Rules:
    return Rules(unordered=(Unordered("$[*]", key),))


def answer(body: bytes, media: str) -> Reply:
    return Reply(200, {"content-type": media}, body, 1.0)


def _bodies() -> Iterator[bytes]:
    size = 600_000
    yield b"[" * size
    yield b"[" * (size // 2) + b"]" * (size // 2)
    yield b'{"":' * (size // 4)
    yield b'[["' + b'\\"' * (size // 2)
    yield b"[[" + b'"' * size
    yield b"[" + b"1" * size + b"]"
    yield b"[" + b"1" * size + b".5]"
    yield b"[" + b"1" * size + b"e1]"
    yield b"[1e" + b"9" * size + b"]"
    yield b"[" + b"1e308," * (size // 6) + b"1]"
    yield b"\\" * size
    yield b"[" + b"NaN," * (size // 4) + b"0]"


@pytest.mark.parametrize("number", range(12))
def test_no_body_takes_long(number: int) -> None:
    body = list(_bodies())[number]
    start = time.process_time()
    for media in ("application/json", ""):
        found = compare(answer(body, media), answer(body + b" ", media), Rules())

        assert found.more == 0
    assert time.process_time() - start < 3


def _hard(size: int) -> dict[str, tuple[Any, Any, Rules]]:
    collide = [number * (2**61 - 1) for number in range(1, size)]
    rows = [{"id": number, "v": [number, {"x": number}]} for number in range(size // 5)]
    tolerant = Rules(
        unordered=(Unordered("$[*]"),),
        tolerances=(Tolerance("$[*]", absolute=0.1), Tolerance("$[*].*", relative=0.1)),
    )
    pairs = [{"x": 1, "y": number} for number in range(size // 5)]
    deep_left: list[Any] = [0, 1]
    deep_right: list[Any] = [2, 0]
    for _ in range(50):
        wide = list(range(size // 50))
        deep_left, deep_right = [wide, [1, 2], deep_left], [wide, [2, 1], deep_right]
    live = Rules(ignore=("$..nothing", "$..[77777]"))
    return {
        "reversed": (collide, collide[::-1], PLAIN),
        "colliding": (collide, collide[::-1], members()),
        "disjoint": (list(range(size)), [-at for at in range(size)], members()),
        "rows": (rows, rows[::-1], members()),
        "by key": (rows, rows[::-1], members(key="id")),
        "one key": ([{"id": 1}] * size, [{"id": 1, "a": 1}] * size, members(key="id")),
        "tolerated": (list(range(size)), [at + 0.05 for at in range(size)][::-1], tolerant),
        "two tolerated": (pairs, [{"x": 1.01, "y": -at} for at in range(size // 5)], tolerant),
        "shifted": ([*rows, 1], [0, *rows], PLAIN),
        "longer": (rows, [0, *rows], PLAIN),
        "deep": (deep_left, deep_right, PLAIN),
        "deep with rules": (deep_left, deep_right, live),
    }


@pytest.mark.parametrize("name", list(_hard(10)))
def test_time_grows_with_size_not_with_its_square(name: str) -> None:
    left, right, rules = _hard(20_000)[name]
    ready = compiled(rules)
    start = time.process_time()
    compare_documents(left, right, ready)

    assert time.process_time() - start < 3


def test_the_deepest_documents_that_are_read_are_safe_to_walk() -> None:
    left: Any = [0, 1, 2.5]
    right: Any = [2.5, 0, 1]
    for _ in range(98):
        left, right = [left, 5], [right, 6]
    for rules in (
        PLAIN,
        Rules(ignore=("$..x",)),
        Rules(unordered=(Unordered("$..*[*]"),)),
        members(),
    ):
        ready = compiled(Rules(rules.ignore, rules.unordered, (Tolerance("$..[2]", 0.1),)))

        assert compare_documents(left, right, ready).differences
        assert compare_documents(left, left, ready) == Comparison(())
