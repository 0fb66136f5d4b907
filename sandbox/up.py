"""The local Azure kept running, with one product and its users, to play with until Ctrl-C.

Writes .local/env, so that `source .local/env` tells the `linnet` command where everything is.
"""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.table import Table

from sandbox.local import LOCAL, ROOT, LocalWorld
from sandbox.scene import Casting, Scene
from sandbox.services import BEHAVIOUR_PATH

ENV_FILE: Final = LOCAL / "env"


async def up(console: Console) -> None:
    """Run until cancelled."""
    async with AsyncExitStack() as stack:
        console.print("Starting the local Azure …")
        world = await stack.enter_async_context(LocalWorld())
        shop = await stack.enter_async_context(Scene(world, Casting("shop")))
        write_environment(world, ENV_FILE)
        stack.callback(ENV_FILE.unlink, missing_ok=True)
        _print(console, world, shop)
        await asyncio.Event().wait()


def operator_environment(world: LocalWorld) -> dict[str, str]:
    """What the operator's command must be told: the bus, its queues, and where HTTP answers."""
    settings = world.environment()
    names = ("ServiceBus", "COMMANDS_QUEUE", "ALERTS_QUEUE")
    return {**{name: settings[name] for name in names}, "LINNET_URL": world.url}


def write_environment(world: LocalWorld, path: Path) -> None:
    """The same as a file for a shell to source."""
    lines = [f"export {name}='{value}'" for name, value in operator_environment(world).items()]
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def _print(console: Console, world: LocalWorld, shop: Scene) -> None:
    places = Table.grid(padding=(0, 2))
    services = shop.services
    for name, where in (
        ("Linnet", f"{world.url}/api/rollouts"),
        ("Service Bus", world.broker.address),
        ("ARM and logs", world.azure.base_url),
        ("DNS", f"127.0.0.1:{world.azure.dns_port} (UDP), shop.trafficmanager.test"),
        ("stable", f"http://{services.stable.host}:{services.port}/"),
        ("canary", f"http://{services.canary.host}:{services.port}/"),
        ("log", str(world.options.log.relative_to(ROOT))),
    ):
        places.add_row(f"[bold]{name}", where)
    console.print(places)
    canary = f"http://{services.canary.host}:{services.port}{BEHAVIOUR_PATH}"
    console.print(
        "\nIn another terminal (give users 20 s to show what is normal):\n\n"
        f"  source {ENV_FILE.relative_to(ROOT)}\n"
        "  .venv/bin/linnet start examples/plan.yaml\n"
        "  .venv/bin/linnet list\n"
        "  .venv/bin/linnet hold shop-1.1 -m 'lunch'        # or: resume, abort\n"
        "  .venv/bin/linnet promote shop-1.1 --from-step 2\n"
        "  .venv/bin/linnet show shop-1.1\n\n"
        "Let the canary fail:\n\n"
        f"  curl -X PUT {canary} -d '{{\"error_rate\": 0.2}}'\n\n"
        "Ctrl-C ends it.",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
