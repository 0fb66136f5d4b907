"""python -m sandbox demo [--headless] | up: the local Azure, with or without a script.

`demo` plays five rollouts and ends with 0 only if all ended as they should; `up` keeps the world
running until Ctrl-C. Children end with us, however we end.
"""

import argparse
import asyncio
import signal
import sys

from rich.console import Console

from sandbox.demo import demo
from sandbox.up import up

PIPED_COLUMNS = 120


def main() -> int:
    """Run what was asked for; returns the exit code."""
    options = _options()
    # Without a terminal there is nothing to draw on, and nobody whose width matters.
    console = Console(width=None if sys.stdout.isatty() else PIPED_COLUMNS)
    headless = options.command == "demo" and (options.headless or not console.is_terminal)
    try:
        return asyncio.run(_run(options.command, console, headless=headless))
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except asyncio.CancelledError:
        return 128 + signal.SIGTERM


async def _run(command: str, console: Console, *, headless: bool) -> int:
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    if command == "demo":
        return await demo(console, headless=headless)
    await up(console)
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    play = commands.add_parser("demo", help="five rollouts, each with its ending")
    play.add_argument("--headless", action="store_true", help="print decisions, draw nothing")
    commands.add_parser("up", help="keep the local Azure running to play with")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
