"""Errors by what we do about them. Adapters translate their SDK's exceptions at their own door.

Anything that is none of these is a bug of ours: it is logged whole and counted on the rollout.
"""


class LinnetError(Exception):
    """One of the expected ways in which a turn can end early; the message is for people."""


class RefusedError(LinnetError):
    """They are wrong: record the reason, do not retry."""


class UnreachableError(LinnetError):
    """The world is away: end this turn, the next one tries again."""


class ConflictError(LinnetError):
    """Another turn won: reload and decide again, or leave it to the winner."""


class ForbiddenError(LinnetError):
    """They may not come in: `status` says why, 401 for who they are, 403 for what they may do."""

    def __init__(self, words: str, status: int) -> None:
        super().__init__(words)
        self.status = status
