"""Documents that are drawn from the code have not parted from it."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

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
