"""Where stories on the real SDKs live: the local Azure, its store and bus, and whose time it is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from sandbox.azure import DEFAULT_WORKSPACE, LocalAzure
from sandbox.local import GROUP
from shared.settings import Settings

CALL_TIMEOUT_S = 2.0


class Hand:
    """A clock turned by hand, for the controllers and for the local Azure; sleeping turns it."""

    def __init__(self, at_s: float) -> None:
        self.at_s = float(int(at_s))

    def __call__(self) -> datetime:
        return datetime.fromtimestamp(self.at_s, UTC)

    def now_s(self) -> float:
        return self.at_s

    async def sleep(self, seconds: float) -> None:
        self.at_s += seconds


@dataclass(frozen=True, slots=True)
class Surroundings:
    """Where a case lives: its time is the machine's if there is no clock, its store its own."""

    azure: LocalAzure
    tables_connection: str
    service_bus: str = ""
    clock: Hand | None = None
    call_timeout_s: float = CALL_TIMEOUT_S
    tables_prefix: str = ""

    @property
    def settings(self) -> Settings:
        return Settings(
            allowed_profiles=(GROUP,),
            allowed_workspaces=(DEFAULT_WORKSPACE,),
            arm_endpoint=self.azure.base_url,
            logs_endpoint=self.azure.base_url,
            tables_connection=self.tables_connection,
            tables_prefix=self.tables_prefix or f"t{uuid4().hex[:12]}",
            call_timeout_s=self.call_timeout_s,
            servicebus=self.service_bus,
        )


@asynccontextmanager
async def identified(azure: LocalAzure) -> AsyncIterator[None]:
    """The process has the managed identity of the local Azure, as its environment says."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in azure.environment().items():
            patch.setenv(name, value)
        yield
