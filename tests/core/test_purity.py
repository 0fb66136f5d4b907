"""The core imports itself and value modules of the standard library, nothing that acts."""

import ast
from pathlib import Path

CORE = Path(__file__).parents[2] / "shared" / "core"
VALUES = {
    *("collections", "dataclasses", "enum", "fractions", "functools", "hashlib", "hmac"),
    *("itertools", "json", "math", "re", "types", "typing"),
}


def imported(path: Path) -> set[str]:
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        if isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
    return names


def test_the_core_sees_only_itself_and_values() -> None:
    for path in CORE.glob("*.py"):
        foreign = {
            name
            for name in imported(path)
            if not name.startswith("shared.core") and name.split(".")[0] not in VALUES
        }
        assert not foreign, f"{path.name} imports {foreign}"
