"""Path patterns: what they may say, what they reach, and what is refused with words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.core.paths import Step, Trail, parsed, written
from shared.core.rules import Bounds, Compiled, Rules, State, Tolerance, Unordered, compiled, within

KEYS = st.text(max_size=30) | st.sampled_from(
    ("a.b", "it's", 'say "x"', "\\", "\ud800", "gr\xf6\xdfe")
)


def trail_of(*keys: str | int) -> Trail:
    trail: Trail = None
    for key in keys:
        trail = (trail, key)
    return trail


def ignored(ready: Compiled, *keys: str | int) -> bool:
    """Whether a walk along these keys meets an ignored place."""
    state: State | None = ready.start
    for key in keys:
        if state is None or state.ignored:
            break
        if isinstance(key, str):
            state = state.names.get(key, state.other_name)
        else:
            state = state.indices.get(key, state.other_index)
    return state is not None and state.ignored


@pytest.mark.parametrize(
    ("pattern", "steps"),
    [
        ("$", ()),
        ("$.a.b", (Step(str, "a", deep=False), Step(str, "b", deep=False))),
        ("$.x-y_1", (Step(str, "x-y_1", deep=False),)),
        ("$.*", (Step(str, None, deep=False),)),
        ("$[*]", (Step(int, None, deep=False),)),
        ("$[12]", (Step(int, 12, deep=False),)),
        ("$..name", (Step(str, "name", deep=True),)),
        ("$..*", (Step(str, None, deep=True),)),
        ("$..[0]", (Step(int, 0, deep=True),)),
        ("$..['a b']", (Step(str, "a b", deep=True),)),
        ("$['a.b']", (Step(str, "a.b", deep=False),)),
        ('$["it\'s"]', (Step(str, "it's", deep=False),)),
        (r"$['it\'s \\ \u0041\U0001f600']", (Step(str, "it's \\ A\U0001f600", deep=False),)),
        ("$['']", (Step(str, "", deep=False),)),
        ('$[""]', (Step(str, "", deep=False),)),
    ],
)
def test_a_pattern_is_read_step_by_step(pattern: str, steps: tuple[Step, ...]) -> None:
    assert parsed(pattern) == steps


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "a.b",
        ".a",
        "$a",
        "$.",
        "$..",
        "$...a",
        "$.a.",
        "$[",
        "$[]",
        "$[-1]",
        "$['a]",
        "$.1a",
        "$.a b",
        "$.['a']",
        "$ ",
    ],
)
def test_a_bad_pattern_is_refused_by_name(pattern: str) -> None:
    with pytest.raises(ValueError, match="pattern") as refusal:
        compiled(Rules(ignore=(pattern,)))

    assert repr(pattern) in str(refusal.value)


def test_a_refusal_tells_the_character() -> None:
    with pytest.raises(ValueError, match="from character 4 on"):
        parsed("$.a[b]")


def test_a_pattern_of_unending_length_is_refused_shortly() -> None:
    with pytest.raises(ValueError, match="over 500 characters") as refusal:
        parsed("$" + ".a" * 10_000)

    assert len(str(refusal.value)) < 100


@given(st.lists(KEYS | st.integers(0, 99), max_size=6))
def test_a_written_path_is_read_back_as_the_same_place(keys: list[str | int]) -> None:
    path, pattern = written(trail_of(*keys))

    assert [step.wanted for step in parsed(path)] == keys
    assert [step.wanted for step in parsed(pattern)] == [
        None if isinstance(key, int) else key for key in keys
    ]


@given(st.text())
def test_a_written_path_can_always_be_printed_and_is_bounded(key: str) -> None:
    path, _ = written(trail_of(key))

    assert path.isprintable()
    assert len(path.encode()) < 1_200


def test_long_keys_are_cut_and_stay_apart() -> None:
    one, other = (written(trail_of("k" * 5_000 + end))[0] for end in "ab")

    assert one != other
    assert len(one) < 120


def test_a_path_shows_indices_and_its_pattern_does_not() -> None:
    assert written(trail_of("items", 3, "unit price")) == (
        "$.items[3]['unit price']",
        "$.items[*]['unit price']",
    )


@pytest.mark.parametrize(
    ("pattern", "reached", "spared"),
    [
        ("$.a", ("a",), ("b",)),
        ("$.a", ("a", "b", 0), ("b", "a")),
        ("$.a[*].b", ("a", 7, "b"), ("a", "x", "b")),
        ("$.a[2]", ("a", 2), ("a", 3)),
        ("$.*.b", ("x", "b"), (0, "b")),
        ("$..id", ("id",), ("ident",)),
        ("$..id", ("a", 4, "b", "id"), ("a", 4, "b")),
        ("$..a.b", ("a", "a", "b"), ("a", "x", "b")),
        ("$..[1]", ("a", 0, 1), ("a", 0)),
        ("$..*", ("a",), (0,)),
        ("$", (), ()),
    ],
)
def test_a_pattern_reaches_its_place_and_all_below(
    pattern: str, reached: tuple[str | int, ...], spared: tuple[str | int, ...]
) -> None:
    ready = compiled(Rules(ignore=(pattern,)))

    assert ignored(ready, *reached)
    assert pattern == "$" or not ignored(ready, *spared)


def test_without_patterns_there_is_nothing_to_carry_along() -> None:
    assert compiled(Rules()).start is None


def test_the_widest_tolerance_and_the_first_alignment_hold() -> None:
    ready = compiled(
        Rules(
            tolerances=(Tolerance("$.a", 0.1, 0.5), Tolerance("$.*", 0.3, 0.2)),
            unordered=(Unordered("$.a[*]", "id"), Unordered("$.*[*]")),
        )
    )
    assert ready.start is not None
    state = ready.start.names["a"]
    assert state is not None

    assert state.tolerance == (0.3, 0.5)
    assert state.unordered == Unordered("$.a[*]", "id")


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        (Rules(unordered=(Unordered("$.items"),)), r"'\$.items' of unordered elements must end in"),
        (Rules(unordered=(Unordered("$"),)), "must end in"),
        (Rules(unordered=(Unordered("$..[*]"),)), "must end in"),
        (Rules(tolerances=(Tolerance("$.a", absolute=-1),)), r"tolerance of '\$.a'"),
        (Rules(tolerances=(Tolerance("$.a", absolute=float("nan")),)), "absolute must be"),
        (Rules(tolerances=(Tolerance("$.a", absolute=float("inf")),)), "absolute must be"),
        (Rules(tolerances=(Tolerance("$.a", relative=1.5),)), "relative from 0 to 1"),
        (Rules(bounds=Bounds(depth=0)), "depth must be from 1 to 100"),
        (Rules(bounds=Bounds(depth=101)), "depth must be from 1 to 100"),
        (Rules(bounds=Bounds(differences=0)), "each bound"),
        (Rules(ignore=("$.a",) * 501), "501 patterns are more than 500"),
    ],
)
def test_a_bad_rule_is_refused_with_words(rules: Rules, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        compiled(rules)


def test_patterns_that_would_need_endless_states_are_refused() -> None:
    with pytest.raises(ValueError, match="too entangled"):
        compiled(Rules(ignore=("$..a" + ".*" * 30,)))


def test_five_hundred_patterns_are_fine() -> None:
    ready = compiled(Rules(ignore=tuple(f"$.a{number}.b" for number in range(500))))

    assert ignored(ready, "a499", "b")


@pytest.mark.parametrize(
    ("left", "right", "tolerance", "near"),
    [
        (1.0, 1.1, (0.2, 0), True),
        (1.0, 1.3, (0.2, 0), False),
        (100, 109, (0, 0.1), True),
        (-100, 100, (0, 1), False),
        (0, 5, (0, 1), True),
        (10**400, 10**400 + 1, (1, 0), True),
        (10**400, 10**400 + 2, (1, 0.5), False),
        (10**400, 0.5, (1, 1), False),
        (float("inf"), 1, (1e300, 1), False),
        (float("inf"), float("-inf"), (1e300, 1), False),
        (float("nan"), 1, (1e300, 1), False),
        (1e308, -1e308, (1e308, 1), False),
        (2**53, 2**53 + 1, (0.5, 0), False),
    ],
)
def test_a_tolerance_is_symmetric_and_takes_the_finite_only(
    left: float, right: float, tolerance: tuple[float, float], near: bool
) -> None:
    assert within(left, right, tolerance) is near
    assert within(right, left, tolerance) is near
