"""The operator's command: posts to the commands queue, as any Service Bus client would.

Reads where things are from the environment: the queue from the settings of the deployment
(ServiceBus, COMMANDS_QUEUE), what HTTP shows from LINNET_URL and LINNET_KEY, and a token for a
deployment that asks for an app role from LINNET_TOKEN.
"""

import asyncio
import getpass
import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from uuid import uuid4

import aiohttp
import typer
import yaml
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from cli import shown
from shared.cloud.wiring import only_bus
from shared.errors import LinnetError
from shared.planfile import PlanIn
from shared.settings import Settings
from shared.wire import read_command, read_plan

app = typer.Typer(
    no_args_is_help=True, add_completion=False, help="Unattended canary releases for Azure."
)
console = Console()

Name = Annotated[str, typer.Argument(help="The rollout's name.")]
Reason = Annotated[str, typer.Option("--reason", "-m", help="Why; kept in the history.")]
# How much of a message's key is shown, and is enough to name it.
SHORT = 12


class Unambiguous(yaml.SafeLoader):
    """YAML in which a field that is given twice is an error: else the last would win."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """An object as it stands, before another's fields are merged into it."""
        node: yaml.MappingNode = super().compose_mapping_node(anchor)
        names = Counter(key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode))
        again = [name for name, times in names.items() if times > 1]
        if again:
            raise yaml.MarkedYAMLError(
                problem=f"{again[0]} is given twice", problem_mark=node.start_mark
            )
        return node


@app.command()
def start(
    plan: Annotated[Path, typer.Argument(exists=True, help="A plan in YAML or JSON.")],
    reason: Reason = "",
    *,
    dry_run: Annotated[bool, typer.Option(help="Stop after preflight.")] = False,
) -> None:
    """Post a plan."""
    document = _document(plan)
    _post({"action": "start", "plan": document, "reason": reason, "dry_run": dry_run})


@app.command()
def check(plan: Annotated[Path, typer.Argument(exists=True)]) -> None:
    """Say whether a plan can be read, without posting it."""
    text = json.dumps(_document(plan))
    found = _or_exit(lambda: read_plan(text.encode()))
    console.print(f"{plan}: {found.name}, {len(found.steps)} steps on {found.profile}")


@app.command()
def schema() -> None:
    """Print the JSON Schema of a plan."""
    typer.echo(json.dumps(PlanIn.model_json_schema(), indent=2))


@app.command()
def promote(
    name: Name,
    from_step: Annotated[int, typer.Option(help="The step you see it at, counted from 1.")],
    reason: Reason = "",
) -> None:
    """Let a rollout go on from the step you see it at."""
    _post({"action": "promote", "rollout": name, "from_step": from_step, "reason": reason})


@app.command()
def hold(name: Name, reason: Reason = "") -> None:
    """Keep a rollout where it is."""
    _post({"action": "hold", "rollout": name, "reason": reason})


@app.command()
def resume(name: Name, reason: Reason = "") -> None:
    """Lift a hold."""
    _post({"action": "resume", "rollout": name, "reason": reason})


@app.command()
def abort(name: Name, reason: Reason = "") -> None:
    """Take all traffic off the canary."""
    _post({"action": "abort", "rollout": name, "reason": reason})


@app.command("list")
def list_() -> None:
    """Show every rollout in a line."""
    table = Table("rollout", "phase", "step", "percent", "why", box=None)
    for row in _get("rollouts")["rollouts"]:
        step = f"{row['step']}/{row['of_steps']}"
        table.add_row(
            row["name"], row["phase"], step, f"{row['wanted_percent']:g}", row["sentence"]
        )
    console.print(table)


@app.command()
def show(name: Name) -> None:
    """Show one rollout: where it is, why, its last verdict's numbers, and how it came there."""
    for part in shown.rollout(_get(f"rollouts/{name}")):
        console.print(part, soft_wrap=isinstance(part, Text))


@app.command()
def history(
    name: Name,
    after: Annotated[int, typer.Option(min=0, help="Begin after the row of this number.")] = 0,
) -> None:
    """Show what happened to a rollout, looks included, a page at a time."""
    page = _get(f"rollouts/{name}/history?after={after}")
    rows = page["history"]
    console.print(shown.history(rows))
    if rows and rows[-1]["number"] < page["rows"]:
        console.print(f"go on with: linnet history {name} --after {rows[-1]['number']}")


@app.command()
def shadow(name: Name) -> None:
    """Show what a dark launch found: where the canary's answers differ, and what is noise."""
    found = _get(f"rollouts/{name}")
    seen = found.get("shadow")
    if seen is None:
        console.print(f"[red]the plan of {escape(name)} has no dark launch[/]")
        raise typer.Exit(1)
    console.print(f"[bold]{found['name']}[/] {found['phase']}: {escape(found['sentence'])}")
    console.print(_counted(seen), soft_wrap=True)
    table = Table("canary", "stable", "where", "kinds", "for example", box=None)
    for row in seen["places"]:
        where = f"{row['path']} (noise)" if row["path"] in seen["noise"] else row["path"]
        shares = (f"{row[arm]:.2f} %" for arm in ("canary_percent", "stable_percent"))
        table.add_row(*shares, *map(escape, (where, ", ".join(row["kinds"]), row["example"])))
    if seen["places"]:
        console.print(table)
    if seen["elsewhere"]:
        console.print(f"and {seen['elsewhere']} differences at places that are not kept")


@app.command()
def rejected() -> None:
    """Show messages that could not be used, and why."""
    table = Table("at", "queue", "key", "reason", box=None)
    for row in _get("rejected")["rejected"]:
        table.add_row(row["at"][:19], row["queue"], row["key"][:SHORT], row["reason"])
    console.print(table)


@app.command()
def resend(
    key: Annotated[str, typer.Argument(help="The message's key, or how it begins, as listed.")],
) -> None:
    """Post a rejected message again, after what was wrong has been mended."""
    keys = [row["key"] for row in _get("rejected")["rejected"] if row["key"].startswith(key)]
    if len(keys) != 1:
        console.print(f"[red]{len(keys)} rejected messages have a key like {key}[/]")
        raise typer.Exit(1)
    told = _call("POST", f"rejected/{keys[0]}")
    console.print(f"posted to {told['queue']} as message {told['queued']}")


@app.command()
def alerts() -> None:
    """Show the alerts that were heard, and who listened."""
    table = Table("last fired", "since", "severity", "rule", "listeners", box=None)
    for row in _get("alerts")["alerts"]:
        last = "resolved" if row["resolved"] else row["last"][:19]
        who = ", ".join(row["listeners"]) or "nobody"
        severity = "" if row["severity"] is None else f"Sev{row['severity']}"
        table.add_row(last, row["since"][:19], severity, row["rule"], who)
    console.print(table)


@app.command()
def replay(name: Name) -> None:
    """Decide a rollout's stored history again, and say whether it gives the stored record."""
    found = _get(f"rollouts/{name}/replay")
    if not found["reproduced"]:
        console.print(f"[red]{name}: {found['difference']}[/]", soft_wrap=True)
        raise typer.Exit(1)
    console.print(f"{name}: {found['rows']} rows, decided again, give the stored record")


def _counted(seen: dict[str, Any]) -> str:
    """What the samples of a dark launch came to, in one line."""
    return (
        f"{seen['samples']} samples compared, {seen['noise_samples']} of them with stable too: "
        f"{seen['different']} differ, {seen['unreachable']} without an answer; "
        f"{seen['skipped']} skipped"
    )


def _document(plan: Path) -> Any:
    """What the file says, if JSON can say it too."""
    try:
        document = yaml.load(plan.read_text(encoding="utf-8"), Loader=Unambiguous)  # noqa: S506  # safe
        json.dumps(document, default=_unquoted)
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        console.print(f"[red]{plan} is no plan:[/] {escape(str(error))}", soft_wrap=True)
        raise typer.Exit(1) from None
    return document


def _unquoted(value: object) -> object:
    raise TypeError(f"{value} is no text to YAML, but a {type(value).__name__}: put it in quotes")


def _post(command: dict[str, Any]) -> None:
    body = json.dumps({**command, "by": getpass.getuser()}).encode()
    _or_exit(lambda: read_command(body))
    settings = Settings()

    message_id = str(uuid4())

    async def send() -> None:
        async with only_bus(settings) as queues:
            await queues.send(settings.commands_queue, body, message_id)

    _or_exit(lambda: asyncio.run(send()))
    console.print(f"{command['action']} posted as message {message_id}")


def _get(path: str) -> dict[str, Any]:
    return _call("GET", path)


def _call(method: str, path: str) -> dict[str, Any]:
    url = os.environ.get("LINNET_URL", "http://127.0.0.1:7071").rstrip("/")
    headers = {"x-functions-key": os.environ.get("LINNET_KEY", "")}
    if token := os.environ.get("LINNET_TOKEN"):
        headers["Authorization"] = f"Bearer {token}"

    async def fetch() -> dict[str, Any]:
        timeout = aiohttp.ClientTimeout(total=30)
        async with (
            aiohttp.ClientSession(timeout=timeout, headers=headers) as session,
            session.request(method, f"{url}/api/{path}") as response,
        ):
            found: dict[str, Any] = await response.json()
            return found

    try:
        found = asyncio.run(fetch())
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        console.print(f"[red]{url} does not answer:[/] {error}")
        raise typer.Exit(1) from None
    if "error" in found:
        console.print(f"[red]{found['error']}[/]")
        raise typer.Exit(1)
    return found


def _or_exit[T](action: Callable[[], T]) -> T:
    try:
        return action()
    except LinnetError as error:
        console.print(f"[red]{error}[/]", soft_wrap=True)
        raise typer.Exit(1) from None


if __name__ == "__main__":
    app()
