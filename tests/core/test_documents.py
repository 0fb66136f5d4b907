"""Documents have not parted from the code: what is drawn from it, and what speaks of it."""

import importlib.util
import json
import re
from pathlib import Path
from types import ModuleType

import pytest
import yaml

from cli.main import app
from shared.core.model import Phase
from shared.wire import Ask, read_command, read_plan

ROOT = Path(__file__).parents[2]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("name", ["state-machine.md", "plan.schema.json"])
def test_the_document_is_what_the_code_says(name: str) -> None:
    """`make docs` mends a failure."""
    assert (ROOT / "docs" / name).read_text() == generator().DOCUMENTS[name]()


README = (ROOT / "README.md").read_text()


def block(language: str) -> str:
    """The README's first block in a language."""
    found = re.search(rf"```{language}\n(.*?)```", README, re.DOTALL)
    assert found is not None
    return found[1]


def test_the_plan_in_the_readme_is_a_plan() -> None:
    document = yaml.safe_load(block("yaml").replace("…", "x"))

    assert read_plan(json.dumps(document).encode()).name == "checkout-2.4"


def test_the_message_in_the_readme_is_a_command() -> None:
    said = read_command(block("json").encode())

    assert isinstance(said, Ask)
    assert said.rollout == "shop-1.1"


def test_the_plan_of_the_tour_is_a_plan() -> None:
    document = yaml.safe_load((ROOT / "examples" / "plan.yaml").read_text())

    assert f"linnet hold {read_plan(json.dumps(document).encode()).name}" in README


def test_every_command_of_the_tour_exists() -> None:
    known = {
        info.name or info.callback.__name__ for info in app.registered_commands if info.callback
    }
    named = set(re.findall(r"\.venv/bin/linnet (\w+)", README))

    assert len(named) > 6
    assert named <= known


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert set(re.findall(r"make (demo|up|test|docs)", README)) <= targets
    assert {"demo", "test"} <= targets


def test_every_phase_is_explained() -> None:
    assert all(phase in README for phase in Phase)


@pytest.mark.parametrize("document", ["README.md", "docs/architecture.md"])
def test_every_file_that_is_named_exists(document: str) -> None:
    text = (ROOT / document).read_text()
    links = re.findall(r"\]\(([^):#]+)\)", text)
    paths = re.findall(r"`((?:shared|controllers|tests|docs)/[a-z_/]+\.(?:py|md|json))`", text)
    base = (ROOT / document).parent

    assert links
    assert not [link for link in links if not (base / link).exists()]
    assert not [path for path in paths if not (ROOT / path).exists()]
