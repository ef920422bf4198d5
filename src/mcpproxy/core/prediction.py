"""When a login will end though nothing is wrong with it, as far as anybody can tell beforehand.

Law: a prediction only ever informs. Nothing is refused, given up or asked of a person because
of it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from mcpproxy.core.model import Grant
from mcpproxy.core.providers import profile_of


@dataclass(frozen=True, slots=True)
class PredictedEnd:
    """`because` completes the sentence 'This login ends at ..., because'."""

    at: datetime
    because: str


def predicted_end(grant: Grant) -> PredictedEnd | None:
    """The earliest end in sight; None when there is none."""
    return min(_ends(grant), key=lambda end: end.at, default=None)


def _ends(grant: Grant) -> Iterator[PredictedEnd]:
    if grant.learned.ends_at is not None:
        yield PredictedEnd(
            grant.learned.ends_at, "the provider's access tokens get shorter towards it"
        )
    client = grant.client
    if client.secret_expires_at is not None and client.registration_uri is None:
        yield PredictedEnd(client.secret_expires_at, "the provider said our client's secret does")
    tokens = grant.tokens
    if tokens.refresh_expires_at is not None and grant.learned.rotates is False:
        yield PredictedEnd(tokens.refresh_expires_at, "the provider said its refresh token does")
    profile = profile_of(grant.issuer)
    if profile is not None and profile.absolute_limit is not None:
        yield PredictedEnd(
            grant.logged_in_at + profile.absolute_limit,
            f"{profile.name} ends every login after {profile.absolute_limit.days} days",
        )
