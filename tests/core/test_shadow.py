"""What is replayed, stripped of what, and what two answers count for."""

import pytest

from shared.core.bodies import Reply
from shared.core.diff import Comparison, Difference, Kind
from shared.core.redact import Redaction
from shared.core.rules import Rules
from shared.core.shadow import (
    CREDENTIALS,
    HOP_BY_HOP,
    MARK,
    Judged,
    Margins,
    Replayed,
    Request,
    Shadow,
    differs,
    drawn,
    judged,
    outgoing,
    slower,
    unwanted,
)

SHADOW = Shadow(Rules(), Redaction())


def answered(ms: float = 10) -> Replayed:
    return Replayed(Reply(200, {}, b"", ms))


def found(*patterns: str, more: int = 0) -> Comparison:
    return Comparison(tuple(Difference(p, p, Kind.VALUE, "1", "2") for p in patterns), more)


SILENT = Replayed(None, "no answer")


# --- what is replayed -----------------------------------------------------------------------------


def test_only_methods_that_the_plan_allows_are_replayed() -> None:
    assert unwanted(SHADOW, Request("GET", "/", {})) == ""
    assert unwanted(SHADOW, Request("POST", "/", {})) == (
        "method POST is not replayed (allowed: GET, HEAD)"
    )


@pytest.mark.parametrize("name", sorted(HOP_BY_HOP | CREDENTIALS))
def test_no_credential_and_no_header_of_the_connection_goes_out(name: str) -> None:
    sent = outgoing(SHADOW, Request("GET", "/", {name: "x", "accept": "text/html"}), "shop-2.4")

    assert sent.headers == {"accept": "text/html", "accept-encoding": "identity", MARK: "shop-2.4"}


def test_a_credential_that_the_plan_lets_through_goes_out_and_no_mark_of_the_senders_does() -> None:
    shadow = Shadow(Rules(), Redaction(), pass_headers=frozenset({"x-api-key", "host"}))
    asked = Request("GET", "/", {"x-api-key": "k", "cookie": "c", "host": "evil", MARK: "forged"})

    sent = outgoing(shadow, asked, "shop-2.4").headers

    assert sent == {"x-api-key": "k", "accept-encoding": "identity", MARK: "shop-2.4"}


def test_a_share_is_drawn_by_the_samples_own_name() -> None:
    """The same sample always, others as often as the share says, and each purpose apart."""
    names = [f"s-{n}" for n in range(4000)]
    chosen = [name for name in names if drawn(0.3, "noise", name)]

    assert chosen == [name for name in names if drawn(0.3, "noise", name)]
    assert len(chosen) == pytest.approx(1200, abs=120)
    assert chosen != [name for name in names if drawn(0.3, "log", name)]
    assert all(drawn(1, name) for name in names)
    assert not any(drawn(0, name) for name in names)
    assert drawn(1, "\ud800")


# --- what answers count for -----------------------------------------------------------------------


def test_a_difference_counts_unless_its_place_is_known_for_noise() -> None:
    assert differs(found("$.price"), frozenset({"$.at"}))
    assert differs(found("$.at", "$.price"), frozenset({"$.at"}))
    assert not differs(found("$.at"), frozenset({"$.at"}))
    assert not differs(found(), frozenset())
    assert not differs(None, frozenset())


def test_an_answer_is_slower_by_a_factor_and_by_more_than_the_network() -> None:
    assert slower(answered(101), answered(50), 2)
    assert not slower(answered(100), answered(50), 2)
    assert not slower(answered(20), answered(1), 2)
    assert slower(answered(22), answered(1), 2)
    assert not slower(SILENT, answered(1), 2)
    assert not slower(answered(1000), SILENT, 2)


def test_a_sample_that_only_the_canary_got_is_no_word_about_stable() -> None:
    assert judged(SHADOW, frozenset(), (answered(), found("$.a")), None) == Judged(
        mismatch=True,
        unreachable=False,
        slower=None,
        stable_mismatch=None,
        stable_unreachable=None,
        stable_slower=None,
    )


def test_no_answer_is_unreachable_and_no_mismatch() -> None:
    assert judged(SHADOW, frozenset(), (SILENT, None), (answered(90), found("$.a"))) == Judged(
        mismatch=False,
        unreachable=True,
        slower=False,
        stable_mismatch=True,
        stable_unreachable=False,
        stable_slower=False,
    )


def test_both_arms_are_judged_alike() -> None:
    """Swap them and everything is swapped: what noise hides on one side it hides on the other."""
    one, other = (answered(90), found("$.a", "$.at")), (answered(10), found("$.at"))
    noisy = frozenset({"$.at"})

    there, back = judged(SHADOW, noisy, one, other), judged(SHADOW, noisy, other, one)

    assert (there.mismatch, there.slower) == (back.stable_mismatch, back.stable_slower)
    assert (there.stable_mismatch, there.stable_slower) == (back.mismatch, back.slower)
    assert (there.mismatch, there.stable_mismatch) == (True, False)


def test_margins_have_their_rules_names() -> None:
    assert Margins(0.1, 0.2, 0.3).by_rule() == {"mismatch": 0.1, "slower": 0.2, "unreachable": 0.3}
