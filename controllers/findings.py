"""What one comparison adds to the tally, and what the log says of it.

Both see it only after it was redacted, and cut to what a row and a log field can hold.
"""

import hashlib
import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from shared.core import redact, tallies, tally
from shared.core.diff import Comparison, Difference
from shared.core.questions import bin_at
from shared.core.redact import Redactor
from shared.core.shadow import Judged, Replayed, Sample, Shadow, drawn
from shared.core.tally import Place, Tally
from shared.ports import Stored

MOST_PLACES_CHARS = 1000
# 500 places with their examples fit into one row of the store, whatever characters they have.
MOST_PATTERN_CHARS = 150
MOST_EXAMPLE_CHARS = 90
# Application Insights cuts a field of a log record at 8192 characters.
MOST_FIELD_CHARS = 8000
MOST_REASONS = 3

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Compared:
    """One arm's replay, and how it differs from what the user got; None when there is nothing."""

    replayed: Replayed
    comparison: Comparison | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one sample; `stable` is None where stable was not asked again."""

    sample: Sample
    canary: Compared
    stable: Compared | None
    judgement: Judged


@dataclass(frozen=True, slots=True)
class Skipped:
    """A sample that was not compared, and why."""

    sample: Sample
    why: str


@lru_cache(64)
def redactor(shadow: Shadow, salt: str) -> Redactor:
    """What hides the values of a rollout, the same in every process."""
    return redact.redactor(shadow.redaction, salt)


def kept(shadow: Shadow, salt: str, comparison: Comparison) -> Comparison:
    """A comparison as it may be kept: redacted, its places cut."""
    hidden = redactor(shadow, salt).comparison(comparison)
    cut = (
        replace(found, path=_cut(found.path), pattern=_cut(found.pattern))
        for found in hidden.differences
    )
    return replace(hidden, differences=tuple(cut))


def tally_of(stored: Stored, shadow: Shadow, found: Outcome | Skipped, at_s: float) -> Tally:
    """What one sample adds; one that was skipped is no news of the canary."""
    if isinstance(found, Skipped):
        return Tally(skipped=1)
    places = _places(found.canary, 1, 0)
    again = _places(found.stable, 0, 1) if found.stable else {}
    learning = tallies.learning(shadow, stored.rollout)
    index = bin_at(at_s, stored.rollout.bin_s)
    return Tally(
        samples=1,
        noise_samples=int(found.stable is not None),
        different=int(found.judgement.mismatch),
        unreachable=int(found.judgement.unreachable),
        differences=len(places),
        newest_s=at_s,
        bins={index: tally.counted(found.judgement, learning=learning)},
        places={
            name: places.get(name, Place()) + again.get(name, Place()) for name in {*places, *again}
        },
    )


def _places(compared: Compared, canary: int, stable: int) -> dict[str, Place]:
    """Each place at which an answer differs, once."""
    found: dict[str, Place] = {}
    for each in compared.comparison.differences if compared.comparison else ():
        place = Place(canary, stable, each.kind.value, _example(each) if canary else "")
        found[each.pattern] = replace(
            found.get(each.pattern, Place()) + place, canary=canary, stable=stable
        )
    return found


def _example(found: Difference) -> str:
    both = f"{found.left or 'nothing'} became {found.right or 'nothing'}"
    return both if len(both) <= MOST_EXAMPLE_CHARS else f"{both[: MOST_EXAMPLE_CHARS - 3]}..."


def _cut(place: str) -> str:
    """A place that one line can hold; the hash keeps apart what begins alike."""
    if len(place) <= MOST_PATTERN_CHARS:
        return place
    digest = hashlib.sha256(place.encode(errors="surrogatepass")).hexdigest()[:12]
    return f"{place[: MOST_PATTERN_CHARS - 15]}...{digest}"


def tell(stored: Stored, shadow: Shadow, found: Outcome) -> None:
    """One record for each comparison: differences in full, equal answers by a share."""
    sample, replayed = found.sample, found.canary.replayed
    comparison = found.canary.comparison or Comparison(())
    differences = comparison.differences
    outcome = _outcome(found.judgement, differences)
    if outcome == "match" and not drawn(shadow.log_share, "log", stored.rollout.name, sample.id):
        return
    hide = redactor(shadow, stored.rollout.salt)
    path = hide.request_path(sample.request.path)
    reply = replayed.reply
    told: dict[str, str | int | float] = {
        "rollout": stored.rollout.name,
        "sample": sample.id,
        "outcome": outcome,
        "method": sample.request.method,
        "path": path,
        "places": " ".join(sorted({each.pattern for each in differences}))[:MOST_PLACES_CHARS],
        "differences": _listed(differences),
        "difference_count": len(differences) + comparison.more,
        "user_status": sample.reply.status,
        "user_ms": round(sample.reply.elapsed_ms, 1),
        "canary_status": reply.status if reply else 0,
        "canary_ms": round(reply.elapsed_ms, 1) if reply else 0.0,
        "reason": hide.text(replayed.reason),
    }
    extra = {f"linnet_{name}": value for name, value in told.items()}
    log.info("shadow %s: %s %s", outcome, sample.request.method, path, extra=extra)


def tell_skipped(stored: Stored, shadow: Shadow, skipped: Sequence[Skipped]) -> None:
    """One record for a batch: how many were not compared, and why."""
    if not skipped:
        return
    hide = redactor(shadow, stored.rollout.salt)
    reasons = "; ".join(sorted({hide.text(each.why) for each in skipped})[:MOST_REASONS])
    log.warning("%d samples of %s were skipped: %s", len(skipped), stored.rollout.name, reasons)


def _listed(differences: Iterable[Difference]) -> str:
    """As many differences as one field of a log record can hold, as JSON."""
    shown: list[str] = []
    room = MOST_FIELD_CHARS
    for each in differences:
        said = {"path": each.path, "kind": each.kind.value, "user": each.left, "canary": each.right}
        text = json.dumps(said, ensure_ascii=False)
        room -= len(text) + 2
        if room < 0:
            break
        shown.append(text)
    return f"[{', '.join(shown)}]"


def _outcome(judgement: Judged, differences: Sequence[Difference]) -> str:
    """What people call it; noise is a difference that stable has with itself."""
    if judgement.unreachable:
        return "unreachable"
    if judgement.mismatch:
        return "mismatch"
    if differences:
        return "noise"
    return "slower" if judgement.slower else "match"
