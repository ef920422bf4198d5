"""The simulated provider: the other side's truth about every login.

It parses real refresh requests and answers as a token endpoint does, under one rotation policy
for each login, and keeps the record that decides who lost what.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from random import Random
from typing import Final
from urllib.parse import parse_qs

from mcpproxy.core.http import HttpReply, HttpRequest
from tests.simulation.answers import Expiry, Shape, expires_in, written
from tests.simulation.words import DEAD_CLIENT, UNWANTED_RESOURCE, WANTED_SCOPE, Dialect, Word


class Rotation(StrEnum):
    """What becomes of a refresh token once it was used."""

    STRICT = "strict"
    LEEWAY_10 = "leeway_10"
    LEEWAY_30 = "leeway_30"
    LEEWAY_60 = "leeway_60"
    SAME_ANSWER_60 = "same_answer_60"
    """Within a minute the very answer of the first time is given again."""
    UNTIL_SUCCESSOR_USED = "until_successor_used"
    KV_STALE = "kv_stale"
    """As before, over a store whose replicas may not know a new token for a minute."""
    NONE = "none"


LEEWAY: Final = {
    Rotation.LEEWAY_10: 10.0,
    Rotation.LEEWAY_30: 30.0,
    Rotation.LEEWAY_60: 60.0,
    Rotation.SAME_ANSWER_60: 60.0,
}

FORGIVES_NOTHING: Final = frozenset({Rotation.STRICT, Rotation.LEEWAY_10})
"""A lost answer ends these: nobody may present the token again within 10 s."""

SUCCESSOR: Final = frozenset({Rotation.UNTIL_SUCCESSOR_USED, Rotation.KV_STALE})

LONG_IN_HAND: Final = 20.0
"""Longer than any answer travels, in seconds; what is left of a window of 30 s is too short."""

REPLICA_LAG: Final = 60.0
"""The longest time until every replica knows a new token, in seconds."""

SCOPE: Final = "read write"


class Form(StrEnum):
    """What the provider wants of a refresh request."""

    AS_LOGIN = "as at the login"
    NO_RESOURCE = "without resource"
    WITH_SCOPE = "with scope"


class Earlier(StrEnum):
    """What becomes of earlier access tokens when a refresh makes a new one."""

    KEPT = "kept"
    REVOKED = "revoked"


class Early(StrEnum):
    """What becomes of a refresh while the newest access token lives."""

    GRANTED = "granted"
    REFUSED = "refused until it is dead"


class Clients(StrEnum):
    """What becomes of a login when its client is forgotten and registered anew."""

    BOUND = "the login ends with its client"
    FREE = "the login goes on with the new one"


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
    shape: Shape = Shape.PLAIN
    dialect: Dialect = Dialect.STANDARD
    form: Form = Form.AS_LOGIN
    earlier: Earlier = Earlier.KEPT
    clients: Clients = Clients.BOUND
    early: Early = Early.GRANTED
    resource: str | None = None
    issuer: str = "https://auth-0.example.com"


@dataclass(slots=True)
class Issue:
    """One refresh token and what happened to it. `fields` are the answer that brought it."""

    value: str
    made_at: float
    fields: dict[str, object] = field(default_factory=dict)
    known_at: float = 0.0
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
    """One login at the provider. `ended` says why it is over; None while it lives.

    `client_id` is the client that it belongs to; None: nobody asked. `copied` says that more than
    one vault holds its tokens: then whoever comes second loses.
    """

    login: Login
    client_id: str | None = None
    issues: list[Issue] = field(default_factory=list)
    access: dict[str, float] = field(default_factory=dict)
    ended: str | None = None
    ended_at: float = 0.0
    last_word: Word | None = None
    lost_in_transit: bool = False
    lost_by_us: bool = False
    copied: bool = False
    client_was_forgotten: bool = False
    wrong_form: str | None = None

    @property
    def server(self) -> str:
        return self.login.server

    @property
    def lives_until(self) -> float:
        """When the last access token dies; 0 when none lives."""
        return max(self.access.values(), default=0.0)

    def end(self, why: str, now: float, word: Word) -> None:
        """The login is over; `word` is what is answered from now on."""
        self.ended, self.ended_at, self.last_word = why, now, word

    def knows_access(self, token: str, now: float) -> bool:
        """The resource server's question. A client that is gone leaves its access tokens."""
        dead = self.ended is not None and self.last_word is not DEAD_CLIENT
        return not dead and now < self.access.get(token, now)


@dataclass(frozen=True, slots=True)
class Processed:
    """What the provider made of a request: the answer, the refresh token in it, or its word.

    `is_passing`: the word is not meant; a replica did not know better, or it is too early.
    """

    reply: HttpReply
    issue: Issue | None = None
    word: Word | None = None
    is_passing: bool = False


class Provider:
    """Answers refresh requests. `now` is seconds of real time since the beginning."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._families: dict[str, Family] = {}
        self._by_token: dict[str, tuple[Family, int]] = {}
        self._clients: dict[str, str] = {}
        self._serial = 0
        self.refreshes = 0

    def families(self) -> list[Family]:
        return list(self._families.values())

    def family(self, server: str) -> Family:
        return self._families[server]

    def log_in(self, login: Login, now: float) -> tuple[str, str]:
        """A new login: its first access and refresh token."""
        family = self._families[login.server] = Family(login, self._clients.get(login.server))
        issue = self._issue(family, now)
        issue.fate, issue.known_at = Fate.DELIVERED, now
        return str(issue.fields["access_token"]), issue.value

    def end(self, server: str, now: float) -> None:
        """The person or an administrator revokes the login at the provider."""
        family = self._families[server]
        if family.ended is None:
            family.end("revoked at the provider", now, family.login.dialect.value)

    def client(self, server: str) -> str:
        """The client that this server's logins are made with, from now on asked after."""
        return self._clients.setdefault(server, f"client-{server}")

    def register(self, server: str) -> str:
        """A client in the place of the one before; a login that is not bound to it goes on."""
        self._serial += 1
        self._clients[server] = f"client-{server}-{self._serial}"
        family = self._families[server]
        if family.login.clients is Clients.FREE:
            family.client_id = self._clients[server]
        return self._clients[server]

    def end_client(self, server: str, now: float) -> None:
        """The provider forgets the client of this login."""
        family = self._families[server]
        family.client_was_forgotten = True
        if family.ended is None and family.login.clients is Clients.BOUND:
            family.end("its client was deleted", now, DEAD_CLIENT)
        if family.ended is None:
            family.client_id = "none that anybody has"

    def server_of(self, form: Mapping[str, str]) -> str:
        """Whose login a refresh request is about."""
        found = self._by_token.get(form.get("refresh_token", ""))
        return found[0].server if found else "nobody"

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

    def holds(self, refresh_token: str) -> bool:
        """Whether this refresh token is of a login that the provider still honours."""
        found = self._by_token.get(refresh_token)
        return found is not None and found[0].ended is None

    # --- the token endpoint ---------------------------------------------------------------------

    def refresh(self, request: HttpRequest, now: float) -> Processed:
        """Process one request."""
        form = form_of(request)
        found = self._by_token.get(form.get("refresh_token", ""))
        if found is None:
            return _say(Dialect.STANDARD.value)
        family, index = found
        unwanted = _judge_form(family, form)
        if unwanted is not None:
            return _say(unwanted)
        if family.last_word is not None:
            is_other = form.get("client_id") != family.client_id
            by_client = family.last_word is DEAD_CLIENT
            return _say(family.login.dialect.value if by_client and is_other else family.last_word)
        if family.client_id is not None and form.get("client_id") != family.client_id:
            return _say(DEAD_CLIENT)
        issue = family.issues[index]
        if now < issue.known_at:
            word = family.login.dialect.value
            return Processed(word.reply, None, word, is_passing=True)
        issue.fate = Fate.DELIVERED  # whoever presents it has it
        is_first = issue.used_at is None
        if family.login.early is Early.REFUSED and is_first and now < family.lives_until:
            word = family.login.dialect.value
            return Processed(word.reply, None, word, is_passing=True)
        if not self._may_use(family, index, now):
            self._reuse(family, index, now)
            return _say(family.login.dialect.value)
        made = self._repeated(family, index)
        if issue.used_at is None:
            issue.used_at = now
        if made is None:
            made = self._issue(family, now)
        self.refreshes += 1
        return Processed(written(family.login.shape, made.fields), made)

    def _repeated(self, family: Family, index: int) -> Issue | None:
        """The answer of the first time, by a provider that gives it again."""
        if family.login.rotation is not Rotation.SAME_ANSWER_60:
            return None
        if family.issues[index].used_at is None:
            return None
        again = family.issues[index + 1]
        if again.fate is not Fate.DELIVERED:
            again.fate = Fate.UNDER_WAY
        return again

    def _may_use(self, family: Family, index: int, now: float) -> bool:
        issue, rotation = family.issues[index], family.login.rotation
        if rotation is Rotation.NONE or issue.used_at is None:
            return True
        if rotation in SUCCESSOR:
            return all(later.used_at is None for later in family.issues[index + 1 :])
        leeway = LEEWAY.get(rotation)
        return leeway is not None and now - issue.used_at <= leeway

    def _reuse(self, family: Family, index: int, now: float) -> None:
        """Reuse detection revokes the whole family. Whose fault it was: nobody's but the wire's
        if every answer to this token was lost, and the provider forgives no second try or the
        machine slept through its window; a copy's or a backup's if there was one.
        """
        family.end("refresh token reuse detected", now, family.login.dialect.value)
        if family.copied:
            return
        fates = {answer.fate for answer in family.issues[index + 1 :]}
        all_lost = bool(fates) and fates <= {Fate.LOST, Fate.OUTLIVED}
        helpless = family.login.rotation in FORGIVES_NOTHING or Fate.OUTLIVED in fates
        family.lost_in_transit = all_lost and helpless
        family.lost_by_us = not family.lost_in_transit

    def _issue(self, family: Family, now: float) -> Issue:
        self._serial += 1
        login = family.login
        access = f"at-{login.server}-{self._serial}"
        if login.rotation is Rotation.NONE and family.issues:
            refresh = family.issues[0].value
        else:
            refresh = f"rt-{login.server}-{self._serial}-{self._random.getrandbits(32):08x}"
            self._by_token[refresh] = (family, len(family.issues))
        fields: dict[str, object] = {"access_token": access, "token_type": "Bearer"}
        told = expires_in(login.expiry, login.life)
        if told is not None:
            fields["expires_in"] = told
        if login.rotation is not Rotation.NONE:
            fields["refresh_token"] = refresh
        lag = self._random.uniform(0, 2 * REPLICA_LAG) - REPLICA_LAG
        known_at = now + max(0.0, lag) if login.rotation is Rotation.KV_STALE else now
        family.issues.append(Issue(refresh, now, fields, known_at))
        if login.earlier is Earlier.REVOKED:
            family.access.clear()
        family.access = {token: expiry for token, expiry in family.access.items() if expiry > now}
        family.access[access] = now + login.life
        return family.issues[-1]


def form_of(request: HttpRequest) -> dict[str, str]:
    """The form that the request carries."""
    return {name: values[0] for name, values in parse_qs(request.body.decode()).items()}


def _say(word: Word) -> Processed:
    return Processed(word.reply, None, word)


def _judge_form(family: Family, form: dict[str, str]) -> Word | None:
    """The request's form: what the provider refuses, and what is no form of this login's at all."""
    login, resource, scope = family.login, form.get("resource"), form.get("scope")
    if resource not in (None, login.resource) or scope not in (None, SCOPE):
        family.wrong_form = f"resource={resource} scope={scope}"
    if form.get("grant_type") != "refresh_token" or not form.get("client_id"):
        family.wrong_form = f"grant_type={form.get('grant_type')} client={form.get('client_id')}"
    if login.form is Form.NO_RESOURCE and resource is not None:
        return UNWANTED_RESOURCE
    if login.form is Form.WITH_SCOPE and scope is None:
        return WANTED_SCOPE
    return None
