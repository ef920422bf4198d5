"""A login that waits for its person: what must be kept until the provider has said yes.

Law: it is sealed as a whole, bounded in time, and used once.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from mcpproxy.core.model import ClientRegistration, Secret


@dataclass(frozen=True, slots=True)
class DeviceCode:
    """What the provider gave for a login at another device (RFC 8628 section 3.2).

    `interval` is the least time between two polls.
    """

    device_code: Secret
    user_code: str
    verification_uri: str
    verification_uri_complete: str | None
    interval: timedelta


@dataclass(frozen=True, slots=True)
class PendingLogin:
    """A login between its authorization request and its code; sealed as a whole.

    `state` finds it again; single use; `expires_at` bounds it. With a `device` there is no
    redirect: the token endpoint is polled.
    """

    flow_id: str
    server: str
    server_url: str
    state: Secret
    code_verifier: Secret
    issuer: str
    token_endpoint: str
    client: ClientRegistration
    authorization_url: str
    redirect_uri: str
    created_at: datetime
    expires_at: datetime
    iss_required: bool = False
    resource: str | None = None
    scope: str | None = None
    revocation_endpoint: str | None = None
    answer: Secret | None = None
    device: DeviceCode | None = None
