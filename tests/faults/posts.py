"""What senders post in a schedule: commands, alerts and rubbish, each with words of its own."""

from dataclasses import dataclass
from random import Random

from controllers.inbox import Queue
from shared.ports import Message
from tests.faults.place import HOMES, document, encoded
from tests.town import alert_document

KINDS = (
    "start",
    "promote",
    "promote",
    "hold",
    "resume",
    "resume",
    "abort",
    "abort",
    "alert",
    "alert",
    "resolved",
    "rubbish",
)


CONDITIONS = {"alert": "Fired", "resolved": "Resolved"}
# Few, so that many messages come to the dead-letter queue.
MOST_DELIVERIES = 3

# Those that move weights, and so race.
HASTY = ("start", "promote", "promote", "abort", "alert")


@dataclass(frozen=True, slots=True)
class Post:
    """A message on its way; `deliveries` counts this one too."""

    queue: Queue
    kind: str
    rollout: str
    message: Message
    deliveries: int = 1
    fired_s: float = 0.0

    @property
    def dead(self) -> bool:
        """Whether the broker has given it up, and it comes from the dead-letter queue."""
        return self.deliveries > MOST_DELIVERIES

    def __str__(self) -> str:
        again = f" (delivery {self.deliveries})" if self.deliveries > 1 else ""
        return f"{self.kind} {self.rollout} {self.message.id}{again}"


def drawn(random: Random, kinds: tuple[str, ...], number: int, at_s: float, stage: str) -> Post:
    """Some message; its id is also its reason, so that history tells which one it was."""
    kind = "start" if stage == "nothing" and number == 1 else random.choice(kinds)
    id_ = f"m-{number}"
    name = random.choice(("shop-a",) * 6 + ("shop-b", "cart-a"))
    if kind == "start":
        name = random.choice(tuple(HOMES))
    if stage == "nothing" and number == 1:
        name = "shop-a"
    queue: Queue = "alerts" if kind in {"alert", "resolved"} else "commands"
    fired_s = at_s - random.choice((0, 0, 0, 1, 3, 600))
    message = Message(id_, body(random, kind, name, id_, fired_s), at_s)
    return Post(queue, kind, name, message, fired_s=fired_s)


def body(random: Random, kind: str, name: str, id_: str, fired_s: float) -> bytes:
    """The bytes a sender would send; some alerts fired long before they are heard."""
    if kind == "rubbish":
        return b'{"action": "explode"'
    if kind in {"alert", "resolved"}:
        alert = alert_document(condition=CONDITIONS[kind], fired_s=fired_s)
        alert["data"]["essentials"]["alertId"] = id_
        return encoded(alert)
    said = {"action": kind, "by": "ada", "reason": id_}
    if kind == "start":
        return encoded({**said, "plan": document(name, random.choice((0, 0, 1, 2, 3)))})
    if kind == "promote":
        said["from_step"] = random.choice((1, 1, 2))  # type: ignore[assignment]  # JSON is mixed
    return encoded({**said, "rollout": name})
