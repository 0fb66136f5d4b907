"""A stand-in for Entra ID as the signer of app tokens: keys, their document, tokens.

It signs tokens of version 1 and 2 with RSA keys of its own, serves their public halves where
Entra does, and rolls them over when told. Any tenant's document lists the same keys, as in Entra,
where most keys are common to all tenants: the issuer alone tells tenants apart.

It proves that our door fetches, keeps and renews keys over HTTP and checks what a token says
with a real signature on it. It does NOT prove anything about Entra's own side: nobody asks for a
token here and nobody is assigned a role (`issue` signs whatever is asked for), the claims are
those that are documented and no more, and keys come without the certificates Entra adds (`x5c`).
"""

import base64
import secrets
from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final
from uuid import uuid4

import jwt
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.clock import Clock, utc_now

TENANT: Final = "7a1e0000-0000-0000-0000-00000000000a"
AUDIENCE: Final = "c11e0000-0000-0000-0000-00000000000b"
ROLE: Final = "ActionGroupsSecureWebhook"
ACTION_GROUPS: Final = "461e8683-5575-4561-ac7f-899cc907d62a"
"""The application that Azure Monitor's action groups are to Entra."""
PATH: Final = "/{tenant:[0-9a-f-]{36}}/discovery/v2.0/keys"
MAX_KEYS: Final = 4
_V1, _V2 = "https://sts.windows.net", "https://login.microsoftonline.com"


@dataclass(frozen=True, slots=True)
class AppToken:
    """What a token shall say. Times are seconds from now; `claims` change or (None) remove any.

    `kid` is the key it names, when that is not the one it is signed with.
    """

    audience: str = AUDIENCE
    roles: tuple[str, ...] = (ROLE,)
    tenant: str = TENANT
    version: int = 2
    starts_s: float = -60
    expires_s: float = 3600
    kid: str = ""
    claims: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Key:
    kid: str
    private: rsa.RSAPrivateKey

    def published(self) -> dict[str, str]:
        numbers = self.private.public_key().public_numbers()
        return {
            "kty": "RSA",
            "use": "sig",
            "kid": self.kid,
            "x5t": self.kid,
            "n": _number(numbers.n),
            "e": _number(numbers.e),
            "issuer": f"{_V2}/{{tenantid}}/v2.0",
        }


class Entra:
    """Signs, and shows the keys to check it with. The first key is made when first needed.

    The clock should stay at real time: whoever checks a token reads the machine's.
    """

    def __init__(self, clock: Clock = utc_now) -> None:
        self.asked = 0
        """How often the keys were fetched."""
        self._clock = clock
        self._keys: deque[_Key] = deque(maxlen=MAX_KEYS)

    def issue(self, token: AppToken | None = None) -> str:
        """Sign a token with the newest key."""
        wanted = token or AppToken()
        key = self._newest()
        kid = wanted.kid or key.kid
        header = {"kid": kid, "x5t": kid} if wanted.version == 1 else {"kid": kid}
        claims = self._claims(wanted) | wanted.claims
        said = {name: value for name, value in claims.items() if value is not None}
        return jwt.encode(said, key.private, algorithm="RS256", headers=header)

    def roll_over(self, *, keep_old: bool = True) -> str:
        """Sign with a new key from now on and answer its id; the old ones stay listed, or not."""
        if not keep_old:
            self._keys.clear()
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self._keys.append(_Key(secrets.token_urlsafe(20), private))
        return self._keys[-1].kid

    def document(self) -> dict[str, Any]:
        """The public keys, as Entra lists them."""
        self._newest()
        return {"keys": [key.published() for key in self._keys]}

    def _newest(self) -> _Key:
        if not self._keys:
            self.roll_over()
        return self._keys[-1]

    def _claims(self, token: AppToken) -> dict[str, Any]:
        """The claims of an application's token, as the access token claims reference lists them."""
        now = self._clock().timestamp()
        principal = str(uuid4())
        common = {
            "aud": token.audience,
            "iat": int(now + token.starts_s),
            "nbf": int(now + token.starts_s),
            "exp": int(now + token.expires_s),
            "oid": principal,
            "sub": principal,
            "tid": token.tenant,
            "roles": list(token.roles) or None,
            "uti": secrets.token_urlsafe(16),
        }
        if token.version == 1:
            own = {"iss": f"{_V1}/{token.tenant}/", "appid": ACTION_GROUPS, "appidacr": "2"}
            return common | own | {"ver": "1.0"}
        own = {"iss": f"{_V2}/{token.tenant}/v2.0", "azp": ACTION_GROUPS, "azpacr": "2"}
        return common | own | {"ver": "2.0"}


def add_routes(app: web.Application, entra: Entra) -> None:
    """Serve the key document of *entra* on *app*, for any tenant."""

    async def keys(_: web.Request) -> web.Response:
        entra.asked += 1
        return web.json_response(entra.document())

    app.router.add_get(PATH, keys)


def _number(value: int) -> str:
    """A number as a JWK has it: big-endian bytes in base64url without padding."""
    data = value.to_bytes((value.bit_length() + 7) // 8)
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
