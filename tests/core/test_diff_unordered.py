"""Arrays whose order means nothing: multisets, alignment by a key, and tolerances in both."""

import json
from typing import Any

import pytest

from shared.core.bodies import read
from shared.core.diff import (
    Bounds,
    Comparison,
    Kind,
    Reply,
    Rules,
    Tolerance,
    Unordered,
    compare,
    compare_documents,
    compiled,
)


def answer(document: Any) -> Reply:
    return Reply(200, {"content-type": "application/json"}, json.dumps(document).encode(), 1.0)


def compared(left: Any, right: Any, rules: Rules) -> list[tuple[str, Kind]]:
    found = compare(answer(left), answer(right), rules)
    return [(each.path, each.kind) for each in found.differences]


def members(pattern: str = "$[*]", key: str | None = None) -> Rules:
    return Rules(unordered=(Unordered(pattern, key),))


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([1, 2, 2], [2, 1, 2], []),
        ([{"a": 1, "b": [1, 2]}, "x"], ["x", {"b": [1, 2], "a": 1.0}], []),
        ([1, 2, 2], [2, 1, 1], [("$[2]", Kind.MISSING), ("$[2]", Kind.EXTRA)]),
        ([1, 2], [2, 1, 5], [("$", Kind.LENGTH), ("$[2]", Kind.EXTRA)]),
        ([1], [True], [("$[0]", Kind.MISSING), ("$[0]", Kind.EXTRA)]),
        (["1"], [1], [("$[0]", Kind.MISSING), ("$[0]", Kind.EXTRA)]),
        ([[1, 2]], [[2, 1]], [("$[0]", Kind.MISSING), ("$[0]", Kind.EXTRA)]),
    ],
)
def test_without_order_an_array_is_a_multiset(
    left: Any, right: Any, expected: list[tuple[str, Kind]]
) -> None:
    assert compared(left, right, members()) == expected


def test_unordered_arrays_may_lie_within_one_another() -> None:
    rules = Rules(unordered=(Unordered("$[*]"), Unordered("$[*][*]")))

    assert compared([[1, 2], [3, 4]], [[4, 3], [2, 1]], rules) == []
    assert compared([[1, 2], [3, 4]], [[4, 3], [2, 2]], rules) == [
        ("$[0]", Kind.MISSING),
        ("$[1]", Kind.EXTRA),
    ]
    inner = members("$[*][*]")
    assert compared([[1, 2], [3, 4]], [[4, 3], [2, 1]], inner) == [("$", Kind.ORDER)]
    assert compared([[1, 2], [3, 4]], [[2, 1], [4, 3]], inner) == []


def test_a_key_aligns_elements_and_they_are_compared_in_detail() -> None:
    left = [{"id": 1, "p": 1}, {"id": 2, "p": 2}, {"id": 3, "p": 3}, {"p": 0}, 7, {"id": 5}]
    right = [{"id": 3, "p": 3}, 7, {"id": 2, "p": 9}, {"id": 4, "p": 4}, {"p": 1}, {"id": 5}]

    assert compared(left, right, members(key="id")) == [
        ("$[0]", Kind.MISSING),
        ("$[1].p", Kind.VALUE),
        ("$[3]", Kind.MISSING),
        ("$[4]", Kind.EXTRA),
        ("$[3]", Kind.EXTRA),
    ]


def test_elements_of_one_key_are_a_multiset() -> None:
    left = [{"id": 1, "p": 1}, {"id": 1, "p": 2}]
    right = [{"id": 1, "p": 2}, {"id": 1, "p": 3}]

    assert compared(left, right, members(key="id")) == [
        ("$[0]", Kind.MISSING),
        ("$[1]", Kind.EXTRA),
    ]


def test_keys_of_different_types_are_different_keys() -> None:
    assert len(compared([{"id": 1}], [{"id": "1"}], members(key="id"))) == 2
    assert (
        compared([{"id": [1]}, {"id": None}], [{"id": None}, {"id": [1]}], members(key="id")) == []
    )


def test_ignoring_all_elements_leaves_the_length() -> None:
    rules = Rules(ignore=("$[*]",), unordered=(Unordered("$[*]"),))

    assert compared([1, 2], [3, 4], rules) == []
    assert compared([1, 2], [3], rules) == [("$", Kind.LENGTH)]


@pytest.mark.parametrize(
    ("left", "right", "missing"),
    [
        ([1.0, 5.0, 9.0], [9.1, 0.9, 5.1], 0),
        ([0, 1], [1, 2], 0),
        ([1, 2, 3], [1.5, 1.5, 9], 1),
        ([1, 10, 20], [10.2, 5], 2),
        ([1, "NaN"], ["NaN", 1.2], 0),
        ([True, 1], [1.2, True], 0),
        ([True], [1], 1),
    ],
)
def test_numbers_without_order_are_matched_within_their_tolerance(
    left: list[Any], right: list[Any], missing: int
) -> None:
    rules = Rules(unordered=(Unordered("$[*]"),), tolerances=(Tolerance("$[*]", absolute=1.0),))

    assert [kind for _, kind in compared(left, right, rules)].count(Kind.MISSING) == missing


def test_infinity_and_endless_integers_are_matched_as_they_are() -> None:
    rules = compiled(
        Rules(unordered=(Unordered("$[*]"),), tolerances=(Tolerance("$[*]", absolute=1.0),))
    )
    left, right = (
        read(Reply(200, {}, body.encode(), 1), Bounds()).value
        for body in (f"[Infinity, NaN, {10**400}, 1]", f"[1.5, {10**400}, NaN, Infinity]")
    )

    assert compare_documents(left, right, rules) == Comparison(())


def test_elements_with_several_tolerated_numbers_are_matched_by_all_of_them() -> None:
    rules = Rules(
        unordered=(Unordered("$[*]"),),
        tolerances=(Tolerance("$[*].x", absolute=1), Tolerance("$[*].y[*]", absolute=1)),
    )

    def points(*pairs: tuple[float, float]) -> list[Any]:
        return [{"x": x, "y": [y]} for x, y in pairs]

    left = points((1, 50), (2, 10), (3, 30))
    assert compared(left, points((3.1, 30), (1.1, 50.2), (2.2, 10.1)), rules) == []
    assert compared(left, points((2.5, 10.1), (1.2, 30.1), (1.1, 50)), rules) == [
        ("$[2]", Kind.MISSING),
        ("$[1]", Kind.EXTRA),
    ]
    assert compared(left, list(reversed(left)), rules) == []
    assert compared(left, points((1, 50), (7, 10), (3, 30)), rules) == [
        ("$[1]", Kind.MISSING),
        ("$[1]", Kind.EXTRA),
    ]


def test_equal_elements_are_not_spent_on_near_ones() -> None:
    rules = Rules(unordered=(Unordered("$[*]"),), tolerances=(Tolerance("$[*][*]", absolute=1),))

    assert compared([[1, 0], [2, 0]], [[2, 0], [9, 0]], rules) == [
        ("$[0]", Kind.MISSING),
        ("$[1]", Kind.EXTRA),
    ]


def test_a_search_given_up_is_given_up_from_either_side() -> None:
    rules = Rules(unordered=(Unordered("$[*]"),), tolerances=(Tolerance("$[*][*]", absolute=1),))
    one, many = [[0, 0]], [*([at / 100, 9] for at in range(1, 80)), [0.9, 0]]

    assert len(compared(one, many, rules)) == len(compared(many, one, rules))


def test_a_tolerance_within_nested_unordered_arrays_holds() -> None:
    rules = Rules(
        unordered=(Unordered("$[*]"), Unordered("$[*].v[*]")),
        tolerances=(Tolerance("$[*].v[*]", absolute=0.5),),
    )
    left = [{"n": 1, "v": [1, 5]}, {"n": 2, "v": [7, 3]}]
    right = [{"n": 2, "v": [3.2, 7.1]}, {"n": 1, "v": [5.1, 0.9]}]

    assert compared(left, right, rules) == []
