"""The nouns every room shares: upstreams, grants, token sets and what happened to them.

Law: a grant stores facts only. What is due from them is derived in `lifecycle`, never stored.
All datetimes are aware and in UTC; all durations are timedeltas.
"""

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, NoReturn

FINGERPRINT_LENGTH: Final = 8


class Secret:
    """A string that never shows itself by accident; `.reveal()` is the only way to its value."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value. Only sealing, oauth and bearer code has a reason to call this."""
        return self._value

    @property
    def fingerprint(self) -> str:
        """The first 8 hex digits of the value's SHA-256: enough to tell generations apart."""
        return hashlib.sha256(self._value.encode()).hexdigest()[:FINGERPRINT_LENGTH]

    def __repr__(self) -> str:
        return f"Secret(#{self.fingerprint})"

    __str__ = __repr__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return hmac.compare_digest(self._value.encode(), other._value.encode())

    def __hash__(self) -> int:
        return hash(self._value)

    def __reduce__(self) -> NoReturn:
        raise TypeError("a Secret is not pickled: seal it instead")


class Transport(StrEnum):
    """How an upstream is reached. AUTO decides by URL or command, then by probing."""

    AUTO = "auto"
    HTTP = "http"
    STREAMABLE_HTTP = "streamable-http"
    SSE = "sse"
    STDIO = "stdio"


class GrantType(StrEnum):
    """How tokens are come by: a person in a browser (the default), a person at another device
    (RFC 8628), or nobody: the client's own credentials (RFC 6749 section 4.4).
    """

    AUTHORIZATION_CODE = "authorization_code"
    DEVICE_CODE = "device_code"
    CLIENT_CREDENTIALS = "client_credentials"


class AssertionAudience(StrEnum):
    """Whom a signed assertion names as its reader: the issuer, or the URL that it is sent to."""

    ISSUER = "issuer"
    ENDPOINT = "endpoint"


@dataclass(frozen=True, slots=True)
class OAuthConfig:
    """What a person configured about an upstream's OAuth; everything else is discovered.

    `private_key` is a PEM text for `private_key_jwt` (RFC 7523), `key_id` its `kid` and
    `signing_alg` its JWS algorithm, chosen from the key when None. `issuer` is the only provider
    that the client is for; None: whichever the server names.
    """

    client_id: str | None = None
    client_secret: Secret | None = None
    scopes: tuple[str, ...] = ()
    redirect_uri: str | None = None
    client_metadata_url: str | None = None
    extra_params: Mapping[str, str] = field(default_factory=dict)
    grant_type: GrantType = GrantType.AUTHORIZATION_CODE
    private_key: Secret | None = None
    key_id: str | None = None
    signing_alg: str | None = None
    assertion_audience: AssertionAudience = AssertionAudience.ISSUER
    issuer: str | None = None


@dataclass(frozen=True, slots=True)
class Upstream:
    """One configured MCP server. Exactly one of `url` and `command` is set.

    `problem` is why it cannot be used as it is configured, such as a secret that is missing: then
    nobody connects to it (Trouble.CONFIGURATION), and its login lives on.
    """

    name: str
    transport: Transport = Transport.AUTO
    url: str | None = None
    command: str | None = None
    args: tuple[str, ...] = ()
    env: Mapping[str, Secret] = field(default_factory=dict)
    headers: Mapping[str, Secret] = field(default_factory=dict)
    working_dir: str | None = None
    enabled: bool = True
    quarantined: bool = False
    oauth: OAuthConfig | None = None
    problem: str | None = None


class AuthMethod(StrEnum):
    """How the client proves itself at the token endpoint (RFC 7591 names)."""

    NONE = "none"
    SECRET_POST = "client_secret_post"  # noqa: S105 - a method's name
    SECRET_BASIC = "client_secret_basic"  # noqa: S105 - a method's name
    PRIVATE_KEY_JWT = "private_key_jwt"


class RegistrationSource(StrEnum):
    """Where a client registration came from; only a DYNAMIC one may be made anew by us."""

    CONFIGURED = "configured"
    METADATA_DOCUMENT = "metadata_document"
    DYNAMIC = "dynamic"


@dataclass(frozen=True, slots=True)
class ClientRegistration:
    """Our client at one issuer (RFC 7591). Never used at another issuer.

    `grant_types` are those that a registration of our own was made for; empty: those of a login in
    a browser.
    """

    issuer: str
    client_id: str
    source: RegistrationSource
    redirect_uri: str
    auth_method: AuthMethod = AuthMethod.NONE
    client_secret: Secret | None = None
    secret_expires_at: datetime | None = None
    registration_uri: str | None = None
    registration_token: Secret | None = None
    private_key: Secret | None = None
    key_id: str | None = None
    signing_alg: str | None = None
    assertion_audience: AssertionAudience = AssertionAudience.ISSUER
    grant_types: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TokenSet:
    """What one answer of a token endpoint gave us (RFC 6749 section 5.1).

    `expires_at` is None when the provider did not say, or said nonsense: then only a 401 tells.
    `refresh_expires_at` is what some providers say of the refresh token beside it.
    """

    access_token: Secret
    refresh_token: Secret | None
    issued_at: datetime
    expires_at: datetime | None
    scope: str | None = None
    token_type: str = "Bearer"  # noqa: S105 - RFC 6750's name
    refresh_expires_at: datetime | None = None


class Phase(StrEnum):
    """How far an attempt got. From SENDING on, the refresh token may have been spent."""

    CONNECTING = "connecting"
    SENDING = "sending"


class RefreshCause(StrEnum):
    """Why an attempt was made; shown in logs and `explain`."""

    SCHEDULED = "scheduled"
    EXPIRED = "expired"
    CHALLENGED = "challenged"
    RETRY = "retry"
    RESEND = "resend"
    CONFIRM = "confirm"
    PROBE = "probe"
    RECOVERY = "recovery"
    ASKED = "asked"


@dataclass(frozen=True, slots=True)
class Attempt:
    """The intent of one refresh, written before a byte leaves.

    `answer` is the provider's raw answer, kept before anybody tries to understand it.
    """

    attempt_id: str
    begun_at: datetime
    generation: int
    fingerprint: str
    holder: str
    cause: RefreshCause
    phase: Phase = Phase.CONNECTING
    answer: Secret | None = None


class FailureKind(StrEnum):
    """The classes of a failed refresh, decided once, where the answer is read."""

    NOT_SENT = "not_sent"
    REFUSED = "refused"
    TRANSIENT = "transient"
    UNKNOWN = "unknown"


class Suspect(StrEnum):
    """Who seems to have answered in the provider's place: the sign-in page of a network, or
    whatever else stands between."""

    PORTAL = "portal"


@dataclass(frozen=True, slots=True)
class RefreshFailure:
    """One failed refresh, as a value.

    `code` is the OAuth error code when the provider gave one; `detail` is text for a person,
    free of secrets; `retry_at` is the provider's Retry-After, made absolute.
    """

    kind: FailureKind
    detail: str
    code: str | None = None
    status: int | None = None
    retry_at: datetime | None = None
    suspect: Suspect | None = None


@dataclass(frozen=True, slots=True)
class FailureRun:
    """The failures since the last success, the refusals apart.

    `window_open`: the answer of an attempt after a long pause was lost, and its provider may
    repeat it to who asks again soon.
    """

    count: int
    first_at: datetime
    begun_at: datetime
    failure: RefreshFailure
    window_open: bool = False


NO_HELP: Final = -1
IN_REPAIR: Final = -2


@dataclass(frozen=True, slots=True)
class Refusals:
    """The provider's refusals of the present refresh token, and what it said. `repaired` is the
    count at which the client was renewed, 0: it was not, IN_REPAIR: that was begun, NO_HELP: in
    vain.
    """

    count: int
    first_at: datetime
    begun_at: datetime
    failure: RefreshFailure
    repaired: int = 0


class Verdict(StrEnum):
    """Who ended a login. There is no verdict for 'we lost it', and there must never be one."""

    PROVIDER_ENDED = "provider_ended"
    LOST_IN_TRANSIT = "lost_in_transit"
    CLIENT_ENDED = "client_ended"
    NO_REFRESH_TOKEN = "no_refresh_token"  # noqa: S105 - a verdict's name
    CREDENTIALS_REFUSED = "credentials_refused"


@dataclass(frozen=True, slots=True)
class Ending:
    """A login's end with its evidence; derived by `lifecycle.ending`, never stored."""

    verdict: Verdict
    at: datetime
    evidence: str


class Variant(StrEnum):
    """How this provider wants its refresh requests, learned from its refusals."""

    AS_LOGIN = "as_login"
    NO_RESOURCE = "no_resource"
    WITH_SCOPE = "with_scope"


@dataclass(frozen=True, slots=True)
class Learned:
    """What the provider's answers showed of it during this login.

    `rotates`: a refresh brings a new refresh token. `usual_life` is an access token's, seen
    `steady` times in a row. `ends_at`: the lives shrink towards this moment. `refuses_early`: what
    was refused while the access token lived was granted once it was dead.
    """

    rotates: bool | None = None
    usual_life: timedelta | None = None
    steady: int = 0
    ends_at: datetime | None = None
    refuses_early: bool = False


@dataclass(frozen=True, slots=True)
class Grant:
    """One login at one provider for one upstream, with all a refresh needs and nothing else.

    `generation` counts the token sets since the login and fences every save; `revision` counts
    the saves of this record, for compare-and-swap. `spares` are token sets from answers that
    came too late to be current: never thrown away while they might be the live ones.
    `repair_tried_at` is when the client or the endpoint was last looked after (see `repair`);
    `told_generation` is the one whose end was told, so that every end counts once.
    """

    server: str
    server_url: str
    issuer: str
    token_endpoint: str
    client: ClientRegistration
    tokens: TokenSet
    logged_in_at: datetime
    login_id: str
    generation: int = 1
    revision: int = 0
    resource: str | None = None
    scope: str | None = None
    revocation_endpoint: str | None = None
    variant: Variant = Variant.AS_LOGIN
    refreshed_at: datetime | None = None
    refresh_count: int = 0
    last_begun_at: datetime | None = None
    attempt: Attempt | None = None
    failures: FailureRun | None = None
    refusals: Refusals | None = None
    unanswered: int = 0
    rejected: str | None = None
    rejected_at: datetime | None = None
    rejections: int = 0
    spares: tuple[TokenSet, ...] = ()
    grant_type: GrantType = GrantType.AUTHORIZATION_CODE
    learned: Learned = Learned()
    repair_tried_at: datetime | None = None
    told_generation: int = 0
