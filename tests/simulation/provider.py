"""The simulated provider: the other side's truth about every login.

It parses real refresh requests and answers as a token endpoint does, under one rotation policy
for each login, and keeps the record that decides who lost what.
"""

import json
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from urllib.parse import parse_qs

from mcpproxy.core.http import HttpReply, HttpRequest


class Rotation(StrEnum):
    """What becomes of a refresh token once it was used."""

    STRICT = "strict"
    LEEWAY_30 = "leeway_30"
    LEEWAY_60 = "leeway_60"
    UNTIL_SUCCESSOR_USED = "until_successor_used"
    NONE = "none"


LEEWAY = {Rotation.LEEWAY_30: 30.0, Rotation.LEEWAY_60: 60.0}


@dataclass(slots=True)
class Issue:
    """One refresh token and what happened to it."""

    value: str
    used_at: float | None = None
    delivered: bool = False
    excused: bool = False


@dataclass(slots=True)
class Family:
    """One login at the provider. `ended` says why it is over; None while it lives."""

    server: str
    rotation: Rotation
    life: float
    issues: list[Issue] = field(default_factory=list)
    access: dict[str, float] = field(default_factory=dict)
    ended: str | None = None
    lost_by_us: bool = False
    refreshes: int = 0


class Provider:
    """Answers refresh requests. `now` is virtual seconds."""

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

    def log_in(self, server: str, rotation: Rotation, life: float, now: float) -> tuple[str, str]:
        """A new login: its first access and refresh token."""
        family = self._families[server] = Family(server, rotation, life)
        access, refresh = self._issue(family, now)
        family.issues[-1].delivered = True
        return access, refresh

    def end(self, server: str) -> None:
        """The user or an administrator revokes the login at the provider."""
        self._families[server].ended = "revoked at the provider"

    def accepts(self, refresh_token: str) -> bool:
        """Whether this refresh token would be good now (time windows apart)."""
        found = self._by_token.get(refresh_token)
        if found is None or found[0].ended is not None:
            return False
        family, index = found
        return family.rotation is Rotation.NONE or family.issues[index].used_at is None

    def knows_access(self, token: str, now: float) -> bool:
        """The resource server's question."""
        for family in self._families.values():
            expiry = family.access.get(token)
            if expiry is not None:
                return family.ended is None and now < expiry
        return False

    def refresh(self, request: HttpRequest, now: float) -> tuple[HttpReply, Issue | None]:
        """Process one request; the Issue is what the answer carries, for the wire to mark as
        delivered or excused.
        """
        token = parse_qs(request.body.decode()).get("refresh_token", [""])[0]
        found = self._by_token.get(token)
        if found is None:
            return _error("invalid_grant", "unknown refresh token"), None
        family, index = found
        if family.ended is not None:
            return _error("invalid_grant", family.ended), None
        issue = family.issues[index]
        if not self._may_use(family, index, now):
            self._reuse(family, index)
            return _error("invalid_grant", "refresh token reuse"), None
        if issue.used_at is None:
            issue.used_at = now
        access, refresh = self._issue(family, now)
        family.refreshes += 1
        self.refreshes += 1
        answer: dict[str, object] = {
            "access_token": access,
            "token_type": "Bearer",
            "expires_in": family.life,
        }
        if family.rotation is not Rotation.NONE:
            answer["refresh_token"] = refresh
        return HttpReply(200, _JSON, json.dumps(answer).encode()), family.issues[-1]

    def _may_use(self, family: Family, index: int, now: float) -> bool:
        issue = family.issues[index]
        if family.rotation is Rotation.NONE or issue.used_at is None:
            return True
        if family.rotation is Rotation.UNTIL_SUCCESSOR_USED:
            return all(later.used_at is None for later in family.issues[index + 1 :])
        leeway = LEEWAY.get(family.rotation)
        return leeway is not None and now - issue.used_at <= leeway

    def _reuse(self, family: Family, index: int) -> None:
        """Reuse detection revokes the whole family. Whose fault it was: nobody's but the wire's
        if the provider is strict and every answer to this token was lost by an injected fault.
        """
        family.ended = "refresh token reuse detected"
        answers = family.issues[index + 1 :]
        lost_on_the_way = bool(answers) and all(
            answer.excused and not answer.delivered for answer in answers
        )
        family.lost_by_us = not (lost_on_the_way and family.rotation is Rotation.STRICT)

    def _issue(self, family: Family, now: float) -> tuple[str, str]:
        self._serial += 1
        access = f"at-{family.server}-{self._serial}"
        if family.rotation is Rotation.NONE and family.issues:
            refresh = family.issues[0].value
            family.issues.append(Issue(refresh))
        else:
            refresh = f"rt-{family.server}-{self._serial}-{self._random.getrandbits(32):08x}"
            self._by_token[refresh] = (family, len(family.issues))
            family.issues.append(Issue(refresh))
        family.access = {token: expiry for token, expiry in family.access.items() if expiry > now}
        family.access[access] = now + family.life
        return access, refresh


_JSON = {"content-type": "application/json"}


def _error(code: str, description: str) -> HttpReply:
    body = json.dumps({"error": code, "error_description": description}).encode()
    return HttpReply(400, _JSON, body)
