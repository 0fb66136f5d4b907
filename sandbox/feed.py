"""A sensor feed, as two versions of one service answer it, and who posts samples of it to Linnet.

Both versions measure the same world, each a little differently: readings jitter, every answer has
a time and an id of its own, and the sensors that are online come in whatever order a set has. A
wrong answer has one reading in Fahrenheit and is right in all else.

The samples are made by the very file that a reader copies, examples/sampling.py; only around the
application there is aiohttp here and neither ASGI nor WSGI. It does not prove how much a
producer costs a busy service.
"""

import logging
import random
import uuid
from typing import Any, Final
from urllib.request import ProxyHandler, build_opener

from examples import sampling
from examples.sampling import Samples
from sandbox.clock import utc_now

JITTER_C: Final = 0.1
_CELSIUS: Final = {"quay": 11.4, "lock": 12.1, "silo": 19.8, "yard": 14.6, "roof": 17.3}


class Feed:
    """The page of one version."""

    def __init__(self, seed: str) -> None:
        self._dice = random.Random(seed)

    def __call__(self, wrong: bool) -> dict[str, Any]:  # noqa: FBT001  # it is all there is to say
        """One answer."""
        dice = self._dice
        readings = [
            {"sensor": name, "celsius": round(celsius + dice.uniform(-JITTER_C, JITTER_C), 2)}
            for name, celsius in _CELSIUS.items()
        ]
        if wrong:
            reading = dice.choice(readings)
            reading["celsius"] = round(_CELSIUS[str(reading["sensor"])] * 1.8 + 32, 2)
        return {
            "station": "harbour",
            "at": utc_now().isoformat(),
            "request_id": str(uuid.UUID(int=dice.getrandbits(128))),
            "readings": readings,
            "online": dice.sample(list(_CELSIUS), len(_CELSIUS)),
        }


def producer(url: str, profile: str, *, share: float, seed: str) -> Samples:
    """Samples of a service behind `profile`, for the Linnet at `url`, past any proxy."""
    # Its counts say what became of samples; at the end the host goes first, which is no news.
    sampling.log.setLevel(logging.ERROR)
    opener = build_opener(ProxyHandler({}))
    return Samples(url, "", profile, share, opener=opener, dice=random.Random(seed))
