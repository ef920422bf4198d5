"""The ground truth: which refresh tokens a provider would take, and what became of every one.

Law: judged by the provider alone. The newest answer wins: a spent token that is presented again
while its window is open brings a new successor, and the one that was lost is dead from then on.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Policy(StrEnum):
    """What a spent refresh token is still good for."""

    STRICT = "strict"
    LEEWAY = "leeway"
    UNTIL_USED = "until-used"


WINDOW: Final[Mapping[Policy, float]] = {
    Policy.STRICT: 0.0,
    Policy.LEEWAY: 30.0,
    Policy.UNTIL_USED: math.inf,
}
"""For how many seconds a spent token may come again, as long as its successor was never used."""


class Verdict(StrEnum):
    """What the provider made of one presentation."""

    ROTATED = "rotated"
    REPLAYED = "replayed"
    REUSE = "reuse"
    ENDED = "ended"
    UNKNOWN = "unknown"


ACCEPTED: Final = (Verdict.ROTATED, Verdict.REPLAYED)


@dataclass(frozen=True, slots=True)
class Decision:
    """`issued` is the index of the new tokens; 0 when there are none."""

    grant: str
    index: int
    verdict: Verdict
    issued: int = 0


@dataclass(slots=True)
class Family:
    """All tokens of one login: `live` is the newest, made from `parent` at its first use."""

    policy: Policy
    live: int = 1
    parent: int = 0
    parent_used_at: float = 0.0
    ended: bool = False

    def take(self, index: int, now: float) -> Verdict:
        if self.ended:
            return Verdict.ENDED
        if index == self.live:
            self.parent, self.parent_used_at = index, now
            self.live += 1
            return Verdict.ROTATED
        if index == self.parent and now - self.parent_used_at < WINDOW[self.policy]:
            self.live += 1
            return Verdict.REPLAYED
        self.ended = True
        return Verdict.REUSE


def token(kind: str, seed: int, grant: str, index: int) -> str:
    """Token number `index` of this login; nobody who was not given it knows it."""
    digest = hashlib.sha256(f"{seed}/{kind}/{grant}/{index}".encode()).hexdigest()[:24]
    return f"{kind}.{grant}.{index}.{digest}"


class Ground:
    """The provider's books."""

    def __init__(self, seed: int, policies: Mapping[str, Policy]) -> None:
        self._seed = seed
        self.families = {grant: Family(policy) for grant, policy in policies.items()}

    def refresh_token(self, grant: str, index: int) -> str:
        return token("refresh", self._seed, grant, index)

    def access_token(self, grant: str, index: int) -> str:
        return token("access", self._seed, grant, index)

    def present(self, refresh_token: str, now: float) -> Decision:
        """Somebody presents this refresh token; the books are changed at once."""
        named = self._named("refresh", refresh_token)
        if named is None:
            return Decision("", 0, Verdict.UNKNOWN)
        grant, index = named
        family = self.families[grant]
        verdict = family.take(index, now)
        return Decision(grant, index, verdict, family.live if verdict in ACCEPTED else 0)

    def owner(self, access_token: str) -> tuple[str, int] | None:
        """Whose access token this is, and its index; None: nobody's, or the login has ended."""
        named = self._named("access", access_token)
        return None if named is None or self.families[named[0]].ended else named

    def _named(self, kind: str, text: str) -> tuple[str, int] | None:
        parts = text.split(".")
        if len(parts) != 4 or parts[1] not in self.families or not parts[2].isdecimal():
            return None
        grant, index = parts[1], int(parts[2])
        issued = index <= self.families[grant].live
        return (grant, index) if issued and text == token(kind, self._seed, grant, index) else None


def policies(names: Iterable[str]) -> dict[str, Policy]:
    """Read back what the names say: each is its policy and a number."""
    return {name: Policy(name.rpartition("-")[0]) for name in names}


def names(count: int, *kinds: Policy) -> list[str]:
    """`count` logins, their policies taken in turn: strict-00, leeway-01 ..."""
    return [f"{kinds[number % len(kinds)]}-{number:02}" for number in range(count)]
