"""Retry-After (RFC 9110 section 10.2.3), in seconds or as a date, made absolute.

Law: a provider may slow us down, never put us to sleep: what it asks for is capped.
"""

import re
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final

from mcpproxy.core.policy import DEFAULT_POLICY

SECONDS: Final = re.compile(r"(\d{1,9})(?:\.\d*)?")


def parse_retry_after(
    value: str | None,
    now: datetime,
    *,
    date: str | None = None,
    cap: timedelta = DEFAULT_POLICY.retry_after_cap,
) -> datetime | None:
    """When to come back, or None when the provider did not say anything usable.

    A date is read against the answer's own `date` header where there is one, so that a clock
    that differs from ours does not lengthen or shorten the wait.
    """
    if value is None:
        return None
    value = value.strip()
    seconds = SECONDS.fullmatch(value)
    if seconds:
        return now + min(timedelta(seconds=int(seconds[1])), cap)
    until = parse_http_date(value)
    if until is None:
        return None
    since = parse_http_date(date) or now
    return now + max(timedelta(0), min(until - since, cap))


def parse_http_date(value: str | None) -> datetime | None:
    """An HTTP date as an aware UTC datetime; None for anything else."""
    if not value:
        return None
    try:
        parsed = parsedate_to_datetime(value)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
