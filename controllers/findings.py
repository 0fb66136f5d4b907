"""What one comparison adds to the tally, and what the log says of it.

Both see it only after it was redacted.
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from shared.core import redact, tallies, tally
from shared.core.diff import Comparison, Difference
from shared.core.questions import bin_at
from shared.core.redact import Redactor
from shared.core.shadow import Judged, Replayed, Sample, Shadow, drawn
from shared.core.tally import Place, Tally
from shared.ports import Stored

SHOWN_DIFFERENCES = 20
MOST_PLACES_CHARS = 1000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Compared:
    """One arm's replay, and how it differs from what the user got; None when there is nothing."""

    replayed: Replayed
    comparison: Comparison | None


@lru_cache(64)
def redactor(shadow: Shadow, salt: str) -> Redactor:
    """What hides the values of a rollout, the same in every process."""
    return redact.redactor(shadow.redaction, salt)


def tally_of(  # what one sample consists of
    stored: Stored,
    shadow: Shadow,
    canary: Compared,
    stable: Compared | None,
    judgement: Judged,
    at_s: float,
) -> Tally:
    """What one sample adds."""
    found = _places(canary, 1, 0)
    again = _places(stable, 0, 1) if stable else {}
    learning = tallies.learning(shadow, stored.rollout)
    index = bin_at(at_s, stored.rollout.bin_s)
    return Tally(
        samples=1,
        noise_samples=int(stable is not None),
        different=int(judgement.mismatch),
        unreachable=int(judgement.unreachable),
        differences=len(found),
        newest_s=at_s,
        bins={index: tally.counted(judgement, learning=learning)},
        places={
            name: found.get(name, Place()) + again.get(name, Place()) for name in {*found, *again}
        },
    )


def _places(compared: Compared, canary: int, stable: int) -> dict[str, Place]:
    """Each place at which an answer differs, once."""
    found: dict[str, Place] = {}
    for each in compared.comparison.differences if compared.comparison else ():
        example = f"{each.left or 'nothing'} became {each.right or 'nothing'}" if canary else ""
        found.setdefault(each.pattern, Place(canary, stable, each.kind.value, example))
    return found


def tell(
    stored: Stored, shadow: Shadow, sample: Sample, canary: Compared, judgement: Judged
) -> None:
    """One record for each comparison: differences in full, equal answers by a share."""
    differences = canary.comparison.differences if canary.comparison else ()
    outcome = _outcome(judgement, differences)
    if outcome == "match" and not drawn(shadow.log_share, "log", stored.rollout.name, sample.id):
        return
    hide = redactor(shadow, stored.rollout.salt)
    path = hide.request_path(sample.request.path)
    shown = [
        {"path": each.path, "kind": each.kind.value, "user": each.left, "canary": each.right}
        for each in differences[:SHOWN_DIFFERENCES]
    ]
    reply = canary.replayed.reply
    told: dict[str, object] = {
        "rollout": stored.rollout.name,
        "sample": sample.id,
        "outcome": outcome,
        "method": sample.request.method,
        "path": path,
        "places": " ".join(sorted({each.pattern for each in differences}))[:MOST_PLACES_CHARS],
        "differences": json.dumps(shown, ensure_ascii=False),
        "user_status": sample.reply.status,
        "user_ms": round(sample.reply.elapsed_ms, 1),
        "canary_status": reply.status if reply else 0,
        "canary_ms": round(reply.elapsed_ms, 1) if reply else 0.0,
        "reason": hide.text(canary.replayed.reason),
    }
    extra = {f"linnet_{name}": value for name, value in told.items()}
    log.info("shadow %s: %s %s", outcome, sample.request.method, path, extra=extra)


def _outcome(judgement: Judged, differences: Sequence[Difference]) -> str:
    """What people call it; noise is a difference that stable has with itself."""
    if judgement.unreachable:
        return "unreachable"
    if judgement.mismatch:
        return "mismatch"
    if differences:
        return "noise"
    return "slower" if judgement.slower else "match"
