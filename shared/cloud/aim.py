"""Where a replay goes, and what of it is sent: a sample chooses the path and never the host.

1. ARM alone says where to: the endpoint's target, with the protocol and port of the profile's
   monitor config (https on 443 where that only connects), and the Host header that probes send.
2. The path goes out byte for byte or not at all, and so does every header: nothing in them can
   end a line. Host, length and connection are ours to say.
3. A target that is, or whose name leads to, Azure's services of the machine itself is refused:
   they hand out the tokens of Linnet's own identity.
"""

import errno
import re
import socket
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from typing import Any

from yarl import URL

from shared.cloud.probe import Check
from shared.core.shadow import HOP_BY_HOP, Request
from shared.errors import RefusedError

_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Printable ASCII without # and the backslash, and no second slash: that would name a host.
_PATH = re.compile(r"/(?!/)[!\"$-\[\]-~]*")
_VALUE = re.compile(r"[\t -~\xa0-\ud7ff\ue000-\U0010ffff]*")
_DNS_NAME = re.compile(r"(?=.*[A-Za-z])[\w-]+(?:\.[\w-]+)*\.?", re.ASCII)
_PORT = re.compile(r":\d{1,5}$", re.ASCII)
_HTTPS_PORT = 443
_WIRE_SERVER = ip_address("168.63.129.16")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where requests go: `host` is a Host header unless empty, `name` the certificate's if known.

    Without a name the certificate is the URL's own host's.
    """

    url: URL
    host: str = ""
    name: str | None = None


def origin_of(check: Check) -> Origin:
    """The origin that a probe would ask. Raises RefusedError when it is no place for a request."""
    connects = check.protocol == "TCP"
    url = URL.build(
        scheme="https" if connects else check.protocol.lower(),
        host=_target(check.target),
        port=_HTTPS_PORT if connects else check.port,
    )
    host = next((value for name, value in check.headers if name.casefold() == "host"), "")
    bare = _PORT.sub("", host)
    if host and not _DNS_NAME.fullmatch(bare) and not _is_address(bare):
        raise RefusedError("the Host header of the monitor config is no host")
    return Origin(url, host, bare.rstrip(".") if _DNS_NAME.fullmatch(bare) else None)


def refusal(request: Request) -> str:
    """Why this request cannot be sent as it is; empty when it can. Repeats nothing of it."""
    if not _TOKEN.fullmatch(request.method) or request.method.upper() == "CONNECT":
        return "its method is none that can be replayed"
    if not _PATH.fullmatch(request.path):
        return "its path is none, or holds what no path can hold"
    if URL(f"http://host{request.path}", encoded=True).raw_path_qs != request.path:
        return "its path cannot be sent byte for byte"
    fields = request.headers.items()
    if not all(_TOKEN.fullmatch(name) and _VALUE.fullmatch(value) for name, value in fields):
        return "it has a header that no request can have"
    return ""


def url(origin: Origin, path: str) -> URL:
    """The address of a path that was not refused."""
    return URL(f"{origin.url.origin()}{path}", encoded=True)


def headers(origin: Origin, request: Request) -> dict[str, str]:
    """The headers as they are sent."""
    kept = {n: v for n, v in request.headers.items() if n.lower() not in HOP_BY_HOP}
    host = {"host": origin.host} if origin.host else {}
    return {**kept, **host, "accept-encoding": "identity"}


def open_socket(info: tuple[Any, ...]) -> socket.socket:
    """A socket for an address that a target's name led to. Raises OSError for a forbidden one."""
    family, kind, protocol, _, where = info
    if _is_forbidden(where[0]):
        raise PermissionError(errno.EACCES, "Azure's own services of this machine are no target")
    return socket.socket(family, kind, protocol)


def _target(text: str) -> str:
    if _DNS_NAME.fullmatch(text):
        return text
    try:
        return str(ip_address(text.strip("[]")))
    except ValueError:
        raise RefusedError("the endpoint's target is no host") from None


def _is_address(text: str) -> bool:
    try:
        return bool(ip_address(text.strip("[]")))
    except ValueError:
        return False


def _is_forbidden(text: str) -> bool:
    address = ip_address(text)
    inner = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (inner or address).is_link_local or (inner or address) == _WIRE_SERVER
