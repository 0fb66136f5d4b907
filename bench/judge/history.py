"""What stable's past told of each stratum, and the weights that the product makes of it.

1. Clusters live in 30 regions, five to a region, and only the region is known: as a service knows
   its clients' city, not their resolver.
2. The past is some hours before the start, in two halves, without bursts: they strike all alike.
3. The weights are `shared.core.strata`'s own, one fit a rollout.
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.random import Generator

from bench.judge.engine import Ints
from bench.judge.rises import Floats
from shared.core import strata

REGIONS: Final = 30


@dataclass(frozen=True, slots=True)
class Past:
    """Stable's means: load by cluster and minute (clusters,), rates (runs, clusters).

    `storms` are the share of failures that come in retry storms, and how many come in one.
    """

    load: Floats
    rates: Floats
    storms: tuple[float, int]
    hours: float


def regions(runs: int, clusters: int, rng: Generator) -> Ints:
    """The region of each cluster, shape (runs, clusters)."""
    even = np.tile(np.arange(clusters) % REGIONS, (runs, 1))
    return rng.permuted(even, axis=1)


def weights(of: Ints, past: Past, rng: Generator) -> tuple[Floats, Floats]:
    """Each cluster's weight by request and by client, shape (runs, clusters)."""
    events = past.load * 60 * past.hours / 2
    halves = [_half(events * past.rates, past.storms, rng) for _ in range(2)]
    found = np.ones((2, *of.shape))
    for unit in range(2):
        for run, region in enumerate(of):
            fitted = strata.fit(*(_by_region(region, events, half[unit][run]) for half in halves))
            if fitted is not None:
                found[unit, run] = np.array(fitted)[region]
    return found[0], found[1]


def _half(failing: Floats, storms: tuple[float, int], rng: Generator) -> tuple[Ints, Ints]:
    """Bad events of half the past, by request and by client (a storm counts once)."""
    share, size = storms
    lone, begun = rng.poisson(failing * (1 - share)), rng.poisson(failing * share / size)
    again = rng.negative_binomial(np.maximum(begun, 1), 1 / size)
    return lone + np.where(begun > 0, begun + again, 0), lone + begun


def _by_region(region: Ints, events: Floats, bad: Ints) -> list[tuple[float, float]]:
    sums = (np.bincount(region, each, REGIONS).tolist() for each in (events, bad))
    return list(zip(*sums, strict=True))
