"""The door of the HTTP routes: an app role in a token that Entra signed for this deployment.

A caller shows `Authorization: Bearer <token>`. It is let in when the token is signed with a key
of our tenant, issued by our tenant, meant for us, in force, and carries one of the app roles
asked for. Tokens of version 1 and 2 are taken alike, since the app registration chooses; so are
those of applications and of users, since whoever assigned the role has decided that.

Keys are kept as Microsoft advises ("Signing key rollover in the Microsoft identity platform"):
renewed every hour and when a token names one that is not known, trusted for a day at most while
Entra does not answer. Nothing of a token reaches an error's words or the log.
"""

import asyncio
import json
import logging
import math
import re
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Self
from urllib.parse import urlsplit

import aiohttp
import jwt
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from shared.cloud import loopback, trouble
from shared.errors import ForbiddenError, RefusedError, UnreachableError

type Strings = tuple[str, ...]

log = logging.getLogger(__name__)

SETTING = "ENTRA_AUTHORITY"
ALGORITHM = "RS256"
LEEWAY_S = 60
FRESH_S = 3600.0
LIFETIME_S = 86_400.0
# Anyone can name a key that does not exist, so this is how often that may cost Entra a request.
PAUSE_S = 60.0
# Azure Monitor tries an alert again within seconds, and then leaves us alone for 15 minutes.
PAUSE_WITHOUT_KEYS_S = 5.0
MAX_HEADER_CHARS = 16_384
MAX_DOCUMENT_BYTES = 1_048_576
MAX_KEYS = 1000
MIN_KEY_BITS = 2048

_BEARER = re.compile(r"bearer +([\w-]+\.[\w-]+\.[\w-]+)", re.ASCII | re.IGNORECASE)
_GUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII | re.IGNORECASE)
_PUBLIC = "https://login.microsoftonline.com"
# Who signs version 1 tokens in the clouds that still issue them; elsewhere only version 2 counts.
_V1_ISSUERS = {
    _PUBLIC: "https://sts.windows.net",
    "https://login.microsoftonline.us": "https://sts.windows.net",
    "https://login.partner.microsoftonline.cn": "https://sts.chinacloudapi.cn",
}
_REASONS: dict[type[jwt.PyJWTError], str] = {
    jwt.ExpiredSignatureError: "has expired",
    jwt.ImmatureSignatureError: "is not in force yet",
    jwt.InvalidAudienceError: "is meant for another audience",
    jwt.InvalidIssuerError: "was issued by another tenant",
    jwt.InvalidSignatureError: "has a wrong signature",
    jwt.MissingRequiredClaimError: "lacks a claim that every token of Entra has",
}


class SigningKeys:
    """The public keys of one tenant. One request at a time, bounded in size and time.

    `issuers` are what a key may say of whose tokens it signs; a key that says something else is
    left out. `now_s` is any clock that only goes forward.
    """

    def __init__(
        self,
        url: str,
        issuers: Strings,
        timeout_s: float,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url
        self._issuers = issuers
        self._timeout_s = timeout_s
        self._now_s = now_s
        self._by_proxy = not loopback.is_loopback(url, SETTING)
        self._keys: dict[str, jwt.PyJWK] = {}
        self._fetched_s = -math.inf
        self._next_try_s = -math.inf
        self._failure = ""
        self._one_at_a_time = asyncio.Lock()

    async def find(self, kid: str) -> jwt.PyJWK | None:
        """The key of that id; None when the tenant has no such key.

        Raises UnreachableError when neither can be said.
        """
        others_renew = self._one_at_a_time.locked() and self._known(kid) is not None
        if self._due(kid) and not others_renew:
            async with self._one_at_a_time:
                if self._due(kid):
                    await self._renew()
        key = self._known(kid)
        if key is None and self._failure:
            raise UnreachableError(self._failure)
        return key

    def _known(self, kid: str) -> jwt.PyJWK | None:
        return self._keys.get(kid) if self._age_s() < LIFETIME_S else None

    def _due(self, kid: str) -> bool:
        wanted = self._age_s() >= FRESH_S or self._known(kid) is None
        return wanted and self._now_s() >= self._next_try_s

    def _age_s(self) -> float:
        return self._now_s() - self._fetched_s

    async def _renew(self) -> None:
        """Ask once. Keys that Entra no longer lists are forgotten; a failure keeps what we have."""
        try:
            self._keys = _usable(await self._document(), self._issuers)
        except UnreachableError as error:
            self._failure = str(error)
            pause_s = PAUSE_S if self._age_s() < LIFETIME_S else PAUSE_WITHOUT_KEYS_S
            self._next_try_s = self._now_s() + pause_s
            log.warning("%s", error)
            return
        self._failure = ""
        self._fetched_s = self._now_s()
        self._next_try_s = self._fetched_s + PAUSE_S

    async def _document(self) -> bytes:
        try:
            async with (
                asyncio.timeout(self._timeout_s),
                aiohttp.ClientSession(
                    cookie_jar=aiohttp.DummyCookieJar(), trust_env=self._by_proxy
                ) as session,
                session.get(self._url, allow_redirects=False) as response,
            ):
                return await _body(response)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise _no_keys(trouble.words(error)) from error


class EntraDoor:
    """Lets in who has the role, and says to everybody else why not."""

    def __init__(
        self, keys: SigningKeys, issuers: Strings, audiences: Strings, roles: frozenset[str]
    ) -> None:
        self._keys = keys
        self._issuers = issuers
        self._audiences = audiences
        self._roles = roles

    @classmethod
    def of(
        cls,
        tenant: str,
        audiences: Strings,
        roles: frozenset[str],
        authority: str,
        timeout_s: float,
    ) -> Self:
        """The door of a tenant, for tokens with one of the audiences and one of the roles.

        `tenant` is its GUID. Audiences are the app registration's client id (version 2 tokens)
        and its application id URI (version 1). `authority` is the cloud's Entra, such as
        `https://login.microsoftonline.com`; a stand-in on a loopback host speaks as that one.
        Nothing is asked of Entra yet. Raises RefusedError when an argument can not be right.
        """
        tenant, root = tenant.lower(), authority.rstrip("/").lower()
        cloud = _PUBLIC if loopback.is_loopback(root, SETTING) else root
        _check(tenant, audiences, roles, root)
        keys = SigningKeys(
            f"{root}/{tenant}/discovery/v2.0/keys",
            (f"{cloud}/{tenant}/v2.0", f"{cloud}/{{tenantid}}/v2.0"),
            timeout_s,
        )
        named = tuple(each.lower() if _GUID.fullmatch(each) else each for each in audiences)
        return cls(keys, issuers_of(cloud, tenant), named, roles)

    async def admit(self, authorization: str | None) -> None:
        """Let the caller in who sent this header.

        Raises ForbiddenError, with status 401 (no token, or none that counts here) or 403 (a good
        token without the role), and UnreachableError when the signing keys cannot be had.
        """
        token = _token(authorization)
        key = await self._keys.find(_key_id(token))
        if key is None:
            raise _unknown("is signed with a key that the tenant does not have")
        held = self._claims(token, key).get("roles")
        if not isinstance(held, list) or not any(role in held for role in self._roles):
            wanted = " or ".join(sorted(self._roles))
            raise ForbiddenError(f"the token does not carry the app role {wanted}", 403)

    def _claims(self, token: str, key: jwt.PyJWK) -> dict[str, Any]:
        """What the token says, once it is known to be Entra's word to us."""
        try:
            return jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=self._audiences,
                issuer=self._issuers,
                leeway=LEEWAY_S,
                options={"require": ["exp", "iat", "iss", "aud"]},
            )
        except jwt.PyJWTError as error:
            raise _unknown(_REASONS.get(type(error), "cannot be read")) from None


def issuers_of(cloud: str, tenant: str) -> Strings:
    """Who a tenant's tokens say they are from, in a cloud given by its Entra's address."""
    v2 = f"{cloud}/{tenant}/v2.0"
    v1 = _V1_ISSUERS.get(cloud)
    return (v2, f"{v1}/{tenant}/") if v1 else (v2,)


def _check(tenant: str, audiences: Strings, roles: frozenset[str], root: str) -> None:
    if not _GUID.fullmatch(tenant):
        raise RefusedError("the tenant of the HTTP door must be given by its id, a GUID")
    if not audiences or not roles or not all((*audiences, *roles)):
        raise RefusedError("the HTTP door needs an audience and an app role, and none may be blank")
    if urlsplit(root).path:
        raise RefusedError(f"{SETTING} must be a host without a path; the tenant is added")


def _token(authorization: str | None) -> str:
    """The one token of a header; what is too long is not even looked at."""
    if not authorization:
        raise ForbiddenError("no token was sent: Authorization: Bearer is missing", 401)
    short = len(authorization) <= MAX_HEADER_CHARS
    found = _BEARER.fullmatch(authorization.strip()) if short else None
    if found is None:
        raise ForbiddenError("the Authorization header is not one Bearer token", 401)
    return found[1]


def _key_id(token: str) -> str:
    """Which key the token claims to be signed with; what no key of ours could sign is refused."""
    try:
        header = jwt.get_unverified_header(token)
    except jwt.PyJWTError:
        raise _unknown("cannot be read") from None
    if header.get("alg") != ALGORITHM:
        raise _unknown(f"is not signed with {ALGORITHM}")
    kid = header.get("kid")
    if not isinstance(kid, str):
        raise _unknown("does not name the key it is signed with")
    return kid


def _unknown(why: str) -> ForbiddenError:
    return ForbiddenError(f"the token {why}", 401)


async def _body(response: aiohttp.ClientResponse) -> bytes:
    if response.status != HTTPStatus.OK:
        raise _no_keys(f"the answer was {response.status}")
    read = bytearray()
    async for piece in response.content.iter_chunked(65_536):
        read += piece
        if len(read) > MAX_DOCUMENT_BYTES:
            raise _no_keys("the answer is too large")
    return bytes(read)


def _usable(document: bytes, issuers: Strings) -> dict[str, jwt.PyJWK]:
    try:
        listed = json.loads(document)["keys"][:MAX_KEYS]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise _no_keys("the answer is not a list of keys") from None
    keys = {jwk["kid"]: key for jwk in listed if (key := _key(jwk, issuers))}
    if not keys:
        raise _no_keys("the answer holds no key that can be used")
    return keys


def _key(jwk: object, issuers: Strings) -> jwt.PyJWK | None:
    """A key that may sign our tenant's tokens; None when it is for anything else."""
    if not isinstance(jwk, dict) or not isinstance(jwk.get("kid"), str):
        return None
    signs = jwk.get("use", "sig") == "sig" and jwk.get("alg", ALGORITHM) == ALGORITHM
    if not signs or jwk.get("issuer", issuers[0]) not in issuers:
        return None
    try:
        made = jwt.PyJWK(jwk, ALGORITHM)
    except jwt.PyJWTError:
        return None
    strong = isinstance(made.key, RSAPublicKey) and made.key.key_size >= MIN_KEY_BITS
    return made if strong else None


def _no_keys(why: str) -> UnreachableError:
    return UnreachableError(f"the keys that Entra signs tokens with cannot be had: {why}")
