"""What a spectator sees: rollouts through Linnet's HTTP API, shares and errors from outside.

Rules: decisions are read from the history that Linnet keeps, each once, in order; shares of DNS
answers and of requests are those of the last seconds, counted at the users; all of it is bounded.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiohttp

from sandbox.local import LocalWorld
from sandbox.scene import Scene
from sandbox.users import Arm, Tally
from shared.core import words

LOOK_S: Final = 0.5
# What a dark launch has found is read this often: each time Linnet adds it all up.
SHADOW_LOOK_S: Final = 3.0
WINDOW_S: Final = 5.0
MAX_DECISIONS: Final = 500

type Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Told:
    """One row of a rollout's history that changed something or answered somebody.

    `numbers`: the rule that decided, with its ratio and its evidence; empty where none did.
    """

    rollout: str
    at: str
    event: str
    after: str
    percent: float
    sentence: str
    verdict: str
    numbers: str


@dataclass(frozen=True, slots=True)
class Sample:
    """Both arms' totals at one moment: DNS answers, requests, bad requests (stable, canary)."""

    answers: tuple[int, int]
    requests: tuple[int, int]
    bad: tuple[int, int]


@dataclass(slots=True)
class Seat:
    """What is known of one rollout: Linnet's summary of it, and the last seconds of samples."""

    scene: Scene
    summary: Json = field(default_factory=dict)
    shadow: Json = field(default_factory=dict)
    shadow_s: float = 0.0
    strata: Json = field(default_factory=dict)
    rows: int = 0
    told: deque[Told] = field(default_factory=lambda: deque(maxlen=MAX_DECISIONS))
    samples: deque[Sample] = field(
        default_factory=lambda: deque(maxlen=1 + round(WINDOW_S / LOOK_S))
    )

    @property
    def phase(self) -> str:
        """The phase, `-` before there is one."""
        return str(self.summary.get("phase", "-"))

    def answer_share(self) -> float | None:
        """The canary's share of the DNS answers of the last seconds; None without any."""
        return _share(*self._recent("answers"))

    def request_share(self) -> float | None:
        """The canary's share of the requests of the last seconds; None without any."""
        return _share(*self._recent("requests"))

    def error_rates(self) -> tuple[float | None, float | None]:
        """The share of bad requests of the last seconds: stable, canary; None without any."""
        bad, requests = self._recent("bad"), self._recent("requests")
        stable, canary = (b / n if n else None for b, n in zip(bad, requests, strict=True))
        return stable, canary

    def _recent(self, what: str) -> tuple[int, int]:
        if not self.samples:
            return 0, 0
        first, last = getattr(self.samples[0], what), getattr(self.samples[-1], what)
        return last[0] - first[0], last[1] - first[1]


class Watch:
    """Looks twice a second, until it is cancelled; `on_told` hears each decision once."""

    def __init__(
        self,
        world: LocalWorld,
        scenes: Sequence[Scene],
        on_told: Callable[[Told], None] | None = None,
    ) -> None:
        self.seats = {scene.name: Seat(scene) for scene in scenes}
        self.told: deque[Told] = deque(maxlen=MAX_DECISIONS)
        self._world = world
        self._on_told = on_told

    async def run(self) -> None:
        """Look until cancelled; while the host does not answer the last sight stays."""
        while True:
            await self.look()
            await asyncio.sleep(LOOK_S)

    async def look(self) -> None:
        """One look at everything."""
        for seat in self.seats.values():
            seat.samples.append(_sample(seat.scene.tally))
        try:
            found = (await self._world.get("rollouts"))["rollouts"]
            for summary in found:
                if summary["name"] in self.seats:
                    await self._renew(self.seats[summary["name"]], summary)
        except (aiohttp.ClientError, TimeoutError, KeyError, ValueError):
            return

    async def _renew(self, seat: Seat, summary: Json) -> None:
        """History is read only when a decision was taken: it is long, and Linnet is at work."""
        key = ("phase", "step", "since", "wanted_percent")
        decided = any(seat.summary.get(name) != summary[name] for name in key)
        dark = seat.scene.casting.sampled and summary["step"] == 1
        now_s = time.monotonic()
        if decided or (dark and now_s - seat.shadow_s >= SHADOW_LOOK_S):
            seat.shadow_s = now_s
            whole = await self._world.get(f"rollouts/{seat.scene.name}")
            seat.shadow = whole["shadow"] or {}
            seat.strata = {key: whole[key] for key in ("strata", "standardised") if key in whole}
            for row in whole["history"]:
                if row["number"] > seat.rows:
                    seat.rows = row["number"]
                    self._tell(seat, row)
        seat.summary = summary

    def _tell(self, seat: Seat, row: Json) -> None:
        if row["event"] == "Ticked" and row["before"] == row["after"]:
            return
        told = Told(
            rollout=seat.scene.name,
            at=row["at"][11:19],
            event=row["event"],
            after=row["after"],
            percent=row["percent"],
            sentence=row["sentence"],
            verdict=(row["verdict"] or {}).get("kind", ""),
            numbers=numbers(row),
        )
        seat.told.append(told)
        self.told.append(told)
        if self._on_told is not None:
            self._on_told(told)


def numbers(row: Json) -> str:
    """What a decision rests on: "errors 2.1 (1.3 to 3.5), harm 4.9 of 4.6 needed".

    Empty where something else than the evidence of a rule decided.
    """
    verdict = row["verdict"] or {"rules": (), "sentence": ""}
    said = verdict["sentence"]
    named = (rule for rule in verdict["rules"] if said.startswith(f"{rule['rule']}: "))
    rule = next(named, None)
    if rule is None or said.removesuffix(".") not in row["sentence"]:
        return ""
    low, high = rule["ratio_interval"]
    ratio = words.times(rule["ratio"], low, high, "") or "no ratio"
    return f"{rule['rule']} {ratio}, {_evidence(verdict, rule)}"


def _evidence(verdict: Json, rule: Json) -> str:
    against = "harm", verdict["evidence_of_harm"]
    good = "no harm", rule["evidence_of_no_harm"]
    alone = "above objective", rule["evidence_over_objective"]
    name, shown = against if verdict["kind"] == "fail" else good if good[1] else alone
    name, shown = (name, shown) if shown else against
    return f"{name} {words.of_needed(shown['seen'], shown['needed'])}"


def _sample(tally: Tally) -> Sample:
    arms: tuple[Arm, Arm] = ("stable", "canary")
    answers, requests, bad = (
        (count[arms[0]], count[arms[1]]) for count in (tally.answers, tally.requests, tally.bad)
    )
    return Sample(answers, requests, bad)


def _share(stable: int, canary: int) -> float | None:
    return canary / (stable + canary) if stable + canary else None
