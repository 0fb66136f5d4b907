"""What `make up` promises a reader: the example plan fits the world, and a shell can source it."""

import json
import subprocess
from pathlib import Path

import yaml

from sandbox.arm_profile import parse_id
from sandbox.local import LocalWorld
from sandbox.scene import EXAMPLE, Casting, Scene
from sandbox.up import operator_environment, write_environment
from shared.settings import Settings
from shared.wire import read_plan


def test_the_example_plan_is_about_the_product_that_up_starts() -> None:
    """Profile, endpoints, versions and alert are those of the scene `shop`."""
    written = yaml.safe_load(EXAMPLE.read_text(encoding="utf-8"))
    world = LocalWorld()
    assert {**Scene(world, Casting("shop")).plan(), "name": written["name"]} == written
    plan = read_plan(json.dumps(written).encode())
    allowed = Settings(allowed_profiles=(world.environment()["ALLOWED_PROFILES"],))
    assert allowed.allows_profile(plan.profile)
    assert parse_id(plan.profile).profile == "shop"


def test_a_shell_that_sources_the_file_knows_where_everything_is(tmp_path: Path) -> None:
    """The connection string holds semicolons and must survive."""
    world = LocalWorld()
    write_environment(world, tmp_path / "env")
    script = f'. "{tmp_path}/env"; echo "$ServiceBus"; echo "$COMMANDS_QUEUE"'
    shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    wanted = operator_environment(world)
    assert shown.stdout.split() == [wanted["ServiceBus"], wanted["COMMANDS_QUEUE"]]
