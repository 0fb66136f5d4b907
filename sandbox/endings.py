"""Whether a rollout of the demo ended as it should, and the table that sums all of them up.

Four witnesses must agree: Linnet's own record, the state in ARM, answers asked of DNS, and the
users, none of whom may ever have been left without an address.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import dns.asyncresolver
from rich import box
from rich.table import Table
from rich.text import Text

from sandbox.arm_profile import DOMAIN
from sandbox.clock import parse_iso
from sandbox.dns import LOOPBACK
from sandbox.local import LocalWorld, profile_id
from sandbox.watch import Seat

ASKED: Final = 20


@dataclass(frozen=True, slots=True)
class Expected:
    """How a rollout must end: its last phase, and what it must have been taken back by.

    `unmet`: no user may ever have met the canary.
    """

    phase: str
    cause: str = ""
    unmet: bool = False

    def __str__(self) -> str:
        return f"{self.phase} by {self.cause}" if self.cause else self.phase


@dataclass(frozen=True, slots=True)
class Ending:
    """How it did end. Times are seconds; None where the question does not arise."""

    name: str
    outcome: Expected
    promoted_s: float | None
    to_zero_s: float | None
    to_last_request_s: float | None
    users_hurt: int
    requests_hurt: int
    canary_requests: int
    requests: int
    samples: int | None
    faults: tuple[str, ...]


async def examine(
    world: LocalWorld, seat: Seat, expected: Expected, *, started_s: float, trouble_s: float | None
) -> Ending:
    """Hear all witnesses. `trouble_s`: when the first request failed or the alert was posted."""
    tally = seat.scene.tally
    outcome = Expected(seat.phase, cause_of(seat), expected.unmet)
    faults = (
        *_record_faults(seat, outcome, expected),
        *_arm_faults(world, seat, expected),
        *await _dns_faults(world, seat, expected),
        *(_unmet_faults(world, seat) if expected.unmet else []),
        *(_shadow_faults(seat) if seat.scene.casting.sampled else []),
        *([f"{tally.lost} requests found no address"] if tally.lost else []),
        *([f"{tally.skipped} requests were never sent"] if tally.skipped else []),
    )
    zero_s = _zero_s(world, seat, trouble_s)
    promoted = seat.phase == "PROMOTED"
    return Ending(
        name=seat.scene.name,
        outcome=outcome,
        promoted_s=_since_s(seat) - started_s if promoted else None,
        to_zero_s=_after(zero_s, trouble_s),
        to_last_request_s=_after(None if zero_s is None else tally.last_canary_s, trouble_s),
        users_hurt=len(tally.hurt["canary"]),
        requests_hurt=tally.bad["canary"],
        canary_requests=tally.requests["canary"],
        requests=tally.requests.total(),
        samples=seat.shadow.get("samples"),
        faults=faults,
    )


def cause_of(seat: Seat) -> str:
    """What began the retreat, by Linnet's history: `evidence`, `an alert`, or what else it was."""
    began = next((told for told in seat.told if told.after == "RETREATING"), None)
    if began is None:
        return ""
    if began.event == "Ticked" and began.verdict == "fail":
        return "evidence"
    return "an alert" if began.event == "AlertFired" else began.event


def summary(endings: Sequence[Ending], took_s: float) -> Table:
    """The table at the end of the demo."""
    table = Table(
        title=f"{len(endings)} rollouts, unattended, in {took_s:.0f} s",
        caption="Samples: users' requests, replayed to the canary before any user met it. To 0 %: "
        "from the first\nbad request, or from the alert, until ARM held 0 %, and until the last "
        "request reached the\ncanary. Hurt: by the canary, of all requests that went to it.",
        caption_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    table.add_column("rollout", style="bold")
    table.add_column("outcome", no_wrap=True)
    for heading in ("samples", "to\n100 %", "to 0 %\nin ARM", "to last\nrequest"):
        table.add_column(heading, justify="right")
    for heading in ("users\nhurt", "requests\nhurt", "to the\ncanary", "in\nall"):
        table.add_column(heading, justify="right")
    for ending in endings:
        table.add_row(*_cells(ending))
    return table


def _cells(ending: Ending) -> list[str | Text]:
    outcome = Text(str(ending.outcome), "red" if ending.faults else "green")
    times = (ending.promoted_s, ending.to_zero_s, ending.to_last_request_s)
    counts = (ending.users_hurt, ending.requests_hurt, ending.canary_requests, ending.requests)
    spans = [_span(span) for span in times]
    samples = "-" if ending.samples is None else f"{ending.samples:,}"
    return [ending.name, outcome, samples, *spans, *(f"{count:,}" for count in counts)]


def _span(seconds: float | None) -> str:
    if seconds is None:
        return "-"
    return f"{seconds:.2f} s" if abs(seconds) < 1 else f"{seconds:.1f} s"


def _record_faults(seat: Seat, outcome: Expected, expected: Expected) -> list[str]:
    if outcome == expected:
        return []
    sentence = seat.summary.get("sentence", "there is no such rollout")
    return [f"expected {expected}, but it is {outcome}: {sentence}"]


def _arm_faults(world: LocalWorld, seat: Seat, expected: Expected) -> list[str]:
    promoted = expected.phase == "PROMOTED"
    wanted = {"stable": "Disabled" if promoted else "Enabled"}
    wanted["canary"] = "Enabled" if promoted else "Disabled"
    found = world.azure.traffic.get(profile_id(seat.scene.name))["properties"]["endpoints"]
    status = {each["name"]: _end(each)["endpointStatus"] for each in found}
    weights = {each["name"]: _end(each)["weight"] for each in found}
    faults = [] if status == wanted else [f"ARM shows {status}, not {wanted}"]
    if not promoted and weights != seat.scene.weights:
        faults.append(f"ARM shows weights {weights}, not {seat.scene.weights} as before")
    return faults


def _unmet_faults(world: LocalWorld, seat: Seat) -> list[str]:
    """Users, the canary itself, and the weights that ARM ever held must all say so."""
    met = seat.scene.tally.requests["canary"]
    served = seat.scene.services.canary.users
    profile = profile_id(seat.scene.name).lower()
    most = max(
        (
            write.shares.get("canary", 0)
            for write in world.azure.traffic.journal
            if write.resource_id.lower().startswith(f"{profile}/")
        ),
        default=0,
    )
    return [
        *([f"{met} requests of users went to the canary"] if met else []),
        *([f"the canary answered {served} requests of users"] if served else []),
        *([f"ARM once gave the canary {most:.1%}"] if most else []),
    ]


def _shadow_faults(seat: Seat) -> list[str]:
    """The samples were replayed, and only to learn something."""
    services, shadow = seat.scene.services, seat.shadow
    if not shadow:
        return ["the API shows no dark launch"]
    few = shadow["samples"] > services.canary.replays or shadow["samples"] == 0
    return [f"{shadow['samples']} samples, {services.canary.replays} replays"] if few else []


def _end(endpoint: dict[str, Any]) -> dict[str, Any]:
    properties: dict[str, Any] = endpoint["properties"]
    return properties


async def _dns_faults(world: LocalWorld, seat: Seat, expected: Expected) -> list[str]:
    """Ask as somebody whose cache is empty."""
    asker = dns.asyncresolver.Resolver(configure=False)
    asker.nameservers, asker.port = [LOOPBACK], world.azure.dns_port
    services = seat.scene.services
    right = services.canary if expected.phase == "PROMOTED" else services.stable
    name = f"{seat.scene.name}.{DOMAIN}"
    answers = {str((await asker.resolve(name, "A"))[0].address) for _ in range(ASKED)}
    return [] if answers == {right.host} else [f"DNS answers {answers}, not {right.host}"]


def _zero_s(world: LocalWorld, seat: Seat, after_s: float | None) -> float | None:
    """When ARM first held 0 % for the canary, seconds since the epoch."""
    profile = profile_id(seat.scene.name).lower()
    for write in world.azure.traffic.journal:
        at_s = parse_iso(write.at).timestamp()
        ours = write.resource_id.lower().startswith(f"{profile}/")
        if ours and after_s and at_s >= after_s and write.shares.get("canary") == 0:
            return at_s
    return None


def _since_s(seat: Seat) -> float:
    return datetime.fromisoformat(seat.summary["since"]).timestamp()


def _after(at_s: float | None, start_s: float | None) -> float | None:
    return None if at_s is None or start_s is None else at_s - start_s
