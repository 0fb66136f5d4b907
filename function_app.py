"""The triggers. Each body is one call; everything else is in the controllers."""

import asyncio
import json
import logging
from datetime import UTC
from functools import cache
from typing import List  # noqa: UP035  # see Messages

import azure.functions as func

from controllers import api, inbox
from controllers.samples import receive_samples
from controllers.tick import tick as run_tick
from shared.cloud import wiring
from shared.ports import Message, World
from shared.settings import Settings

# The worker library knows batches by this spelling only.
Messages = List[func.ServiceBusMessage]  # noqa: UP006

PAUSE_S = 20.0

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)

logging.getLogger("azure").setLevel(logging.WARNING)


@cache
def world() -> World:
    """The world of this process, built at the first call and not at import."""
    return wiring.world(Settings())


async def ready() -> World:
    """The world, for messages: where it cannot be built, nothing is given back in a hurry."""
    try:
        return world()
    except Exception:
        await asyncio.sleep(PAUSE_S)
        raise


def message(queue: str, trigger: func.ServiceBusMessage) -> Message:
    """Id and bytes as the broker gave them; with BINARY data nothing of the body overlays them.

    The queue is part of the id: two senders who number their messages must not meet.
    """
    enqueued = trigger.enqueued_time_utc  # in UTC, but naive
    return Message(
        id=f"{queue}/{trigger.message_id or trigger.sequence_number}",
        body=trigger.get_body(),
        enqueued_at_s=enqueued.replace(tzinfo=UTC).timestamp() if enqueued else 0.0,
        deliveries=trigger.delivery_count or 1,
    )


def authorization(req: func.HttpRequest) -> str | None:
    """What the caller shows besides the function key."""
    shown = req.headers.get("Authorization")
    return None if shown is None else str(shown)


def answer(body: object, status: int = 200) -> func.HttpResponse:
    """JSON over HTTP."""
    text = json.dumps(body, indent=2)
    return func.HttpResponse(text, status_code=status, mimetype="application/json")


@app.timer_trigger("timer", "%TICK_SCHEDULE%", use_monitor=False)
async def tick(timer: func.TimerRequest) -> None:
    """Every live rollout gets its turn."""
    del timer
    await run_tick(world())


@app.service_bus_queue_trigger(
    "msg", "ServiceBus", "%COMMANDS_QUEUE%", data_type=func.DataType.BINARY
)
async def commands(msg: func.ServiceBusMessage) -> None:
    """start, promote, hold, resume, abort."""
    await inbox.receive_command(await ready(), message("commands", msg))


@app.service_bus_queue_trigger(
    "msg", "ServiceBus", "%ALERTS_QUEUE%", data_type=func.DataType.BINARY
)
async def alerts(msg: func.ServiceBusMessage) -> None:
    """Alerts of the common schema."""
    await inbox.receive_alert(await ready(), message("alerts", msg))


@app.service_bus_queue_trigger(
    "msg",
    "ServiceBus",
    "%COMMANDS_QUEUE%/$deadletterqueue",
    data_type=func.DataType.BINARY,
)
async def dead_commands(msg: func.ServiceBusMessage) -> None:
    """Commands the broker gave up on."""
    await inbox.receive_dead(await ready(), message("commands", msg), "commands")


@app.service_bus_queue_trigger(
    "msg", "ServiceBus", "%ALERTS_QUEUE%/$deadletterqueue", data_type=func.DataType.BINARY
)
async def dead_alerts(msg: func.ServiceBusMessage) -> None:
    """Alerts the broker gave up on."""
    await inbox.receive_dead(await ready(), message("alerts", msg), "alerts")


@app.service_bus_queue_trigger(
    "msgs",
    "ServiceBus",
    "%SAMPLES_QUEUE%",
    data_type=func.DataType.BINARY,
    cardinality=func.Cardinality.MANY,
)
async def samples(msgs: Messages) -> None:
    """Production requests, to be replayed in the shadow."""
    await receive_samples(await ready(), [message("samples", msg) for msg in msgs])


@app.route("samples", methods=["POST"])
async def post_sample(req: func.HttpRequest) -> func.HttpResponse:
    """A sample, from whoever cannot speak to the queue."""
    status, told = await api.post(world(), "samples", authorization(req), req.get_body())
    return answer(told, status)


@app.route("alerts", methods=["POST"])
async def post_alert(req: func.HttpRequest) -> func.HttpResponse:
    """An action group's webhook."""
    status, told = await api.post(world(), "alerts", authorization(req), req.get_body())
    return answer(told, status)


@app.route("rollouts", methods=["POST"])
async def post_command(req: func.HttpRequest) -> func.HttpResponse:
    """A command, as the commands queue takes it."""
    status, told = await api.post(world(), "commands", authorization(req), req.get_body())
    return answer(told, status)


@app.route("rejected/{key}", methods=["POST"])
async def resend(req: func.HttpRequest) -> func.HttpResponse:
    """A rejected message once more."""
    status, told = await api.resend(world(), authorization(req), req.route_params["key"])
    return answer(told, status)


@app.route("alerts", methods=["GET"])
async def alerts_heard(req: func.HttpRequest) -> func.HttpResponse:
    """Alerts and who listened."""
    del req
    return answer(await api.alerts(world()))


@app.route("rollouts/{name}/replay", methods=["GET"])
async def replay(req: func.HttpRequest) -> func.HttpResponse:
    """A rollout's history, decided again."""
    name = req.route_params["name"]
    found = await api.replay(world(), name)
    return answer(found or {"error": f"there is no rollout {name}"}, 200 if found else 404)


@app.route("rollouts", methods=["GET"])
async def rollouts(req: func.HttpRequest) -> func.HttpResponse:
    """Every rollout."""
    del req
    return answer(await api.rollouts(world()))


@app.route("rollouts/{name}", methods=["GET"])
async def rollout(req: func.HttpRequest) -> func.HttpResponse:
    """One rollout with its reasons, and where it turned."""
    name = req.route_params["name"]
    found = await api.rollout(world(), name)
    return answer(found or {"error": f"there is no rollout {name}"}, 200 if found else 404)


@app.route("rollouts/{name}/history", methods=["GET"])
async def history(req: func.HttpRequest) -> func.HttpResponse:
    """A page of a rollout's history, looks included."""
    name, after = req.route_params["name"], req.params.get("after", "0")
    status, told = await api.history(world(), name, after)
    return answer(told, status)


@app.route("rejected", methods=["GET"])
async def rejected(req: func.HttpRequest) -> func.HttpResponse:
    """Messages that could not be used."""
    del req
    return answer(await api.rejected(world()))


@app.route("health", methods=["GET"], auth_level=func.AuthLevel.ANONYMOUS)
async def health(req: func.HttpRequest) -> func.HttpResponse:
    """Whether this deployment is at work."""
    del req
    healthy, told = await api.health(world())
    return answer(told, 200 if healthy else 503)
