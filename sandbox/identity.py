"""A stand-in for the managed-identity endpoint of App Service and Functions.

It issues tokens over plain HTTP as `2019-08-01` of that endpoint does and remembers them, so
that the other stand-ins can refuse a token that was never issued, has expired, or was asked
for with another audience.

It proves that our code asks for the right audience and uses the token it was given. It does
NOT prove anything about Entra ID: the tokens look like JWTs but are signed by nobody, no role
is ever checked, and every caller who knows the header secret is the same identity.
"""

import base64
import json
import secrets
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from urllib.parse import urlsplit
from uuid import uuid4

from aiohttp import web

from sandbox.clock import Clock, utc_now

API_VERSION: Final = "2019-08-01"
PATH: Final = "/msi/token"
MAX_TOKENS: Final = 1000


@dataclass(frozen=True, slots=True)
class Grant:
    """What one issued token is good for: an audience, until a moment."""

    audience: str
    expires: datetime


class Identity:
    """Issues tokens and knows them again.

    The clock defaults to real time and should mostly stay there: azure-identity caches tokens
    by its own clock, and a stand-in that lives in another year would have none that last.
    """

    def __init__(self, *, lifetime_s: float = 3600, clock: Clock = utc_now) -> None:
        self.header_secret = secrets.token_urlsafe(16)
        self.lifetime_s = lifetime_s
        self._clock = clock
        self._grants: OrderedDict[str, Grant] = OrderedDict()

    def issue(self, resource: str, client_id: str = "") -> tuple[str, Grant]:
        """Make and remember a token for *resource*, which becomes its audience."""
        now = self._clock()
        grant = Grant(_bare(resource), now + timedelta(seconds=self.lifetime_s))
        claims = {
            "aud": resource,
            "iss": "https://sts.stand-in.test/",
            "iat": int(now.timestamp()),
            "exp": int(grant.expires.timestamp()),
            "appid": client_id or "00000000-0000-0000-0000-000000000001",
            "jti": str(uuid4()),
        }
        head = _part({"typ": "JWT", "alg": "none"})
        token = f"{head}.{_part(claims)}.{secrets.token_urlsafe(32)}"
        self._grants[token] = grant
        if len(self._grants) > MAX_TOKENS:
            self._grants.popitem(last=False)
        return token, grant

    def accepts(self, token: str, audience: str) -> bool:
        """Whether *token* came from here, for *audience* (a last `/` aside), and still lives."""
        grant = self._grants.get(token)
        return (
            grant is not None
            and grant.audience == _bare(audience)
            and self._clock() < grant.expires
        )

    def revoke_all(self) -> None:
        """Forget every token, as if all had expired at once."""
        self._grants.clear()

    def bearer_of(self, request: web.Request, audience: str) -> bool:
        """Whether *request* carries `Authorization: Bearer` with a token for *audience*."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        return scheme.lower() == "bearer" and self.accepts(token.strip(), audience)


def _bare(audience: str) -> str:
    return audience.rstrip("/").lower()


def _part(claims: dict[str, object]) -> str:
    return base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()


def add_routes(app: web.Application, identity: Identity) -> None:
    """Serve the token endpoint of *identity* on *app*."""

    async def token(request: web.Request) -> web.Response:
        return _token(identity, request)

    app.router.add_get(PATH, token)


def _token(identity: Identity, request: web.Request) -> web.Response:
    if not secrets.compare_digest(
        request.headers.get("X-IDENTITY-HEADER", "").encode(), identity.header_secret.encode()
    ):
        return _refused(401, "X-IDENTITY-HEADER is missing or wrong")
    if request.query.get("api-version") != API_VERSION:
        return _refused(400, f"api-version must be {API_VERSION}")
    resource = request.query.get("resource", "")
    if urlsplit(resource).scheme not in {"http", "https"}:
        return _refused(400, f"resource must be the URI of a service, not {resource!r}")
    client_id = request.query.get("client_id", "")
    access_token, grant = identity.issue(resource, client_id)
    return web.json_response(
        {
            "access_token": access_token,
            "expires_on": str(int(grant.expires.timestamp())),
            "resource": resource,
            "token_type": "Bearer",
            "client_id": client_id,
        }
    )


def _refused(status: int, message: str) -> web.Response:
    return web.json_response({"statusCode": status, "message": message}, status=status)
