"""What can happen to a grant; `lifecycle.evolve` folds these into its facts."""

from dataclasses import dataclass
from datetime import datetime

from mcpproxy.core.model import (
    Attempt,
    ClientRegistration,
    Ending,
    RefreshFailure,
    Secret,
    TokenSet,
    Variant,
)


@dataclass(frozen=True, slots=True)
class AttemptBegan:
    """The intent: somebody holds the lease and is about to connect."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class SendingBegan:
    """The connection stands; the next thing to leave is the refresh token."""

    attempt_id: str


@dataclass(frozen=True, slots=True)
class AnswerArrived:
    """The provider's raw answer, not yet understood."""

    attempt_id: str
    answer: Secret


@dataclass(frozen=True, slots=True)
class TokensIssued:
    """The answer held a token set, made from the refresh token of `generation`."""

    attempt_id: str
    generation: int
    tokens: TokenSet
    at: datetime


@dataclass(frozen=True, slots=True)
class RefreshFailed:
    """The attempt ended without tokens."""

    attempt_id: str
    failure: RefreshFailure
    at: datetime


@dataclass(frozen=True, slots=True)
class VariantLearned:
    """The provider refused the form of the request, not the grant; it wants this one."""

    attempt_id: str
    variant: Variant
    at: datetime


@dataclass(frozen=True, slots=True)
class AttemptOrphaned:
    """Its holder is gone; what it had done by then is all we know."""

    attempt_id: str
    at: datetime


@dataclass(frozen=True, slots=True)
class TokenRejected:
    """The upstream answered 401 to the access token with this fingerprint."""

    fingerprint: str
    at: datetime


@dataclass(frozen=True, slots=True)
class TokenAccepted:
    """The upstream took the access token after it had rejected one."""

    fingerprint: str


@dataclass(frozen=True, slots=True)
class RepairBegan:
    """The client or the endpoint is about to be looked after; written first, so that a crash
    cannot make it happen again and again.
    """

    at: datetime


@dataclass(frozen=True, slots=True)
class ClientRenewed:
    """The provider gave us a working registration in the place of `instead_of`."""

    client: ClientRegistration
    instead_of: ClientRegistration


@dataclass(frozen=True, slots=True)
class RepairFailed:
    """Looking after it brought nothing."""


@dataclass(frozen=True, slots=True)
class ClientConfigured:
    """The person gave our client another secret or key; what was refused for the old one is
    tried again.
    """

    client: ClientRegistration


@dataclass(frozen=True, slots=True)
class EndpointMoved:
    """The issuer names another token endpoint now than `instead_of`."""

    instead_of: str
    token_endpoint: str
    revocation_endpoint: str | None


@dataclass(frozen=True, slots=True)
class EndTold:
    """This generation's end stands and is told; a generation that comes after it is a new hope."""

    ending: Ending


GrantEvent = (
    AttemptBegan
    | SendingBegan
    | AnswerArrived
    | TokensIssued
    | RefreshFailed
    | VariantLearned
    | AttemptOrphaned
    | TokenRejected
    | TokenAccepted
    | RepairBegan
    | RepairFailed
    | ClientRenewed
    | ClientConfigured
    | EndpointMoved
    | EndTold
)
