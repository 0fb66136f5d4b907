"""What a decision wants done. Imperative, plain data, each safe to do twice."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SetPercent:
    """Bring the profile to the record's wanted percentage; rises only at this generation."""

    percent: float
    generation: int


@dataclass(frozen=True, slots=True)
class Tell:
    """Say one sentence to whoever listens: the log today, people's channels later."""

    sentence: str


@dataclass(frozen=True, slots=True)
class ReleaseClaim:
    """Give the profile back: this rollout has ended and its guard time is over."""

    profile: str


Effect = SetPercent | Tell | ReleaseClaim
