"""Whole attempts, for tests of what they do to a grant."""

from datetime import timedelta

from mcpproxy.core.events import AttemptBegan, RefreshFailed
from mcpproxy.core.evolution import evolve
from mcpproxy.core.model import FailureKind, Grant
from tests.builders import NOW, a_failure, an_attempt

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def fail(grant: Grant, at_seconds: float, kind: FailureKind, **kwargs: object) -> Grant:
    """One whole attempt that began at NOW + at_seconds and failed a second later."""
    begun_at = NOW + at_seconds * SECOND
    attempt = an_attempt(int(at_seconds) + 1, begun_at=begun_at, generation=grant.generation)
    told = {"detail": kwargs.get("code") or "HTTP 503", **kwargs}
    failure = a_failure(kind, **told)  # type: ignore[arg-type]
    begun = evolve(grant, AttemptBegan(attempt))
    return evolve(begun, RefreshFailed(attempt.attempt_id, failure, begun_at + SECOND))
