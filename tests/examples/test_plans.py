"""The plans of examples/ are plans."""

import json
from pathlib import Path

import pytest
import yaml

from shared.wire import read_plan

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


@pytest.mark.parametrize("path", sorted(EXAMPLES.glob("*.yaml")), ids=lambda path: path.name)
def test_the_example_is_a_plan(path: Path) -> None:
    """The strict reader takes it; only the one that says so begins in the dark."""
    plan = read_plan(json.dumps(yaml.safe_load(path.read_text())).encode())

    assert (plan.steps[0].shadow is not None) == (path.stem == "plan-dark")
