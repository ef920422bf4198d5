"""What is known of a login's provider, in words: from its profile and from its own answers.

Law: says whose knowledge it is. A profile is what others have seen of a provider; what it showed
in this login counts for more.
"""

from collections.abc import Iterator
from datetime import timedelta

import msgspec

from mcpproxy.core.health import countdown
from mcpproxy.core.model import Learned
from mcpproxy.core.prediction import PredictedEnd
from mcpproxy.core.providers import ProviderProfile


class ProviderItem(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the provider. `profile` is its name if it is one that mcpproxy knows of,
    `rotates` whether a refresh brings a new refresh token, `usual_life_seconds` an access token's.
    """

    profile: str | None = None
    rotates: bool | None = None
    usual_life_seconds: float | None = None
    note: str | None = None


def provider_item(profile: ProviderProfile | None, learned: Learned) -> ProviderItem:
    life, rotates = learned.usual_life, learned.rotates
    if rotates is None and profile is not None:
        rotates = profile.rotates
    return ProviderItem(
        profile=profile.name if profile else None,
        rotates=rotates,
        usual_life_seconds=life.total_seconds() if life else None,
        note=(profile.note or None) if profile else None,
    )


def learned_words(learned: Learned) -> str | None:
    """What the provider's answers showed, as a sentence."""
    seen = []
    if learned.rotates is not None:
        each = "a new refresh token" if learned.rotates else "no new refresh token"
        seen.append(f"a refresh brings {each}")
    if learned.usual_life is not None:
        seen.append(f"its access tokens live {span(learned.usual_life)}")
    if learned.refuses_early:
        seen.append("it refuses to refresh one that still lives")
    return f"The provider's answers showed: {', '.join(seen)}." if seen else None


def profile_words(profile: ProviderProfile) -> str | None:
    """What others have seen of this provider, as a sentence."""
    known = "; ".join(profile_facts(profile))
    return f"Known of {profile.name}: {known}." if known else None


def profile_facts(profile: ProviderProfile) -> Iterator[str]:
    """Each fact that a person may want to know."""
    if profile.idle_limit is not None:
        yield f"a login that is not refreshed for {span(profile.idle_limit)} ends"
    if profile.absolute_limit is not None:
        yield f"every login ends after {span(profile.absolute_limit)}"
    if profile.note:
        yield profile.note


def end_words(end: PredictedEnd, moment: str) -> str:
    return f"This login ends {moment}, because {end.because}."


def span(life: timedelta) -> str:
    """A length of time: whole days as such, else as a countdown tells it."""
    if life >= timedelta(days=1) and not life % timedelta(days=1):
        return "1 day" if life.days == 1 else f"{life.days} days"
    return countdown(life)
