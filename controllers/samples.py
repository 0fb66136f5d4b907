"""Samples: production requests, replayed to the canary and partly to stable, compared, counted.

1. A sample counts once, however often it is delivered: its id is written with its tally.
2. A shadow never blocks the queue: replays are bounded in time, and no answer is an outcome too.
3. Nothing of a sample is stored or logged before it is redacted; a bad one leaves no bytes behind.
"""

import asyncio
import hashlib
import json
import logging
import secrets
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import batched

from shared.core import redact, rules, tallies, tally
from shared.core.diff import Comparison, Difference, compare
from shared.core.questions import bin_at
from shared.core.redact import Redactor
from shared.core.rules import Compiled
from shared.core.shadow import (
    Judged,
    Replayed,
    Sample,
    Shadow,
    drawn,
    judged,
    outgoing,
    unwanted,
)
from shared.core.tally import Place, Tally
from shared.errors import ConflictError, RefusedError, UnreachableError
from shared.ports import Message, Rejected, Stored, World
from shared.samples import Blob, Posted, read_sample

BATCH = 90
MAX_RACES = 3
LONGEST_PAUSE_S = 20.0
SHOWN_DIFFERENCES = 20
MOST_PLACES_CHARS = 1000
# Hashes of values tell whether two are the same, and to nobody what they are.
PROCESS_KEY = secrets.token_hex(16)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Counted:
    """One sample and what it counts for."""

    key: str
    tally: Tally


@dataclass(frozen=True, slots=True)
class Compared:
    """One arm's replay, and how it differs from what the user got; None when there is nothing."""

    replayed: Replayed
    comparison: Comparison | None


async def receive_samples(world: World, messages: Sequence[Message]) -> None:
    """One batch of the samples queue. Raises UnreachableError to have it delivered again."""
    try:
        async with asyncio.timeout(world.settings.turn_deadline_s):
            await _receive(world, messages)
    except (UnreachableError, TimeoutError):
        await world.clock.sleep(min(2.0 ** messages[0].deliveries, LONGEST_PAUSE_S))
        raise


async def _receive(world: World, messages: Sequence[Message]) -> None:
    posted = await _readable(world, messages)
    holders = {claim.profile.casefold(): claim.rollout for claim in await world.store.claims()}
    wanted: defaultdict[str, list[Posted]] = defaultdict(list)
    for each in posted:
        if holder := holders.get(each.sample.profile.casefold()):
            wanted[holder].append(each)
    await asyncio.gather(*(_launch(world, name, group) for name, group in wanted.items()))


async def _readable(world: World, messages: Sequence[Message]) -> list[Posted]:
    """The samples that can be read. Of bad ones the first of a batch is kept, without its bytes."""
    posted, bad = [], []
    for message in messages:
        try:
            posted.append(_read(message, world.settings.max_message_bytes))
        except RefusedError as refused:
            bad.append((message, str(refused)))
    if bad:
        message, reason = bad[0]
        digest = hashlib.sha256(message.body).hexdigest()
        reason = f"{reason} ({len(message.body)} bytes, sha256 {digest}, {len(bad)} in its batch)"
        log.warning("sample %s rejected: %s", message.id, reason)
        bare = Message(message.id, b"", message.enqueued_at_s, message.deliveries)
        await world.store.reject(Rejected(bare, "samples", reason, world.clock.now_s()))
    return posted


def _read(message: Message, limit: int) -> Posted:
    if len(message.body) > limit:
        raise RefusedError(f"at most {limit} bytes are allowed")
    return read_sample(message.body)


async def _launch(world: World, name: str, posted: list[Posted]) -> None:
    """The samples of one rollout, if it wants any."""
    stored = await world.store.load(name)
    shadow = tallies.wanted(stored.plan, stored.rollout) if stored else None
    if stored is None or shadow is None:
        return
    room = max(0, shadow.most_samples - stored.rollout.samples)
    for batch in batched(_distinct(posted)[:room], BATCH, strict=False):
        results = await asyncio.gather(*(_one(world, stored, shadow, each) for each in batch))
        await _count(world, name, [result for result in results if result])


def _distinct(posted: list[Posted]) -> list[Posted]:
    return list({each.sample.id: each for each in posted}.values())


async def _count(world: World, name: str, results: list[Counted]) -> None:
    """Write down what is new; a twin that was first is left out."""
    for _ in range(MAX_RACES):
        if not results:
            return
        keys = [result.key for result in results]
        try:
            await world.store.add_tally(name, tally.total(each.tally for each in results), keys)
        except ConflictError:
            before = await world.store.counted(name, keys)
            results = [result for result in results if result.key not in before]
        else:
            return
    raise UnreachableError(f"the samples of {name} are being counted by somebody else")


async def _one(world: World, stored: Stored, shadow: Shadow, posted: Posted) -> Counted | None:
    """Replay and compare one sample; None when its bodies are not what it says."""
    try:
        sample = await _whole(world, shadow, posted)
    except RefusedError as refused:
        log.warning("a sample of %s cannot be used: %s", stored.rollout.name, refused)
        return None
    if why := unwanted(shadow, sample.request):
        log.debug("sample of %s skipped: %s", stored.rollout.name, why)
        return Counted(sample.id, Tally(skipped=1, newest_s=world.clock.now_s()))
    arms = [stored.plan.canary]
    if drawn(shadow.noise_share, "noise", stored.rollout.name, sample.id):
        arms.append(stored.plan.stable)
    canary, *again = await asyncio.gather(
        *(_arm(world, stored, shadow, sample, endpoint) for endpoint in arms)
    )
    stable = again[0] if again else None
    noisy = frozenset(stored.rollout.noisy)
    judgement = judged(
        shadow,
        noisy,
        (canary.replayed, canary.comparison),
        (stable.replayed, stable.comparison) if stable else None,
    )
    hide = redactor(shadow, stored.rollout.name, world.settings.hash_key.get_secret_value())
    _tell(stored, shadow, sample, canary, judgement, hide)
    at_s = world.clock.now_s()
    return Counted(sample.id, _tally(stored, shadow, canary, stable, judgement, at_s))


async def _whole(world: World, shadow: Shadow, posted: Posted) -> Sample:
    most = shadow.rules.bounds.body_bytes

    async def fetched(blob: Blob | None) -> bytes | None:
        return None if blob is None else await world.bodies.read(blob.url, blob.sha256, most)

    return posted.with_bodies(await fetched(posted.request_blob), await fetched(posted.reply_blob))


async def _arm(
    world: World, stored: Stored, shadow: Shadow, sample: Sample, endpoint: str
) -> Compared:
    name = stored.rollout.name
    replayed = await world.replays.replay(
        stored.plan.profile,
        endpoint,
        outgoing(shadow, sample.request, name),
        timeout_s=shadow.timeout_s,
        most_bytes=shadow.rules.bounds.body_bytes,
    )
    if replayed.reply is None:
        return Compared(replayed, None)
    comparison = compare(sample.reply, replayed.reply, ready(shadow))
    hide = redactor(shadow, name, world.settings.hash_key.get_secret_value())
    return Compared(replayed, redacted(comparison, hide))


@lru_cache(64)
def ready(shadow: Shadow) -> Compiled:
    """The rules of a step, compiled once."""
    return rules.compiled(shadow.rules)


@lru_cache(64)
def redactor(shadow: Shadow, rollout: str, key: str) -> Redactor:
    """What hides the values of a rollout. Without a key of the deployment, one of this process."""
    return redact.compiled(shadow.redaction, f"{key or PROCESS_KEY}/{rollout}")


def redacted(comparison: Comparison, hide: Redactor) -> Comparison:
    """The comparison as it may be stored and logged."""
    differences = tuple(hide.difference(each) for each in comparison.differences)
    return replace(comparison, differences=differences)


def _tally(  # what one sample consists of
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


def _tell(
    stored: Stored,
    shadow: Shadow,
    sample: Sample,
    canary: Compared,
    judgement: Judged,
    hide: Redactor,
) -> None:
    """One record for each comparison: differences in full, equal answers by a share."""
    differences = canary.comparison.differences if canary.comparison else ()
    outcome = _outcome(judgement, differences)
    if outcome == "match" and not drawn(shadow.log_share, "log", stored.rollout.name, sample.id):
        return
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
