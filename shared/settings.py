"""Settings of the deployment, from the environment; they always win over a plan.

A sender of a message must not be able to aim the controller's identity at someone else's
resources: `allowed_profiles` and `allowed_workspaces` are empty, and so allow nothing, by default.
"""

from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

type Names = Annotated[tuple[str, ...], NoDecode]


class Settings(BaseSettings):
    """Environment variables of the same name, without a prefix; lists are comma-separated."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", validate_by_name=True)

    allowed_profiles: Names = ()
    allowed_workspaces: Names = ()
    arm_endpoint: str = "https://management.azure.com"
    logs_endpoint: str = "https://api.loganalytics.io"
    tables_endpoint: str = ""
    blobs_connection: str = Field(default="", repr=False)
    tables_connection: str = Field(default="", repr=False)
    tables_prefix: str = Field(default="linnet", pattern=r"^[A-Za-z][A-Za-z0-9]{2,40}$")
    # As Functions names them for triggers with connection="ServiceBus".
    service_bus: str = Field(default="", validation_alias="servicebus", repr=False)
    service_bus_namespace: str = Field(
        default="", validation_alias="servicebus__fullyqualifiednamespace"
    )
    commands_queue: str = "commands"
    alerts_queue: str = "alerts"
    samples_queue: str = "samples"
    # Bodies of samples may lie below these, such as https://account.blob.core.windows.net/bodies/.
    allowed_blobs: Names = ()
    samples_roles: Names = ("Linnet.Sample",)
    shadow_concurrency: int = Field(default=32, ge=1, le=256)
    shadow_per_s: float = Field(default=50, gt=0)
    managed_identity_client_id: str = ""
    turn_deadline_s: float = Field(default=50, gt=0)
    tick_deadline_s: float = Field(default=55, gt=0)
    call_timeout_s: float = Field(default=10, gt=0)
    concurrent_turns: int = Field(default=64, ge=1, le=256)
    stale_after_s: float = Field(default=180, gt=0)
    max_message_bytes: int = Field(default=262_144, ge=1, le=524_288)
    # An alert that nobody resolves is over when nothing was heard of it for so long.
    alert_lapse_s: float = Field(default=3600, gt=0)
    # With a tenant, who posts over HTTP needs a token with one of these app roles besides the key.
    entra_tenant: str = ""
    entra_audiences: Names = ()
    entra_authority: str = "https://login.microsoftonline.com"
    alerts_roles: Names = ("ActionGroupsSecureWebhook",)
    commands_roles: Names = ("Linnet.Operate",)

    @field_validator(
        "allowed_profiles",
        "allowed_workspaces",
        "entra_audiences",
        "allowed_blobs",
        "alerts_roles",
        "samples_roles",
        "commands_roles",
        mode="before",
    )
    @classmethod
    def split(cls, value: object) -> object:
        """A comma-separated list as a tuple; blanks around and between do not count."""
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    def allows_profile(self, profile: str) -> bool:
        """Whether this deployment may touch it: the id is an allowed one or lies below one."""
        return any(_within(profile, allowed) for allowed in self.allowed_profiles)

    def allows_workspace(self, workspace: str) -> bool:
        """Whether this deployment may query the workspace."""
        return workspace.casefold() in {w.casefold() for w in self.allowed_workspaces}


def _within(resource: str, allowed: str) -> bool:
    inner, outer = _plain(resource), _plain(allowed)
    return bool(outer) and (inner == outer or inner.startswith(outer + "/"))


def _plain(resource: str) -> str:
    """Azure ignores the case of letters and folds nothing else."""
    return (resource.lower() if resource.isascii() else resource).rstrip("/")
