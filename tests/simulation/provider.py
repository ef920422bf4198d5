"""The simulated provider: the other side's truth about every login.

It parses real refresh requests and answers as a token endpoint does, under one rotation policy
for each login, and keeps the record that decides who lost what.
"""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Final
from urllib.parse import parse_qs

from mcpproxy.core.http import HttpReply, HttpRequest


class Rotation(StrEnum):
    """What becomes of a refresh token once it was used."""

    STRICT = "strict"
    LEEWAY_10 = "leeway_10"
    LEEWAY_30 = "leeway_30"
    LEEWAY_60 = "leeway_60"
    UNTIL_SUCCESSOR_USED = "until_successor_used"
    NONE = "none"


LEEWAY: Final = {
    Rotation.LEEWAY_10: 10.0,
    Rotation.LEEWAY_30: 30.0,
    Rotation.LEEWAY_60: 60.0,
}

FORGIVES_NOTHING: Final = frozenset({Rotation.STRICT, Rotation.LEEWAY_10})
"""A lost answer ends these: nobody may present the token again within 10 s."""


LONG_IN_HAND: Final = 20.0
"""Longer than any answer travels, in seconds; what is left of a window of 30 s is too short."""


class Expiry(StrEnum):
    """How a provider writes `expires_in`."""

    NUMBER = "number"
    STRING = "string"
    FLOAT = "float"
    MISSING = "missing"


class Fate(StrEnum):
    """What became of the answer that carried a refresh token."""

    UNDER_WAY = "under way"
    DELIVERED = "delivered"
    LOST = "lost on the way"
    OUTLIVED = "lost on the way, and the machine slept through the replay window"


@dataclass(frozen=True, slots=True)
class Login:
    """One login, as its provider treats it. `life` is the access token's, in seconds."""

    server: str
    rotation: Rotation
    life: float
    expiry: Expiry = Expiry.NUMBER


@dataclass(slots=True)
class Issue:
    """One refresh token and what happened to it."""

    value: str
    made_at: float
    used_at: float | None = None
    fate: Fate = Fate.UNDER_WAY

    def lose(self, fate: Fate) -> None:
        """Its answer does not arrive; one that was delivered cannot be lost any more."""
        if self.fate is not Fate.DELIVERED:
            self.fate = fate

    def die_with_its_holder(self, now: float) -> None:
        """Lost; and too late to be asked for again, if its holder had had it for long because
        the disk was full or the machine asleep.
        """
        if self.fate is Fate.UNDER_WAY:
            self.fate = Fate.LOST if now - self.made_at < LONG_IN_HAND else Fate.OUTLIVED


@dataclass(slots=True)
class Family:
    """One login at the provider. `ended` says why it is over; None while it lives."""

    login: Login
    issues: list[Issue] = field(default_factory=list)
    access: dict[str, float] = field(default_factory=dict)
    ended: str | None = None
    ended_at: float = 0.0
    lost_in_transit: bool = False
    lost_by_us: bool = False
    presented_after_end: int = 0

    @property
    def server(self) -> str:
        return self.login.server

    def knows_access(self, token: str, now: float) -> bool:
        """The resource server's question."""
        return self.ended is None and now < self.access.get(token, now)


class Provider:
    """Answers refresh requests. `now` is seconds of real time since the beginning."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._families: dict[str, Family] = {}
        self._by_token: dict[str, tuple[Family, int]] = {}
        self._serial = 0
        self.refreshes = 0

    def families(self) -> list[Family]:
        return list(self._families.values())

    def family(self, server: str) -> Family:
        return self._families[server]

    def log_in(self, login: Login, now: float) -> tuple[str, str]:
        """A new login: its first access and refresh token."""
        family = self._families[login.server] = Family(login)
        access, refresh = self._issue(family, now)
        family.issues[-1].fate = Fate.DELIVERED
        return access, refresh

    def end(self, server: str, now: float) -> None:
        """The person or an administrator revokes the login at the provider."""
        family = self._families[server]
        family.ended, family.ended_at = "revoked at the provider", now

    def revoke_access(self, server: str) -> None:
        """The resource server takes no access token of this login any more; refreshing helps."""
        self._families[server].access.clear()

    def outlive(self) -> None:
        """The machine slept: what was lost just before cannot be asked for again in time."""
        for family in self._families.values():
            for issue in family.issues[-2:]:
                if issue.fate is Fate.LOST:
                    issue.fate = Fate.OUTLIVED

    def accepts(self, refresh_token: str) -> bool:
        """Whether this refresh token would be good now (time windows apart)."""
        found = self._by_token.get(refresh_token)
        if found is None or found[0].ended is not None:
            return False
        family, index = found
        return family.login.rotation is Rotation.NONE or family.issues[index].used_at is None

    def refresh(self, request: HttpRequest, now: float) -> tuple[HttpReply, Issue | None]:
        """Process one request; the Issue is what the answer carries."""
        token = parse_qs(request.body.decode()).get("refresh_token", [""])[0]
        found = self._by_token.get(token)
        if found is None:
            return _error("invalid_grant", "unknown refresh token"), None
        family, index = found
        if family.ended is not None:
            family.presented_after_end += 1
            return _error("invalid_grant", family.ended), None
        issue = family.issues[index]
        issue.fate = Fate.DELIVERED  # whoever presents it has it
        if not self._may_use(family, index, now):
            self._reuse(family, index, now)
            return _error("invalid_grant", "refresh token reuse"), None
        if issue.used_at is None:
            issue.used_at = now
        access, refresh = self._issue(family, now)
        self.refreshes += 1
        body = json.dumps(_answer(family.login, access, refresh)).encode()
        return HttpReply(200, _JSON, body), family.issues[-1]

    def _may_use(self, family: Family, index: int, now: float) -> bool:
        issue, rotation = family.issues[index], family.login.rotation
        if rotation is Rotation.NONE or issue.used_at is None:
            return True
        if rotation is Rotation.UNTIL_SUCCESSOR_USED:
            return all(later.used_at is None for later in family.issues[index + 1 :])
        leeway = LEEWAY.get(rotation)
        return leeway is not None and now - issue.used_at <= leeway

    def _reuse(self, family: Family, index: int, now: float) -> None:
        """Reuse detection revokes the whole family. Whose fault it was: nobody's but the wire's
        if every answer to this token was lost, and the provider forgives no second try or the
        machine slept through its window.
        """
        family.ended, family.ended_at = "refresh token reuse detected", now
        fates = {answer.fate for answer in family.issues[index + 1 :]}
        all_lost = bool(fates) and fates <= {Fate.LOST, Fate.OUTLIVED}
        helpless = family.login.rotation in FORGIVES_NOTHING or Fate.OUTLIVED in fates
        family.lost_in_transit = all_lost and helpless
        family.lost_by_us = not family.lost_in_transit

    def _issue(self, family: Family, now: float) -> tuple[str, str]:
        self._serial += 1
        server, rotation = family.server, family.login.rotation
        access = f"at-{server}-{self._serial}"
        if rotation is Rotation.NONE and family.issues:
            refresh = family.issues[0].value
        else:
            refresh = f"rt-{server}-{self._serial}-{self._random.getrandbits(32):08x}"
            self._by_token[refresh] = (family, len(family.issues))
        family.issues.append(Issue(refresh, now))
        family.access = {token: expiry for token, expiry in family.access.items() if expiry > now}
        family.access[access] = now + family.login.life
        return access, refresh


_JSON = {"content-type": "application/json"}


def _answer(login: Login, access: str, refresh: str) -> dict[str, object]:
    answer: dict[str, object] = {"access_token": access, "token_type": "Bearer"}
    match login.expiry:
        case Expiry.NUMBER:
            answer["expires_in"] = int(login.life)
        case Expiry.STRING:
            answer["expires_in"] = str(int(login.life))
        case Expiry.FLOAT:
            answer["expires_in"] = float(login.life)
        case Expiry.MISSING:
            pass
    if login.rotation is not Rotation.NONE:
        answer["refresh_token"] = refresh
    return answer


def _error(code: str, description: str) -> HttpReply:
    body = json.dumps({"error": code, "error_description": description}).encode()
    return HttpReply(400, _JSON, body)
