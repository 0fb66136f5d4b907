"""Who Linnet is in Azure: its managed identity, or whoever a developer is signed in as.

azure-identity is heavy to import and needed only for the first token, so both its import and
its construction wait until then.
"""

from typing import Any, Self

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenRequestOptions


class LazyIdentity:
    """A token credential in azure-core's sense; DefaultAzureCredential from the first token on."""

    def __init__(self, client_id: str) -> None:
        self._client_id = client_id
        self._real: Any = None

    async def get_token(
        self, *scopes: str, claims: str | None = None, tenant_id: str | None = None, **options: Any
    ) -> AccessToken:
        """A token for these scopes. Raises ClientAuthenticationError."""
        token: AccessToken = await self._credential().get_token(
            *scopes, claims=claims, tenant_id=tenant_id, **options
        )
        return token

    async def get_token_info(
        self, *scopes: str, options: TokenRequestOptions | None = None
    ) -> AccessTokenInfo:
        """The same with azure-core's newer answer."""
        token: AccessTokenInfo = await self._credential().get_token_info(*scopes, options=options)
        return token

    async def close(self) -> None:
        """Close what was opened for tokens, if any was asked for."""
        if self._real is not None:
            await self._real.close()
            self._real = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    def _credential(self) -> Any:
        if self._real is None:
            from azure.identity.aio import DefaultAzureCredential  # noqa: PLC0415  # see the top

            self._real = DefaultAzureCredential(managed_identity_client_id=self._client_id or None)
        return self._real
