"""What HTTP accepts: it only enqueues, and says plainly when it has not."""

import json

import pytest

from controllers import api, inbox
from sandbox.memory_store import Stage
from shared.core.model import Phase
from shared.errors import ForbiddenError, UnreachableError
from shared.ports import Message, Rejected
from tests.town import Town, alert_document, plan_document

ALERT = json.dumps(alert_document()).encode()
ABORT = json.dumps({"action": "abort", "rollout": "shop-2.4", "by": "ada"}).encode()


@pytest.fixture
def town() -> Town:
    return Town()


async def test_an_alert_is_accepted_once_the_queue_has_it(town: Town) -> None:
    status, told = await api.post(town.world, "alerts", None, ALERT)

    assert status == 202
    assert town.world.queues.posted == [("alerts", ALERT, told["queued"])]
    assert not town.world.store.records


async def test_a_webhook_that_is_tried_again_is_one_alert_and_a_person_is_not(town: Town) -> None:
    for queue, body in (("alerts", ALERT), ("alerts", ALERT), ("commands", ABORT)) * 2:
        await api.post(town.world, queue, None, body)  # type: ignore[arg-type]  # both are queues

    ids = [(queue, id_) for queue, _, id_ in town.world.queues.posted]
    assert len({id_ for queue, id_ in ids if queue == "alerts"}) == 1
    assert len({id_ for queue, id_ in ids if queue == "commands"}) == 2


@pytest.mark.parametrize(
    ("body", "words"),
    [(b"", "body"), (b'{"schemaId": "AIP"}', "schemaId"), (b"x" * 300_000, "300000 bytes")],
)
async def test_a_body_that_is_no_alert_is_told_why(town: Town, body: bytes, words: str) -> None:
    status, told = await api.post(town.world, "alerts", None, body)

    assert status == 400
    assert words in told["error"]
    assert town.world.queues.posted == []


async def test_a_queue_that_is_away_is_no_success(town: Town) -> None:
    """The sender tries again at 503, and gives up at anything it takes for an answer."""

    async def away(port: str, method: str, stage: Stage) -> None:
        if method == "send":
            raise UnreachableError("could not send to the queue alerts: connection refused")

    town.world.queues.hook = away
    status, told = await api.post(town.world, "alerts", None, ALERT)

    assert status == 503
    assert "connection refused" in told["error"]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_caller_without_the_role_posts_nothing(town: Town, status: int) -> None:
    town.world.doors["alerts"].refusal = ForbiddenError("no such role", status)

    refused = await api.post(town.world, "alerts", "Bearer x", ALERT)
    allowed = await api.post(town.world, "commands", None, ABORT)

    assert refused == (status, {"error": "no such role"})
    assert allowed[0] == 202


async def test_a_rejected_message_is_sent_again_after_the_mend(town: Town) -> None:
    """The deployment did not allow the profile; now it does, and nobody types the plan again."""
    elsewhere = plan_document(profile=plan_document()["profile"].replace("shop", "cart"))
    body = json.dumps({"action": "start", "by": "ci", "plan": elsewhere}).encode()
    await inbox.receive_command(town.world, Message("commands/7", body, 0.0))
    [entry] = (await api.rejected(town.world))["rejected"]

    status, told = await api.resend(town.world, None, entry["key"])

    assert (status, told["queue"]) == (202, "commands")
    [(queue, sent, id_)] = town.world.queues.posted
    assert (queue, sent) == ("commands", body)
    assert id_ != entry["id"]


async def test_a_stale_promote_sent_again_is_decided_anew(town: Town) -> None:
    """It is a new message: the refusal of the first one does not answer for it."""
    await town.start()
    await town.reach(Phase.BAKING, 1)
    await town.command("promote", from_step=2)
    [entry] = (await api.rejected(town.world))["rejected"]
    await town.reach(Phase.BAKING, 2)

    await api.resend(town.world, None, entry["key"])
    [(_, body, id_)] = town.world.queues.posted
    await inbox.receive_command(town.world, Message(id_, body, 0.0))

    assert (await town.rollout()).step == 2


async def test_a_message_nobody_rejected_cannot_be_sent_again(town: Town) -> None:
    assert (await api.resend(town.world, None, "0" * 64))[0] == 404
    town.world.doors["commands"].refusal = ForbiddenError("no token", 401)
    assert (await api.resend(town.world, None, "0" * 64))[0] == 401


async def test_a_sample_without_its_bytes_is_not_sent_again(town: Town) -> None:
    await town.world.store.reject(Rejected(Message("samples/1", b"", 0.0), "samples", "bad", 0.0))
    [entry] = (await api.rejected(town.world))["rejected"]

    status, told = await api.resend(town.world, None, entry["key"])

    assert (status, town.world.queues.posted) == (409, [])
    assert "only its sender" in told["error"]


async def test_an_abort_the_broker_gave_up_on_is_obeyed_after_the_outage(town: Town) -> None:
    """Ten deliveries burn in minutes; the dead-letter queue keeps the eleventh."""
    await town.start()
    await town.reach(Phase.BAKING, 1)

    await inbox.receive_dead(town.world, Message("commands/9", ABORT, 0.0, 11), "commands")

    assert (await town.rollout()).phase is Phase.RETREATING


@pytest.mark.parametrize("action", ["start", "promote", "resume"])
async def test_what_would_rise_comes_too_late_from_the_dead(town: Town, action: str) -> None:
    """Hours have passed: it is kept, to be sent again by whoever still wants it."""
    body: dict[str, object] = {"action": action, "rollout": "shop-2.4", "by": "ada"}
    if action == "start":
        body = {"action": action, "by": "ci", "plan": plan_document(name="late")}
    if action == "promote":
        body["from_step"] = 1
    await town.start()
    await town.reach(Phase.BAKING, 1)
    before = await town.rollout()

    message = Message("commands/9", json.dumps(body).encode(), 0.0, 11)
    await inbox.receive_dead(town.world, message, "commands")

    [entry] = (await api.rejected(town.world))["rejected"]
    assert "comes too late, send it again" in entry["reason"]
    assert await town.rollout() == before


async def test_a_message_of_a_thousand_deliveries_waits_like_any_other(town: Town) -> None:
    async def away(port: str, method: str, stage: Stage) -> None:
        raise UnreachableError("503")

    town.world.store.hook = away
    with pytest.raises(UnreachableError):
        await inbox.receive_dead(town.world, Message("commands/9", ABORT, 0.0, 5000), "commands")

    assert town.world.clock.slept_s == [20.0]


async def test_a_dead_message_waits_for_a_world_that_is_away(town: Town) -> None:
    async def away(port: str, method: str, stage: Stage) -> None:
        raise UnreachableError("503")

    town.world.store.hook = away
    with pytest.raises(UnreachableError):
        await inbox.receive_dead(town.world, Message("commands/9", ABORT, 0.0, 11), "commands")

    assert town.world.clock.slept_s == [20.0]


async def test_what_no_delivery_can_handle_is_kept_with_its_error(town: Town) -> None:
    await town.start()

    async def broken(port: str, method: str, stage: Stage) -> None:
        if method == "load":
            raise KeyError("phase")

    town.world.store.hook = broken
    await inbox.receive_dead(town.world, Message("commands/9", ABORT, 0.0, 11), "commands")

    [entry] = (await api.rejected(town.world))["rejected"]
    assert entry["reason"] == "every delivery failed, at last with KeyError: 'phase'"


async def test_of_a_message_no_row_could_hold_the_beginning_is_kept(town: Town) -> None:
    body = b"x" * 2_000_000

    await inbox.receive_command(town.world, Message("commands/9", body, 0.0))

    [kept] = await town.world.store.rejected()
    assert len(kept.message.body) == inbox.KEPT_BYTES
    assert "2000000 bytes" in kept.reason
    assert "sha256" in kept.reason
