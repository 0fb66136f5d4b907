"""Plain records with the names of the Functions RPC messages.

The runtime library never imports protobuf: it builds and reads whatever `protos` it is handed.
These bags carry the same attributes and nothing else. They prove nothing about the wire format.
Rules the library relies on: an absent attribute reads as None; one that starts with a capital
raises AttributeError (it probes for wrappers); `WhichOneof` names the one field that is set.
"""

from types import SimpleNamespace
from typing import Any


class Bag:
    """One message: what it was given, and None for the rest."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name[:1].isupper():
            raise AttributeError(name)
        return None

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.__dict__})"


class TypedData(Bag):
    """One value, under the name of its kind: string, bytes, json, http or a collection."""

    def WhichOneof(self, _: str) -> str | None:  # noqa: N802  # protobuf's own name
        """The kind that is set, or None for an empty value."""
        return next((kind for kind, value in self.__dict__.items() if value is not None), None)


class ParameterBinding(Bag):
    """A value for one parameter of the function."""

    def WhichOneof(self, _: str) -> str | None:  # noqa: N802  # protobuf's own name
        """Always the data itself; shared memory is not offered."""
        return "data" if self.data is not None else None


class StatusResult(Bag):
    """How a request ended."""

    Failure = 0
    Success = 1


class BindingInfo(Bag):
    """A binding's direction, as the decorators number it."""

    out = 1
    inout = 2
    undefined = None


class RpcHttpCookie(Bag):
    """A cookie of an HTTP response."""

    SameSite = SimpleNamespace(**{"None": 0, "Lax": 1, "Strict": 2, "ExplicitNone": 3})


_PLAIN = (
    "FunctionLoadResponse",
    "FunctionMetadataResponse",
    "InvocationResponse",
    "NullableBool",
    "NullableDouble",
    "NullableString",
    "NullableTimestamp",
    "RpcException",
    "RpcFunctionMetadata",
    "RpcHttp",
    "RpcRetryOptions",
    "Timestamp",
    "WorkerInitResponse",
    "WorkerMetadata",
)

PROTOS = SimpleNamespace(
    TypedData=TypedData,
    ParameterBinding=ParameterBinding,
    StatusResult=StatusResult,
    BindingInfo=BindingInfo,
    RpcHttpCookie=RpcHttpCookie,
    **{name: type(name, (Bag,), {}) for name in _PLAIN},
)
