"""One call as it stays in the log of activity, and how the log is asked.

Law: no secret is in it; arguments only where a person wanted them kept, and redacted then.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

TOOLS_CALL: Final = "tools/call"
"""What a call is unless it says something else."""

MAX_PAGE: Final = 1000
"""Calls in one answer; more are had by asking for those before the last of them."""


MAX_ARGUMENTS: Final = 16 * 1024
"""Bytes kept of the arguments of one call."""


@dataclass(frozen=True, slots=True)
class CallRecord:
    """Who called what, when, how long it took and what came of it. `number` grows with time.
    Where `method` is not tools/call, `tool` is the name or URI of the prompt or resource.
    """

    number: int
    at: datetime
    server: str
    tool: str
    outcome: str
    duration: timedelta
    caller: str
    client: str
    request_id: str
    bytes_in: int
    bytes_out: int
    arguments: str | None = None
    method: str = TOOLS_CALL


@dataclass(frozen=True, slots=True)
class CallFilter:
    """All that is not None must be so. `before` is a number, `since` and `until` are times."""

    server: str | None = None
    tool: str | None = None
    outcome: str | None = None
    caller: str | None = None
    client: str | None = None
    request_id: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    before: int | None = None
    method: str | None = None
