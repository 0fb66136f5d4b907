"""Where plain, unencrypted connections are allowed: this machine, and nowhere else.

A token or a key sent over plain http can be read by anyone on the way. So every endpoint is
https, or it names the loopback interface itself (127.0.0.0/8, ::1 or localhost): then it can only
be a local stand-in. Anything a parser could read in two ways is refused.
"""

from ipaddress import ip_address, ip_network
from urllib.parse import SplitResult, urlsplit

from azure.core.pipeline import PipelineRequest
from azure.core.pipeline.policies import SansIOHTTPPolicy

from shared.errors import RefusedError

_DEVELOPMENT_STORAGE = "usedevelopmentstorage=true"
_LOOPBACK = (ip_network("127.0.0.0/8"), ip_network("::1/128"))


class LoopbackHttp(SansIOHTTPPolicy):  # type: ignore[type-arg]  # any transport's requests
    """Lets the SDK send its token over http; attached only where `is_loopback` said yes."""

    def on_request(self, request: PipelineRequest) -> None:  # type: ignore[type-arg]  # as above
        """Tell the SDK's own https check to let this request pass."""
        request.context.options.setdefault("enforce_https", False)


def is_loopback(endpoint: str, setting: str) -> bool:
    """Whether this is plain http to this machine; False means https.

    Raises RefusedError for anything else, naming the setting.
    """
    parts = _parts(endpoint, setting)
    if parts.scheme == "https":
        return False
    if parts.scheme == "http" and names_this_machine(parts.hostname or ""):
        return True
    raise RefusedError(f"{setting} must be https://; http:// is for loopback hosts only")


def names_this_machine(host: str) -> bool:
    """Whether a bare host name or address is the loopback interface's own."""
    if host.casefold() == "localhost":
        return True
    try:
        address = ip_address(host)
    except ValueError:
        return False
    return any(address in network for network in _LOOPBACK if network.version == address.version)


def host_of(authority: str, setting: str) -> str:
    """The host of `host[:port]`. Raises RefusedError when it holds anything else."""
    parts = _parts(f"amqps://{authority}", setting)
    if parts.path.strip("/"):
        raise RefusedError(f"{setting} must be a host name, perhaps with a port")
    return parts.hostname or ""


def check_storage(connection: str) -> None:
    """A connection string holds an account key: it is for storage on this machine only.

    Raises RefusedError.
    """
    if connection.casefold() == _DEVELOPMENT_STORAGE:
        return
    parts = _pairs(connection, "TABLES_CONNECTION")
    tables = [value for key, value in parts if key in {"tableendpoint", "tablesecondaryendpoint"}]
    local = tables and all(is_loopback(each, "TABLES_CONNECTION") for each in tables)
    if not local:
        raise RefusedError(
            "TABLES_CONNECTION is for development storage on a loopback host;"
            " set TABLES_ENDPOINT, and the managed identity is used"
        )


def check_bus(connection: str) -> None:
    """The emulator's switch turns TLS off: it may stand beside loopback endpoints only.

    Raises RefusedError.
    """
    parts = _pairs(connection, "ServiceBus")
    endpoints = [value for key, value in parts if key in {"endpoint", "hostname"}]
    if not endpoints:
        raise RefusedError("ServiceBus must be a connection string with an Endpoint")
    emulator = any(key == "usedevelopmentemulator" for key, _ in parts)
    for endpoint in endpoints:
        authority = endpoint.partition("://")[2] or endpoint
        local = names_this_machine(host_of(authority, "ServiceBus"))
        if emulator and not local:
            raise RefusedError("ServiceBus: UseDevelopmentEmulator is for loopback hosts only")


def _pairs(connection: str, setting: str) -> list[tuple[str, str]]:
    """The parts of a connection string, keys in lower case; a key that comes twice, twice."""
    parts = [part.partition("=") for part in connection.strip().rstrip(";").split(";")]
    if not all(equals for _, equals, _ in parts):
        raise RefusedError(f"{setting} is not a connection string")
    return [(key.strip().casefold(), value.strip()) for key, _, value in parts]


def _parts(url: str, setting: str) -> SplitResult:
    """The URL in its parts; one that is not exactly scheme, host, port and path is refused."""
    refused = RefusedError(f"{setting} is not the URL of a service, such as https://host")
    if any(character.isspace() or not character.isprintable() for character in url):
        raise refused
    try:
        parts = urlsplit(url)
        plain = parts.netloc.casefold() in _authorities(parts.hostname or "", parts.port)
    except ValueError as error:
        raise refused from error
    if not plain or not parts.hostname or "\\" in url or parts.query or parts.fragment:
        raise refused
    return parts


def _authorities(host: str, port: int | None) -> set[str]:
    """The two ways to write host and port, so that nothing else hides beside them."""
    shown = f"[{host}]" if ":" in host else host
    return {shown, f"{shown}:{port}"}
