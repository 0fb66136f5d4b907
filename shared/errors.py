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
