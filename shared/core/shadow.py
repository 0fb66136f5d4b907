"""A dark launch: a production request replayed to the canary, and what its answers count for.

1. Nothing but what the plan allows is replayed: GET and HEAD unless it says otherwise, without
   credentials unless it names them, always marked so that a service can tell.
2. Stable is asked again for some samples. What differs there too is noise: a path that differs
   between stable and stable is not held against the canary.
3. Which paths are noise is known from earlier samples only, and is left out on both sides alike.
   So under "the canary is no worse" both arms differ equally often, whatever was learnt.
4. An answer that did not come is not a difference: unreachable is an outcome of its own.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from shared.core.bodies import Reply
from shared.core.diff import Comparison
from shared.core.redact import Redaction
from shared.core.rules import Rules

MARK: Final = "x-linnet-shadow"
MISMATCH, SLOWER, UNREACHABLE = "mismatch", "slower", "unreachable"
SHADOW_RULES: Final = (MISMATCH, SLOWER, UNREACHABLE)
# A replay that is only this much slower is the network's doing, not the version's.
LEAST_SLOWER_MS: Final = 20.0

# They speak of one connection (RFC 9110, section 7.6.1), or are written anew by the client.
HOP_BY_HOP: Final = frozenset(
    {
        *("connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding"),
        *("upgrade", "host", "content-length", "expect", "accept-encoding"),
    }
)
# Who someone is: a replay must not act, nor be counted, as that person.
CREDENTIALS: Final = frozenset(
    {
        *("authorization", "proxy-authorization", "cookie", "x-api-key", "api-key", "x-auth-token"),
        *("x-functions-key", "ocp-apim-subscription-key", "x-ms-client-principal", "x-csrf-token"),
        *("x-arr-clientcert", "x-forwarded-client-cert", "x-ms-token-aad-access-token"),
    }
)


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a user made it: `path` starts with / and has its query; names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Sample:
    """One production request and the answer its user got; `id` is its producer's."""

    id: str
    profile: str
    at_s: float
    request: Request
    reply: Reply


@dataclass(frozen=True, slots=True)
class Replayed:
    """What a replay came to: an answer, or the reason why there was none.

    One that was not `tried` never reached the endpoint, and is no word about it.
    """

    reply: Reply | None
    reason: str = ""
    tried: bool = True


@dataclass(frozen=True, slots=True)
class Margins:
    """The excess of bad answers over stable's own that is still no worse; shares of 1."""

    mismatch: float = 0.005
    slower: float = 0.05
    unreachable: float = 0.01

    def by_rule(self) -> dict[str, float]:
        """The margins under their rules' names."""
        return {MISMATCH: self.mismatch, SLOWER: self.slower, UNREACHABLE: self.unreachable}


@dataclass(frozen=True, slots=True)
class Shadow:
    """What the plan says about its step at 0 %.

    `samples` are needed at least, of at most `most_samples` that are replayed; `noise_share` of
    them go to stable too, of which the first `learn` only teach what is noise; an answer is slow
    that takes `slower_than` times the other arm's; `pass_headers` are let through although they
    are credentials.
    """

    rules: Rules
    redaction: Redaction
    margins: Margins = Margins()
    methods: frozenset[str] = frozenset({"GET", "HEAD"})
    pass_headers: frozenset[str] = frozenset()
    samples: int = 500
    most_samples: int = 50_000
    noise_share: float = 0.5
    learn: int = 50
    slower_than: float = 2.0
    timeout_s: float = 10.0
    log_share: float = 0.01


@dataclass(frozen=True, slots=True)
class Judged:
    """What one sample counts for. `stable_*` is None where stable was not asked again."""

    mismatch: bool
    unreachable: bool
    slower: bool | None
    stable_mismatch: bool | None
    stable_unreachable: bool | None
    stable_slower: bool | None


def unwanted(shadow: Shadow, request: Request) -> str:
    """Why this request is not replayed; empty when it is."""
    if request.method not in shadow.methods:
        allowed = ", ".join(sorted(shadow.methods))
        return f"method {request.method} is not replayed (allowed: {allowed})"
    return ""


def outgoing(shadow: Shadow, request: Request, rollout: str) -> Request:
    """The request as it is replayed: stripped, and marked with the rollout's name."""
    stripped = HOP_BY_HOP | (CREDENTIALS - shadow.pass_headers)
    headers = {name: value for name, value in request.headers.items() if name not in stripped}
    return replace(request, headers={**headers, "accept-encoding": "identity", MARK: rollout})


def drawn(share: float, *texts: str) -> bool:
    """Whether this sample is among the share: by its hash, so that a repetition draws the same."""
    digest = hashlib.sha256("\n".join(texts).encode(errors="surrogatepass")).digest()
    return int.from_bytes(digest[:8]) < share * 2**64


def judged(
    shadow: Shadow,
    noisy: frozenset[str],
    canary: tuple[Replayed, Comparison | None],
    stable: tuple[Replayed, Comparison | None] | None,
) -> Judged:
    """What the answers count for; each comparison is with the answer the user got."""
    if stable is None:
        return Judged(differs(canary[1], noisy), canary[0].reply is None, None, None, None, None)
    return Judged(
        mismatch=differs(canary[1], noisy),
        unreachable=canary[0].reply is None,
        slower=slower(canary[0], stable[0], shadow.slower_than),
        stable_mismatch=differs(stable[1], noisy),
        stable_unreachable=stable[0].reply is None,
        stable_slower=slower(stable[0], canary[0], shadow.slower_than),
    )


def differs(comparison: Comparison | None, noisy: frozenset[str]) -> bool:
    """Whether an answer differs at a place that is not known for noise.

    Differences that were too many to keep count, unless all that were kept are noise.
    """
    if comparison is None:
        return False
    return any(found.pattern not in noisy for found in comparison.differences)


def slower(one: Replayed, other: Replayed, times: float) -> bool:
    """Whether one arm took so many times as long as the other; an answer that is absent did not."""
    if one.reply is None or other.reply is None:
        return False
    least_ms = max(times * other.reply.elapsed_ms, other.reply.elapsed_ms + LEAST_SLOWER_MS)
    return one.reply.elapsed_ms > least_ms
