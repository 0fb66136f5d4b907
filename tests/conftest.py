"""Which tests go first: those that mostly wait, so that the others fill the time beside them."""

import pytest

WAITING = ("tests/stories", "tests/faults")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Stories and schedules before the rest; otherwise in the order they were found."""
    items.sort(key=lambda item: not item.nodeid.startswith(WAITING))
