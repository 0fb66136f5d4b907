"""What holds for any two documents, whatever the rules."""

import copy
import json
import random
from collections import Counter
from typing import Any

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from shared.core.bodies import Body, Form, read
from shared.core.diff import (
    Bounds,
    Comparison,
    Kind,
    Reply,
    Rules,
    Tolerance,
    Unordered,
    compare,
)
from shared.core.paths import Trail, parsed, written

WIDE = Bounds(depth=100, differences=10**5, alike=10**5)
KEYS = st.sampled_from(("a", "b", "id", "a b", "it's"))
NUMBERS = st.integers(-3, 3) | st.sampled_from((0.5, 1.5, -0.25, 1e300))
LEAVES = st.none() | st.booleans() | NUMBERS | st.sampled_from(("", "x", "1"))
DOCUMENTS: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda each: st.lists(each, max_size=4) | st.dictionaries(KEYS, each, max_size=4),
    max_leaves=14,
)
# No rule names an index: with another length, the element at an index is another element.
PATTERNS = st.sampled_from(
    ("$.a", "$..b", "$[*]", "$[*].id", "$..a[*]", "$.*", "$['it\\'s']", "$..*", "$.b[*][*]", "$")
)
ARRAYS = st.sampled_from(("$[*]", "$..a[*]", "$.b[*]", "$[*][*]"))
UNORDERED = st.lists(st.builds(Unordered, ARRAYS, st.none() | st.just("id")), max_size=2).map(tuple)
WIDTHS = st.sampled_from((0.0, 0.25, 0.5, 1.0))
TOLERANCES = st.lists(st.builds(Tolerance, PATTERNS, WIDTHS, WIDTHS), max_size=2).map(tuple)
RULES = st.builds(
    Rules,
    ignore=st.lists(PATTERNS.filter(lambda each: each != "$"), max_size=2).map(tuple),
    unordered=UNORDERED,
    tolerances=TOLERANCES,
    bounds=st.just(WIDE),
)
SWAPPED = {Kind.MISSING: Kind.EXTRA, Kind.EXTRA: Kind.MISSING}


def compared(left: Any, right: Any, rules: Rules) -> Comparison:
    return compare(answer(left), answer(right), rules)


def answer(document: Any) -> Reply:
    return Reply(200, {"content-type": "application/json"}, json.dumps(document).encode(), 1.0)


def shuffled(document: Any, dice: random.Random) -> Any:
    """The same document with other spellings: keys in another order."""
    if isinstance(document, dict):
        keys = dice.sample(list(document), k=len(document))
        return {key: shuffled(document[key], dice) for key in keys}
    return [shuffled(each, dice) for each in document] if isinstance(document, list) else document


def near(left: Any, dice: random.Random) -> Any:
    """A copy with a few changes, so that two documents have much in common."""
    changed = copy.deepcopy(left)
    for here, key in list(places(changed)):
        if dice.random() < 0.2:
            here[key] = dice.choice((0, 0.5, 1.25, True, "x", None, [1, 2], {"id": 1}))
    for here in {id(here): here for here, _ in places(changed)}.values():
        if isinstance(here, list) and dice.random() < 0.3:
            dice.shuffle(here)
        if isinstance(here, list) and dice.random() < 0.2:
            here.insert(dice.randrange(len(here) + 1), dice.choice((7, {"a": 1}, None)))
    return changed


def places(document: Any) -> list[tuple[Any, Any]]:
    """Every container with each of its keys."""
    found: list[tuple[Any, Any]] = []
    waiting = [document]
    while waiting:
        here = waiting.pop()
        if isinstance(here, dict | list):
            keys = list(here) if isinstance(here, dict) else range(len(here))
            found += [(here, key) for key in keys]
            waiting += [here[key] for key in keys]
    return found


PAIRS = st.builds(
    lambda document, other, dice, alike: (document, near(document, dice) if alike else other),
    DOCUMENTS,
    DOCUMENTS,
    st.randoms(use_true_random=False),
    st.booleans(),
)


@given(DOCUMENTS, RULES, st.randoms(use_true_random=False))
def test_a_document_does_not_differ_from_itself(
    document: Any, rules: Rules, dice: random.Random
) -> None:
    assert compared(document, shuffled(document, dice), rules) == Comparison(())


@settings(max_examples=150)
@given(PAIRS, RULES)
def test_swapped_sides_give_swapped_differences(pair: tuple[Any, Any], rules: Rules) -> None:
    left, right = pair
    one = [
        (each.pattern, SWAPPED.get(each.kind, each.kind), each.right, each.left)
        for each in compared(left, right, rules).differences
    ]
    other = [
        (each.pattern, each.kind, each.left, each.right)
        for each in compared(right, left, rules).differences
    ]

    assert Counter(one) == Counter(other)


@settings(max_examples=150)
@given(PAIRS, RULES, PATTERNS)
def test_ignoring_a_path_never_adds_differences(
    pair: tuple[Any, Any], rules: Rules, pattern: str
) -> None:
    more = Rules((*rules.ignore, pattern), rules.unordered, rules.tolerances, bounds=WIDE)

    assert len(compared(*pair, more).differences) <= len(compared(*pair, rules).differences)


@settings(max_examples=150)
@given(PAIRS, RULES, PATTERNS, WIDTHS, WIDTHS)
def test_a_wider_tolerance_never_adds_differences(
    pair: tuple[Any, Any], rules: Rules, pattern: str, absolute: float, relative: float
) -> None:
    narrow = Rules(rules.ignore, (), rules.tolerances, bounds=WIDE)
    wide = Rules(
        rules.ignore,
        (),
        (*rules.tolerances, Tolerance(pattern, absolute, relative)),
        bounds=WIDE,
    )

    assert len(compared(*pair, wide).differences) <= len(compared(*pair, narrow).differences)


@given(st.lists(NUMBERS, max_size=6), st.lists(NUMBERS, max_size=6), WIDTHS, WIDTHS, WIDTHS, WIDTHS)
def test_a_wider_tolerance_never_parts_unordered_numbers(
    left: list[float], right: list[float], one: float, two: float, three: float, four: float
) -> None:
    def unmatched(absolute: float, relative: float) -> int:
        rules = Rules(
            unordered=(Unordered("$[*]"),), tolerances=(Tolerance("$[*]", absolute, relative),)
        )
        return len(compared(left, right, rules).differences)

    assert unmatched(max(one, two), max(three, four)) <= unmatched(one, three)


@given(
    st.lists(DOCUMENTS, max_size=6), st.randoms(use_true_random=False), st.booleans(), TOLERANCES
)
def test_an_unordered_array_in_another_order_is_the_same(
    elements: list[Any], dice: random.Random, nested: bool, tolerances: tuple[Tolerance, ...]
) -> None:
    other = dice.sample(elements, k=len(elements))
    rules = Rules(unordered=(Unordered("$.rows[*]" if nested else "$[*]"),), tolerances=tolerances)
    left, right = ({"rows": each} if nested else each for each in (elements, other))

    assert compared(left, right, rules) == Comparison(())


@given(DOCUMENTS, st.randoms(use_true_random=False))
def test_a_permuted_array_differs_by_order_or_not_at_all(
    document: Any, dice: random.Random
) -> None:
    elements = [document, 1, "x"]
    other = dice.sample(elements, k=3)
    reordered = json.dumps(elements) != json.dumps(other)  # to Python, True is 1
    found = compared(elements, other, Rules())

    assert [each.kind for each in found.differences] == [Kind.ORDER] * reordered


@settings(max_examples=150)
@given(DOCUMENTS, st.data())
def test_a_planted_change_is_found_at_exactly_its_path(document: Any, data: st.DataObject) -> None:
    planted = copy.deepcopy(document)
    assume(places(planted))
    here, key = data.draw(st.sampled_from(places(planted)))
    how = data.draw(st.sampled_from(("change", "remove", "add")))
    path = path_to(planted, here)
    if how == "change":
        here[key] = "planted"
    elif how == "remove" and isinstance(here, dict):
        del here[key]
    elif isinstance(here, dict):
        key = "planted"
        here[key] = 1
    else:
        here.insert(key, "planted")
    found = compared(document, planted, Rules()).differences

    expected = {"$" + path + written((None, key))[0][1:]}
    assert {each.path for each in found if each.kind is not Kind.LENGTH} == expected
    assert len(found) == 1 + (isinstance(here, list) and how != "change")


def path_to(document: Any, wanted: Any) -> str:
    """The path of a container within a document, without the $."""
    waiting: list[tuple[Trail, Any]] = [(None, document)]
    while waiting[-1][1] is not wanted:
        trail, here = waiting.pop()
        children = here.items() if isinstance(here, dict) else enumerate(here)
        waiting = [
            *(((trail, key), each) for key, each in children if isinstance(each, dict | list)),
            *waiting,
        ]
    return written(waiting[-1][0])[0][1:]


@given(PAIRS)
def test_a_reported_pattern_silences_what_it_was_reported_for(pair: tuple[Any, Any]) -> None:
    found = compared(*pair, Rules(bounds=WIDE)).differences
    patterns = tuple({each.pattern for each in found})

    assert all(parsed(pattern) is not None for pattern in patterns)
    assert compared(*pair, Rules(ignore=patterns, bounds=WIDE)) == Comparison(())


def answered(body: bytes, media: str) -> Reply:
    return Reply(200, {"content-type": media} if media else {}, body, 1.0)


@given(
    st.binary(max_size=60) | st.text('[]{}",:\\0123456789.eE+-ntf u', max_size=40).map(str.encode),
    st.sampled_from(("application/json", "", "text/plain", "application/x-ndjson")),
)
def test_no_bytes_raise(body: bytes, media: str) -> None:
    one, other = answered(body, media), answered(body + b" ", media)

    assert compare(one, one, Rules()) == Comparison(())
    assert len(compare(one, other, Rules()).differences) <= 1


WRITTEN: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda each: st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=4), each),
)


@given(WRITTEN)
def test_what_is_read_is_what_was_written(document: Any) -> None:
    body = read(answered(json.dumps(document).encode(), ""), WIDE)

    assert body == Body(Form.JSON, document)
