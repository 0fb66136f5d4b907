"""Faults are told by stories, not by logs; whoever tests after us wants the logs again."""

import logging
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def the_logs_come_back() -> Iterator[None]:
    logger = logging.getLogger("controllers")
    level = logger.level
    yield
    logger.setLevel(level)
