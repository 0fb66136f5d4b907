"""Samples: production requests, replayed to the canary and partly to stable, compared, counted.

1. A sample counts once, however often it is delivered: its id is written with its tally.
2. A shadow never blocks the queue: replays are bounded in time, and no answer is an outcome too.
3. Nothing of a sample is stored or logged before it is redacted; a bad one leaves no bytes behind.
"""

import asyncio
import hashlib
import logging
import traceback
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import batched

from controllers.findings import Compared, Outcome, Skipped, kept, tally_of, tell, tell_skipped
from controllers.inbox import pause_s
from shared.core import rules, tallies
from shared.core.diff import compare
from shared.core.rules import Compiled
from shared.core.shadow import Sample, Shadow, drawn, judged, outgoing, unwanted
from shared.core.tally import total
from shared.errors import ConflictError, RefusedError, UnreachableError
from shared.ports import Message, Rejected, Stored, World
from shared.samples import Blob, Posted, read_sample

BATCH = 90
MAX_RACES = 3

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Launch:
    """The dark launch that samples are for."""

    stored: Stored
    shadow: Shadow

    @property
    def name(self) -> str:
        """The rollout's."""
        return self.stored.rollout.name


async def receive_samples(world: World, messages: Sequence[Message]) -> None:
    """One batch of the samples queue. Raises UnreachableError to have it delivered again."""
    try:
        async with asyncio.timeout(world.settings.turn_deadline_s):
            await _receive(world, messages)
    except (UnreachableError, TimeoutError):
        await world.clock.sleep(pause_s(messages[0]))
        raise


async def _receive(world: World, messages: Sequence[Message]) -> None:
    posted = await _readable(world, messages)
    holders = {claim.profile.casefold(): claim.rollout for claim in await world.store.claims()}
    wanted: defaultdict[str, list[Posted]] = defaultdict(list)
    for each in posted:
        if holder := holders.get(each.sample.profile.casefold()):
            wanted[holder].append(each)
    again = any(message.deliveries > 1 for message in messages)
    ends = await asyncio.gather(
        *(_launch(world, name, group, again=again) for name, group in wanted.items()),
        return_exceptions=True,
    )
    for trouble in filter(None, ends):
        raise trouble


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


async def _launch(world: World, name: str, posted: list[Posted], *, again: bool) -> None:
    """The samples of one rollout, if it wants any; what cannot be fetched now comes again."""
    stored = await world.store.load(name)
    shadow = tallies.wanted(stored.plan, stored.rollout) if stored else None
    if stored is None or shadow is None:
        return
    launch = Launch(stored, shadow)
    room = max(0, shadow.most_samples - stored.rollout.samples)
    for batch in batched(_distinct(posted)[:room], BATCH, strict=False):
        fresh = await _uncounted(world, name, batch) if again else batch
        ends = await asyncio.gather(*(_one(world, launch, each) for each in fresh))
        await _count(world, launch, [end for end in ends if not isinstance(end, UnreachableError)])
        for end in ends:
            if isinstance(end, UnreachableError):
                raise end


def _distinct(posted: list[Posted]) -> list[Posted]:
    return list({each.sample.id: each for each in posted}.values())


async def _uncounted(world: World, name: str, batch: Sequence[Posted]) -> list[Posted]:
    """Those that are to be replayed still: a request that changes something is not made twice."""
    before = await world.store.counted(name, [each.sample.id for each in batch])
    return [each for each in batch if each.sample.id not in before]


async def _count(world: World, launch: Launch, found: list[Outcome | Skipped]) -> None:
    """Write down what is new, and tell of it; a twin that was first is left out."""
    stored, shadow = launch.stored, launch.shadow
    for _ in range(MAX_RACES):
        if not found:
            return
        keys, at_s = [each.sample.id for each in found], world.clock.now_s()
        added = total(tally_of(stored, shadow, each, at_s) for each in found)
        try:
            await world.store.add_tally(launch.name, added, keys)
        except ConflictError:
            before = await world.store.counted(launch.name, keys)
            found = [each for each in found if each.sample.id not in before]
        else:
            for each in found:
                if isinstance(each, Outcome):
                    tell(stored, shadow, each)
            tell_skipped(stored, shadow, [each for each in found if isinstance(each, Skipped)])
            return
    raise UnreachableError(f"the samples of {launch.name} are being counted by somebody else")


async def _one(
    world: World, launch: Launch, posted: Posted
) -> Outcome | Skipped | UnreachableError:
    """Replay and compare one sample. Whatever is wrong with it ends here, and stops no other."""
    sample = posted.sample
    try:
        return await _compared(world, launch, await _whole(world, launch.shadow, posted))
    except UnreachableError as error:
        return error
    except RefusedError as refused:
        return Skipped(sample, str(refused))
    except Exception as error:  # noqa: BLE001  # a bug of ours, for this sample alone
        # Without its words, which might hold what a user sent.
        trace = "".join(traceback.format_tb(error.__traceback__))
        log.error("a sample of %s failed: %s\n%s", launch.name, type(error).__name__, trace)  # noqa: TRY400  # as said above
        return Skipped(sample, f"an unexpected {type(error).__name__}")


async def _compared(world: World, launch: Launch, sample: Sample) -> Outcome | Skipped:
    """Replay to the canary, for some samples to stable too, and judge the answers."""
    stored, shadow = launch.stored, launch.shadow
    if why := unwanted(shadow, sample.request):
        return Skipped(sample, why)
    arms = [stored.plan.canary]
    if drawn(shadow.noise_share, "noise", launch.name, sample.id):
        arms.append(stored.plan.stable)
    canary, *again = await asyncio.gather(*(_arm(world, launch, sample, end) for end in arms))
    if not canary.replayed.tried:
        return Skipped(sample, canary.replayed.reason)
    stable = again[0] if again and again[0].replayed.tried else None
    judgement = judged(
        shadow,
        frozenset(stored.rollout.noisy),
        (canary.replayed, canary.comparison),
        (stable.replayed, stable.comparison) if stable else None,
    )
    return Outcome(sample, canary, stable, judgement)


async def _whole(world: World, shadow: Shadow, posted: Posted) -> Sample:
    most = shadow.rules.bounds.body_bytes

    async def fetched(blob: Blob | None) -> bytes | None:
        return None if blob is None else await world.bodies.read(blob.url, blob.sha256, most)

    return posted.with_bodies(await fetched(posted.request_blob), await fetched(posted.reply_blob))


async def _arm(world: World, launch: Launch, sample: Sample, endpoint: str) -> Compared:
    stored, shadow = launch.stored, launch.shadow
    replayed = await world.replays.replay(
        stored.plan.profile,
        endpoint,
        outgoing(shadow, sample.request, launch.name),
        timeout_s=shadow.timeout_s,
        most_bytes=shadow.rules.bounds.body_bytes,
    )
    if replayed.reply is None:
        return Compared(replayed, None)
    comparison = compare(sample.reply, replayed.reply, ready(shadow))
    return Compared(replayed, kept(shadow, stored.rollout.salt, comparison))


@lru_cache(64)
def ready(shadow: Shadow) -> Compiled:
    """The rules of a step, compiled once."""
    return rules.compiled(shadow.rules)
