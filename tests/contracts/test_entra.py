"""What the app-role check makes of tokens, with real signatures and keys over real HTTP."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncIterator
from typing import Any

import jwt
import pytest
import pytest_asyncio
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sandbox.azure import LocalAzure
from sandbox.entra import AUDIENCE, ROLE, TENANT, AppToken, Entra
from shared.cloud.entra import EntraDoor, issuers_of
from shared.errors import ForbiddenError, RefusedError
from tests.contracts.doors import APP_URI, PUBLIC, made, refused

OTHER_TENANT = "7a1e0000-0000-0000-0000-0000000000ff"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def azure() -> AsyncIterator[LocalAzure]:
    async with LocalAzure() as local:
        yield local


@pytest.fixture
def entra(azure: LocalAzure) -> Entra:
    azure.faults.clear()
    azure.faults.fired.clear()
    azure.entra.asked = 0
    return azure.entra


@pytest.fixture
def door(azure: LocalAzure, entra: Entra) -> EntraDoor:
    return made(azure.base_url)


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


@pytest.mark.parametrize(
    "token",
    [
        AppToken(version=2),
        AppToken(version=1, audience=APP_URI),
        AppToken(version=1),
        AppToken(roles=("Reader", "Operator")),
        AppToken(roles=("Operator",), claims={"scp": "user_impersonation"}),
        AppToken(expires_s=-30),
        AppToken(starts_s=30),
        AppToken(claims={"nbf": None}),
    ],
    ids=repr,
)
async def test_a_token_with_the_role_is_let_in(
    door: EntraDoor, entra: Entra, token: AppToken
) -> None:
    """Either version, either audience, any one of the roles, and clocks a minute apart."""
    await door.admit(f"Bearer {entra.issue(token)}")
    await door.admit(f"bearer  {entra.issue(token)} ")
    assert entra.asked == 1


@pytest.mark.parametrize(
    ("token", "status", "words"),
    [
        (AppToken(expires_s=-90), 401, "the token has expired"),
        (AppToken(starts_s=90), 401, "the token is not in force yet"),
        (AppToken(claims={"nbf": None, "iat": 4_102_444_800}), 401, "not in force yet"),
        (AppToken(audience="api://other"), 401, "meant for another audience"),
        (AppToken(audience=APP_URI + "/"), 401, "meant for another audience"),
        (AppToken(claims={"aud": f"{APP_URI} {AUDIENCE}"}), 401, "meant for another audience"),
        (AppToken(tenant=OTHER_TENANT), 401, "issued by another tenant"),
        (AppToken(tenant=OTHER_TENANT, version=1), 401, "issued by another tenant"),
        (AppToken(claims={"iss": f"https://evil.example/{TENANT}/v2.0"}), 401, "another tenant"),
        (AppToken(claims={"exp": None}), 401, "lacks a claim"),
        (AppToken(claims={"iat": None}), 401, "lacks a claim"),
        (AppToken(claims={"aud": None}), 401, "lacks a claim"),
        (AppToken(claims={"iss": None}), 401, "lacks a claim"),
        (AppToken(roles=()), 403, f"does not carry the app role {ROLE} or Operator"),
        (AppToken(roles=("Reader", ROLE.lower())), 403, "does not carry the app role"),
        (AppToken(claims={"roles": ROLE}), 403, "does not carry the app role"),
        (AppToken(claims={"roles": [[ROLE], 7]}), 403, "does not carry the app role"),
        (AppToken(roles=(), claims={"scp": ROLE, "wids": [ROLE]}), 403, "does not carry"),
    ],
    ids=repr,
)
async def test_a_token_that_says_something_else_is_refused(
    door: EntraDoor, entra: Entra, token: AppToken, status: int, words: str
) -> None:
    """401 for a token that does not count here, 403 for one that does but lacks the role."""
    seen, said = await refused(door, entra.issue(token))
    assert (seen, words in said) == (status, True), said


async def test_a_forged_signature_is_refused(door: EntraDoor, entra: Entra) -> None:
    """None, a foreign key under a known name, and another token's signature all count nothing."""
    head, body, signature = entra.issue().split(".")
    other = entra.issue(AppToken(roles=("Reader",))).split(".")
    foreign = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    kid = jwt.get_unverified_header(entra.issue())["kid"]
    claims = jwt.decode(entra.issue(), options={"verify_signature": False})
    forged = [
        f"{head}.{body}.{other[2]}",
        f"{head}.{part(claims | {'roles': [ROLE], 'exp': 4_102_444_800})}.{signature}",
        jwt.encode(claims, foreign, algorithm="RS256", headers={"kid": kid}),
    ]
    for token in forged:
        assert await refused(door, token) == (401, "the token has a wrong signature")


@pytest.mark.parametrize("algorithm", ["none", "None", "HS256", "RS512", "PS256", "", None, 7])
async def test_another_algorithm_is_refused_before_any_key_is_asked_for(
    door: EntraDoor, entra: Entra, algorithm: object
) -> None:
    """A token can not choose how it is checked; no signature and a public key's HMAC included."""
    kid = jwt.get_unverified_header(entra.issue())["kid"]
    claims = jwt.decode(entra.issue(), options={"verify_signature": False})
    signed = f"{part({'alg': algorithm, 'typ': 'JWT', 'kid': kid})}.{part(claims)}"
    public = jwt.PyJWK(entra.document()["keys"][-1], "RS256").key
    assert isinstance(public, rsa.RSAPublicKey)
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    mac = hmac.new(pem, signed.encode(), hashlib.sha256).digest()
    token = f"{signed}.{base64.urlsafe_b64encode(mac).rstrip(b'=').decode()}"
    assert await refused(door, token) == (401, "the token is not signed with RS256")
    assert entra.asked == 0


async def test_a_header_that_is_not_one_bearer_token_is_refused(entra: Entra) -> None:
    """Without asking for keys, so it is so even while nobody can be asked for them."""
    door = made("http://127.0.0.1:9")
    good = entra.issue()
    for missing in (None, ""):
        with pytest.raises(ForbiddenError, match="no token was sent") as caught:
            await door.admit(missing)
        assert caught.value.status == 401
    odd = [
        " ",
        "Bearer",
        "Bearer ",
        good,
        f"Basic {good}",
        f"Bearer {good}, Bearer {good}",
        f"Bearer {good},Bearer {good}",
        f"Bearer {good} {good}",
        f"Bearer {good}\nX-Role: admin",
        f"Bearer {good}.{part({})}",
        f"Bearer {good.rpartition('.')[0]}.",
        f"Bearer {good[:-1]}é",
        f"Bearer {good}\udcff",
        f"Bearer {good}{'A' * 20_000}",
        "Bearer " + " " * 10_000_000 + good,
    ]
    for header in odd:
        answer = await refused(door, good, header)
        assert answer == (401, "the Authorization header is not one Bearer token"), header[:100]


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("AAAA", "cannot be read"),
        (part([1]), "cannot be read"),
        (part({"alg": "RS256", "kid": 7}), "cannot be read"),
        (part({"alg": "RS256", "kid": None}), "cannot be read"),
        (part({"alg": "RS256"}), "does not name the key"),
        (base64.urlsafe_b64encode(b"[" * 9000).rstrip(b"=").decode(), "cannot be read"),
    ],
)
async def test_rubbish_with_two_dots_is_refused(
    door: EntraDoor, entra: Entra, head: str, words: str
) -> None:
    """It costs no request to Entra."""
    status, said = await refused(door, f"{head}.{part({'secret': 'payload'})}.AAAA")
    assert (status, words in said, entra.asked) == (401, True, 0), said


@pytest.mark.parametrize(
    "change",
    [
        {"tenant": "common"},
        {"tenant": "contoso.onmicrosoft.com"},
        {"tenant": ""},
        {"audiences": ()},
        {"audiences": ("",)},
        {"roles": frozenset()},
        {"roles": frozenset({ROLE, ""})},
        {"authority": "http://login.microsoftonline.com"},
        {"authority": "https://login.microsoftonline.com/common"},
        {"authority": "https://user@login.microsoftonline.com"},
        {"authority": "login.microsoftonline.com"},
    ],
    # A set is not written in the same order by every process.
    ids=lambda change: str([(name, sorted(value)) for name, value in change.items()]),
)
def test_a_door_that_could_not_be_right_is_refused_at_the_start(change: dict[str, Any]) -> None:
    """Rather than at the first alert."""
    with pytest.raises(RefusedError):
        made(**({"authority": PUBLIC} | change))


def test_each_cloud_has_its_own_issuers() -> None:
    """Version 1 tokens come from a name of their own; where that is not known, none count."""
    china = "https://login.partner.microsoftonline.cn"
    assert issuers_of(PUBLIC, TENANT) == (
        f"https://login.microsoftonline.com/{TENANT}/v2.0",
        f"https://sts.windows.net/{TENANT}/",
    )
    assert issuers_of(china, TENANT)[1] == f"https://sts.chinacloudapi.cn/{TENANT}/"
    assert issuers_of("https://login.new-cloud.example", TENANT) == (
        f"https://login.new-cloud.example/{TENANT}/v2.0",
    )
