"""Which tests go first: those that mostly wait, so that the others fill the time beside them.

Schedules come after the stories: they take every core, and stories keep time. The order is kept
across workers with pytest-xdist's --no-loadscope-reorder only.
"""

import pytest

FIRST = ("tests/stories", "tests/faults")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Stories, then schedules, then the rest; otherwise in the order they were found."""
    items.sort(key=lambda item: [not item.nodeid.startswith(folder) for folder in FIRST])
