"""Two JSON answers: what is a difference, of which kind, and at which path."""

import json
from typing import Any

import pytest

from shared.core.diff import (
    Bounds,
    Comparison,
    Difference,
    Kind,
    Reply,
    Rules,
    Tolerance,
    compare,
    compare_documents,
    compiled,
)

PLAIN = Rules()
WIDE = Bounds(differences=10**6, alike=10**6)


def answer(document: Any) -> Reply:
    return Reply(200, {"content-type": "application/json"}, json.dumps(document).encode(), 1.0)


def compared(left: Any, right: Any, rules: Rules = PLAIN) -> list[tuple[str, Kind]]:
    found = compare(answer(left), answer(right), rules)
    return [(each.path, each.kind) for each in found.differences]


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ({"a": 1}, {"a": 1.0}, []),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}, []),
        ({"a": 1}, {"a": 2}, [("$.a", Kind.VALUE)]),
        ({"a": "x"}, {"a": "X"}, [("$.a", Kind.VALUE)]),
        ({"a": True}, {"a": False}, [("$.a", Kind.VALUE)]),
        ({"a": 1}, {"a": "1"}, [("$.a", Kind.TYPE)]),
        ({"a": 1}, {"a": True}, [("$.a", Kind.TYPE)]),
        (
            {"a": [0, {"b": 0}]},
            {"a": [False, {"b": False}]},
            [("$.a[0]", Kind.TYPE), ("$.a[1].b", Kind.TYPE)],
        ),
        ([True, 1], [1, True], [("$", Kind.ORDER)]),
        ({"a": None}, {"a": 0}, [("$.a", Kind.TYPE)]),
        ({"a": []}, {"a": {}}, [("$.a", Kind.TYPE)]),
        ({"a": None}, {}, [("$.a", Kind.MISSING)]),
        ({}, {"a": None}, [("$.a", Kind.EXTRA)]),
        ({"a": 1}, {"b": 1}, [("$.a", Kind.MISSING), ("$.b", Kind.EXTRA)]),
        ([1, 2, 3], [1, 9, 3], [("$[1]", Kind.VALUE)]),
        ([1, 2, 3], [3, 2, 1], [("$", Kind.ORDER)]),
        ([[1, 2], {"a": [1, 2]}], [{"a": [1, 2]}, [1, 2]], [("$", Kind.ORDER)]),
        ([[1, 2], [3, 4]], [[2, 1], [3, 4]], [("$[0]", Kind.ORDER)]),
        ([1, 1, 2], [2, 2, 1], [("$[0]", Kind.VALUE), ("$[1]", Kind.VALUE), ("$[2]", Kind.VALUE)]),
        ([1, 2], [1, 2, 3], [("$", Kind.LENGTH), ("$[2]", Kind.EXTRA)]),
        ([1, 2, 3], [2, 3], [("$", Kind.LENGTH), ("$[0]", Kind.MISSING)]),
        (
            [1, 2, 3, 4],
            [1, 9, 4],
            [("$", Kind.LENGTH), ("$[1]", Kind.VALUE), ("$[2]", Kind.MISSING)],
        ),
        ([1, 1], [1], [("$", Kind.LENGTH), ("$[1]", Kind.MISSING)]),
        (1, 2, [("$", Kind.VALUE)]),
        ("a", None, [("$", Kind.TYPE)]),
        ({"a.b": {"it's": 1}}, {"a.b": {"it's": 2}}, [(r"$['a.b']['it\'s']", Kind.VALUE)]),
    ],
)
def test_documents_differ_in_these_places(
    left: Any, right: Any, expected: list[tuple[str, Kind]]
) -> None:
    assert compared(left, right) == expected


def test_a_difference_shows_both_sides_shortened() -> None:
    found = compare(
        answer({"items": [{"price": 1.5, "text": "x" * 900}]}),
        answer({"items": [{"price": 20, "name": "n"}]}),
        Rules(bounds=Bounds(shown_chars=12)),
    )

    assert found == Comparison(
        (
            Difference("$.items[0].price", "$.items[*].price", Kind.VALUE, "1.5", "20"),
            Difference("$.items[0].text", "$.items[*].text", Kind.MISSING, '"xxxxxxxx...', ""),
            Difference("$.items[0].name", "$.items[*].name", Kind.EXTRA, "", '"n"'),
        )
    )


def test_lengths_are_shown_as_numbers_and_order_as_the_arrays() -> None:
    found = compare(answer({"a": [1], "b": [1, 2]}), answer({"a": [], "b": [2, 1]}), PLAIN)

    assert [(each.left, each.right) for each in found.differences] == [
        ("1", "0"),
        ("1", ""),
        ("[1, 2]", "[2, 1]"),
    ]


def test_what_is_kept_is_bounded_and_no_kind_crowds_out_another() -> None:
    left = {"rows": [{"a": at} for at in range(1_000)], "last": 1}
    right = {"rows": [{"a": -1} for _ in range(1_000)], "last": 2}
    found = compare(answer(left), answer(right), Rules(bounds=Bounds(differences=6, alike=3)))

    assert [each.path for each in found.differences] == [
        "$.rows[0].a",
        "$.rows[1].a",
        "$.rows[2].a",
        "$.last",
    ]
    assert found.more == 997


def test_once_enough_is_kept_the_rest_is_counted() -> None:
    left, right = ({str(at): value for at in range(50)} for value in (0, 1))
    found = compare(
        Reply(200, {}, json.dumps(left).encode(), 1),
        Reply(500, {"content-type": "application/json"}, json.dumps(right).encode(), 1),
        Rules(bounds=Bounds(differences=2)),
    )

    assert [each.kind for each in found.differences] == [Kind.STATUS, Kind.HEADER]
    assert found.more == 50


def test_headers_are_compared_as_asked() -> None:
    left = Reply(200, {"content-type": 'Application/JSON;charset="UTF-8"', "etag": "a  b"}, b"", 1)
    right = Reply(200, {"content-type": "application/json; charset=utf-8", "etag": "a b"}, b"", 1)
    other = Reply(200, {"etag": "A b", "vary": "x"}, b"", 1)
    rules = Rules(headers=("Content-Type", "etag"))

    assert compare(left, right, rules) == Comparison(())
    assert compare(right, other, rules).differences == (
        Difference(
            "header.content-type",
            "header.content-type",
            Kind.HEADER,
            '"application/json;charset=utf-8"',
            "",
        ),
        Difference("header.etag", "header.etag", Kind.HEADER, '"a b"', '"A b"'),
    )


@pytest.mark.parametrize(
    ("ignore", "expected"),
    [
        ("$.at", ["$.rows[0].at", "$.rows[0].x", "$.gone", "$.new"]),
        ("$..at", ["$.rows[0].x", "$.gone", "$.new"]),
        ("$.rows[*]", ["$.at", "$.gone", "$.new"]),
        ("$.rows[0].*", ["$.at", "$.gone", "$.new"]),
        ("$.gone", ["$.at", "$.rows[0].at", "$.rows[0].x", "$.new"]),
        ("$.new", ["$.at", "$.rows[0].at", "$.rows[0].x", "$.gone"]),
        ("$.*", []),
        ("$", []),
    ],
)
def test_what_is_ignored_is_overlooked(ignore: str, expected: list[str]) -> None:
    left = {"at": 1, "rows": [{"at": 1, "x": 1}], "gone": 1}
    right = {"at": 2, "rows": [{"at": 2, "x": 2}], "new": 1}

    assert [path for path, _ in compared(left, right, Rules(ignore=(ignore,)))] == expected


def test_ignored_fields_do_not_hide_an_order() -> None:
    left = [{"id": 1, "at": 1, "in": [1]}, {"id": 2, "at": 2, "in": [2]}]
    right = [{"id": 2, "at": 3, "in": [2]}, {"id": 1, "at": 4, "in": [1]}]

    assert compared(left, right, Rules(ignore=("$[*].at",))) == [("$", Kind.ORDER)]
    assert compared(left, right, Rules(ignore=("$[*].at", "$[*].in[0]", "$[*].id"))) == []
    assert compared(left, right, Rules(ignore=("$[*].at", "$[*].in[0]"))) == [("$", Kind.ORDER)]


def test_an_insertion_is_one_extra_element_even_among_ignored_fields() -> None:
    left = [{"id": number, "at": "old"} for number in range(9)]
    right = [{"id": number, "at": "new"} for number in (0, 1, 2, 77, *range(3, 9))]

    assert compared(left, right, Rules(ignore=("$[*].at",))) == [
        ("$", Kind.LENGTH),
        ("$[3]", Kind.EXTRA),
    ]
    assert compared([1], [1, 2], Rules(ignore=("$[1]",))) == [("$", Kind.LENGTH)]


def test_an_ignored_index_means_the_same_from_either_side() -> None:
    rules = Rules(ignore=("$[1]",))

    assert compared([1, 2, 3], [7, 4], rules) == [
        ("$", Kind.LENGTH),
        ("$[0]", Kind.VALUE),
    ]
    assert compared([7, 4], [1, 2, 3], rules) == [
        ("$", Kind.LENGTH),
        ("$[0]", Kind.VALUE),
    ]


def test_ignored_elements_still_count_for_the_length_of_an_array() -> None:
    left, right = [[1], [1, 2]], [[1, 2, 3], [3]]

    assert compared(left, right, Rules(ignore=("$[*][*]",))) == [
        ("$[0]", Kind.LENGTH),
        ("$[1]", Kind.LENGTH),
    ]


def test_a_part_shared_by_two_places_is_judged_by_the_rules_of_each() -> None:
    shared: Any = {"x": 1, "y": 1}
    left: Any = {"a": [shared, 0], "b": [shared, 0]}
    right: Any = {"a": [0, {"x": 2, "y": 1}], "b": [0, {"x": 1, "y": 2}]}
    ready = compiled(Rules(ignore=("$.a[*].x", "$.b[*].y")))
    found = compare_documents(left, right, ready).differences

    assert [(each.path, each.kind) for each in found] == [("$.a", Kind.ORDER), ("$.b", Kind.ORDER)]


def test_two_sensors_side_by_side_agree_until_one_drifts() -> None:
    rules = Rules(tolerances=(Tolerance("$.sensors[*].reading", absolute=0.5, relative=0.01),))
    left = {"sensors": [{"reading": 20.0, "n": 1}, {"reading": 900}]}
    near = {"sensors": [{"reading": 20.4, "n": 1}, {"reading": 908.5}]}
    drift = {"sensors": [{"reading": 20.6, "n": 1.1}, {"reading": 910}]}

    assert compared(left, near, rules) == []
    assert compared(left, drift, rules) == [
        ("$.sensors[0].reading", Kind.VALUE),
        ("$.sensors[0].n", Kind.VALUE),
        ("$.sensors[1].reading", Kind.VALUE),
    ]
    assert compared({"sensors": [{"reading": 1}]}, {"sensors": [{"reading": True}]}, rules) == [
        ("$.sensors[0].reading", Kind.TYPE)
    ]
