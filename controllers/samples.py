"""Samples: production requests, replayed to the canary and partly to stable, compared, counted.

1. A sample counts once, however often it is delivered: its id is written with its tally.
2. A shadow never blocks the queue: replays are bounded in time, and no answer is an outcome too.
3. Nothing of a sample is stored or logged before it is redacted; a bad one leaves no bytes behind.
"""

import asyncio
import hashlib
import logging
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import batched

from controllers.findings import Compared, redactor, tally_of, tell
from shared.core import rules, tallies
from shared.core.diff import compare
from shared.core.rules import Compiled
from shared.core.shadow import Sample, Shadow, drawn, judged, outgoing, unwanted
from shared.core.tally import Tally, total
from shared.errors import ConflictError, RefusedError, UnreachableError
from shared.ports import Message, Rejected, Stored, World
from shared.samples import Blob, Posted, read_sample

BATCH = 90
MAX_RACES = 3
LONGEST_PAUSE_S = 20.0

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Counted:
    """One sample and what it counts for."""

    key: str
    tally: Tally


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
            await world.store.add_tally(name, total(each.tally for each in results), keys)
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
    if not canary.replayed.tried:
        log.debug("sample of %s: %s", stored.rollout.name, canary.replayed.reason)
        return Counted(sample.id, Tally(skipped=1, newest_s=world.clock.now_s()))
    stable = again[0] if again and again[0].replayed.tried else None
    noisy = frozenset(stored.rollout.noisy)
    judgement = judged(
        shadow,
        noisy,
        (canary.replayed, canary.comparison),
        (stable.replayed, stable.comparison) if stable else None,
    )
    tell(stored, shadow, sample, canary, judgement)
    at_s = world.clock.now_s()
    return Counted(sample.id, tally_of(stored, shadow, canary, stable, judgement, at_s))


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
    return Compared(replayed, redactor(shadow, stored.rollout.salt).comparison(comparison))


@lru_cache(64)
def ready(shadow: Shadow) -> Compiled:
    """The rules of a step, compiled once."""
    return rules.compiled(shadow.rules)
