"""The HTTP and DNS half of the local Azure: one server on 127.0.0.1 and one DNS answerer.

    async with LocalAzure(LocalOptions(workspaces=(WORKSPACE,))) as azure:
        azure.traffic.put(PROFILE_ID, {...})
        ...                                  # clients use azure.environment()

Everything here is a stand-in; each part's docstring says what it proves and what it does not.
Together they prove that the real SDK clients, over real sockets, work with our code.
"""

from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Final, Self

from aiohttp import web

from sandbox import arm_http, entra, identity, logs_http
from sandbox.arm import TrafficManager
from sandbox.clock import Clock, utc_now
from sandbox.control import Control
from sandbox.dns import LOOPBACK, DnsAnswerer
from sandbox.entra import Entra
from sandbox.faults import Faults
from sandbox.identity import Identity
from sandbox.logs import WorkspaceLogs

DEFAULT_WORKSPACE: Final = "00000000-0000-0000-0000-0000000000aa"
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
_SHUTDOWN_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class LocalOptions:
    """How the local Azure is set up; ports of 0 mean any free one, times are in seconds."""

    clock: Clock = utc_now
    seed: int = 0
    probe_after_s: float = 0.0
    propagation_s: float = 0.0
    retention_s: float = 7200.0
    workspaces: tuple[str, ...] = (DEFAULT_WORKSPACE,)
    hosts: dict[str, str] = field(default_factory=dict)
    port: int = 0
    dns_port: int = 0


class LocalAzure:
    """Runs while it is entered; `base_url` and `dns_port` are known from then on."""

    def __init__(self, options: LocalOptions | None = None) -> None:
        self._options = chosen = options or LocalOptions()
        self.identity = Identity()
        self.entra = Entra()
        self.faults = Faults(chosen.clock)
        self.traffic = TrafficManager(
            clock=chosen.clock,
            seed=chosen.seed,
            probe_after_s=chosen.probe_after_s,
            propagation_s=chosen.propagation_s,
        )
        self.logs = WorkspaceLogs(
            chosen.workspaces, clock=chosen.clock, retention_s=chosen.retention_s
        )
        self.dns = DnsAnswerer(self.traffic, hosts=chosen.hosts, port=chosen.dns_port)
        self.base_url = ""
        self._stack = AsyncExitStack()

    @property
    def dns_port(self) -> int:
        """The UDP port that DNS questions are answered on."""
        return self.dns.port

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.logs)
            await stack.enter_async_context(self.dns)
            runner = web.AppRunner(
                self._app(), access_log=None, shutdown_timeout=_SHUTDOWN_S, keepalive_timeout=60
            )
            await runner.setup()
            stack.push_async_callback(runner.cleanup)
            stack.callback(self.faults.release)
            await web.TCPSite(runner, LOOPBACK, self._options.port).start()
            self.base_url = f"http://{LOOPBACK}:{runner.addresses[0][1]}"
            self._stack = stack.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._stack.aclose()

    def environment(self) -> dict[str, str]:
        """The settings that point the product's clients here."""
        return {
            "ARM_ENDPOINT": self.base_url,
            "LOGS_ENDPOINT": self.base_url,
            "IDENTITY_ENDPOINT": self.base_url + identity.PATH,
            "IDENTITY_HEADER": self.identity.header_secret,
            "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential",
        }

    def _app(self) -> web.Application:
        app = web.Application(
            client_max_size=MAX_BODY_BYTES, middlewares=[self.faults.middleware()]
        )
        identity.add_routes(app, self.identity)
        entra.add_routes(app, self.entra)
        arm_http.add_routes(app, self.traffic, self.identity)
        logs_http.add_routes(app, self.logs, self.identity)
        Control(self.traffic, self.logs, self.faults).add_routes(app)
        return app
