"""The token endpoint's stand-in, as azure-identity and raw HTTP see it."""

import base64
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
import pytest_asyncio
from azure.core.exceptions import ClientAuthenticationError
from azure.identity.aio import DefaultAzureCredential, ManagedIdentityCredential

from sandbox.azure import LocalAzure
from sandbox.faults import Fault, Kind
from sandbox.identity import MAX_TOKENS, Identity

ARM = "https://management.azure.com"
BUS = "https://servicebus.azure.net"


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def azure() -> AsyncIterator[LocalAzure]:
    async with LocalAzure() as local:
        yield local


@pytest.fixture
def environment(azure: LocalAzure, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in azure.environment().items():
        monkeypatch.setenv(name, value)
    return azure.environment()


async def test_the_real_credentials_get_a_token_for_their_audience(
    azure: LocalAzure, environment: dict[str, str]
) -> None:
    """ManagedIdentityCredential, user-assigned too, and DefaultAzureCredential are served."""
    for credential in (
        ManagedIdentityCredential(),
        ManagedIdentityCredential(client_id="00000000-0000-0000-0000-00000000000c"),
        DefaultAzureCredential(),
    ):
        async with credential:
            token = await credential.get_token(f"{BUS}//.default")
        assert azure.identity.accepts(token.token, BUS)
        assert azure.identity.accepts(token.token, f"{BUS}/")
        assert not azure.identity.accepts(token.token, ARM)
        assert token.expires_on > datetime.now(UTC).timestamp() + 3000


async def test_a_token_reads_like_a_jwt(azure: LocalAzure) -> None:
    """Clients that look into a token find audience and expiry, as Service Bus puts need."""
    token, grant = azure.identity.issue(f"{BUS}/")
    claims = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))
    assert claims["aud"] == f"{BUS}/"
    assert claims["exp"] == int(grant.expires.timestamp())


@pytest.mark.parametrize(
    ("query", "secret", "status"),
    [
        (f"api-version=2019-08-01&resource={ARM}", True, 200),
        (f"api-version=2019-08-01&resource={ARM}", False, 401),
        (f"api-version=2017-09-01&resource={ARM}", True, 400),
        ("api-version=2019-08-01", True, 400),
    ],
)
async def test_the_door_of_the_token_endpoint(
    environment: dict[str, str], query: str, secret: bool, status: int
) -> None:
    """Secret, api-version and resource are all required."""
    headers = {"X-IDENTITY-HEADER": environment["IDENTITY_HEADER"] if secret else "guess"}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.get(f"{environment['IDENTITY_ENDPOINT']}?{query}") as response,
    ):
        assert response.status == status
        if status == 200:
            body = await response.json()
            assert (body["token_type"], body["resource"]) == ("Bearer", ARM)
            assert isinstance(body["expires_on"], str)


async def test_a_refused_token_is_an_authentication_error(
    azure: LocalAzure, environment: dict[str, str]
) -> None:
    """A fault on the token endpoint reaches the caller of the credential."""
    azure.faults.arm(Fault("GET /msi/token", Kind.STATUS, status=400))
    async with ManagedIdentityCredential() as credential:
        with pytest.raises(ClientAuthenticationError):
            await credential.get_token(f"{ARM}/.default")


def test_a_token_lives_for_its_lifetime_and_until_it_is_revoked() -> None:
    """Expired, revoked and unknown tokens are not accepted, and few are remembered."""
    now = [datetime(2026, 11, 22, tzinfo=UTC)]
    identity = Identity(lifetime_s=60, clock=lambda: now[0])
    first, _ = identity.issue(ARM)
    now[0] += timedelta(seconds=59)
    assert identity.accepts(first, ARM)
    now[0] += timedelta(seconds=1)
    assert not identity.accepts(first, ARM)
    second, _ = identity.issue(ARM)
    identity.revoke_all()
    assert not identity.accepts(second, ARM)
    third, _ = identity.issue(ARM)
    for _ in range(MAX_TOKENS):
        identity.issue(ARM)
    assert not identity.accepts(third, ARM)
