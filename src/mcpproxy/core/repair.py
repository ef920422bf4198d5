"""What is to be mended around a grant before its refresh is tried again: the client, the endpoint.

Law: derived from facts, tried once per trouble, and never at another issuer.
"""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from mcpproxy.core.lifecycle import CLIENT_ERRORS, MAX_REFUSALS
from mcpproxy.core.model import IN_REPAIR, Grant, RegistrationSource

GONE: Final = frozenset({404, 405, 410, 301, 302, 303, 307, 308})
"""What an endpoint that moved away leaves behind. A captive portal looks like it too, which is
why the issuer is asked before anything is believed."""

AGAIN_AFTER: Final = timedelta(hours=1)
"""A repair that did not help is not tried again sooner."""

RENEW_BEFORE: Final = timedelta(days=1)
"""How long before its secret's end a registration is renewed."""


class Repair(StrEnum):
    """What can be mended without a person."""

    CLIENT = "client"
    ENDPOINT = "endpoint"


def is_in_repair(grant: Grant) -> bool:
    """Whether the client's renewal was begun and nothing was heard of it since."""
    past = grant.refusals
    return past is not None and past.repaired == IN_REPAIR and past.failure.code in CLIENT_ERRORS


def repair_due(grant: Grant, now: datetime) -> Repair | None:
    """What to mend before the next attempt."""
    tried_at = grant.repair_tried_at
    refusals, failures, client = grant.refusals, grant.failures, grant.client
    ours = client.source is RegistrationSource.DYNAMIC
    if refusals is not None and refusals.failure.code in CLIENT_ERRORS:
        refused = refusals.count >= MAX_REFUSALS
        return Repair.CLIENT if refused and ours and refusals.repaired == 0 else None
    lately = tried_at is not None and timedelta(0) <= now - tried_at < AGAIN_AFTER
    if failures is not None and failures.failure.status in GONE:
        return None if lately else Repair.ENDPOINT
    if refusals is not None:
        return None
    expires_at = client.secret_expires_at
    expires = expires_at is not None and now >= expires_at - RENEW_BEFORE
    return Repair.CLIENT if expires and ours and client.registration_uri and not lately else None
