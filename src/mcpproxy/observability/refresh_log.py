"""The log messages of a login's life, written from notices.

Law: the five refresh messages are word for word what users grep for, and true: "succeeded" is
written only for a notice that says a token was issued and stored.
"""

import logging
from datetime import datetime, timedelta
from typing import Final, assert_never

import structlog

from mcpproxy.core.health import rfc3339
from mcpproxy.core.ledger import LedgerLine, Outcome
from mcpproxy.core.model import RefreshFailure
from mcpproxy.core.notices import (
    Called,
    ConfigReloaded,
    ItemAsked,
    LedgerWritten,
    LoggedOut,
    LoginBegan,
    LoginFailed,
    LoginLost,
    LoginSucceeded,
    Notice,
    RefreshAttempted,
    RefreshFailedNotice,
    RefreshScheduled,
    RefreshSucceeded,
    RetryScheduled,
    ServersChanged,
    StoreTroubled,
    ToolCalled,
    ToolsRetrieved,
    Woke,
)

SCHEDULED = "OAuth token refresh scheduled"
ATTEMPT = "OAuth token refresh attempt"
SUCCEEDED = "OAuth token refresh succeeded"
FAILED = "OAuth token refresh failed"
RETRY_SCHEDULED = "OAuth token refresh retry scheduled"

_SYSTEM: Final = logging.getLogger("mcpproxy.system")


class RefreshLog:
    """Hears notices and writes them to the log."""

    def __init__(self) -> None:
        self._oauth = structlog.stdlib.get_logger("mcpproxy.oauth")
        self._system = structlog.stdlib.get_logger("mcpproxy.system")

    def hear(self, notice: Notice) -> None:
        if isinstance(notice, Called):
            self._called(notice)  # by far the most frequent, and seldom written
            return
        match notice:
            case (
                RefreshScheduled()
                | RefreshAttempted()
                | RefreshSucceeded()
                | RefreshFailedNotice()
                | RetryScheduled()
            ):
                self._refresh(notice)
            case LoginBegan() | LoginSucceeded() | LoginFailed() | LoggedOut() | LoginLost():
                self._login(notice)
            case Woke(reason, slept):
                self._system.info("Machine woke", reason=reason, slept=_seconds(slept))
            case ConfigReloaded(changed):
                self._system.info("Configuration reloaded", changed=", ".join(changed) or "nothing")
            case StoreTroubled(None, detail):
                self._system.info("Store takes writes again", detail=detail)
            case StoreTroubled(trouble, detail):
                self._system.error("Store does not take writes", trouble=trouble, detail=detail)
            case LedgerWritten(line=line):
                self._ledger(line)
            case ToolsRetrieved(found, tokens, all_tokens):
                self._system.debug(
                    "Tools retrieved", found=found, tokens=tokens, all_tokens=all_tokens
                )
            case ServersChanged(server, reason):
                self._system.debug("Server changed", server=server, reason=reason)
            case _:
                assert_never(notice)

    def _called(self, notice: Called) -> None:
        if not _SYSTEM.isEnabledFor(logging.DEBUG):
            return
        log = self._system.bind(
            server=notice.server, outcome=notice.outcome, duration=_seconds(notice.duration)
        )
        match notice:
            case ToolCalled(tool=tool):
                log.debug("Tool called", tool=tool)
            case ItemAsked(method=method):
                log.debug("Item asked for", method=method)
            case _:
                assert_never(notice)

    def _refresh(
        self,
        notice: RefreshScheduled
        | RefreshAttempted
        | RefreshSucceeded
        | RefreshFailedNotice
        | RetryScheduled,
    ) -> None:
        log = self._oauth.bind(server=notice.server, generation=notice.generation)
        match notice:
            case RefreshScheduled():
                log.info(SCHEDULED, next_at=rfc3339(notice.at))
            case RefreshAttempted():
                log.info(
                    ATTEMPT,
                    attempt=notice.attempt_id,
                    retry=notice.retry,
                    cause=notice.cause.value,
                )
            case RefreshSucceeded():
                log.info(
                    SUCCEEDED,
                    attempt=notice.attempt_id,
                    duration=_seconds(notice.duration),
                    expires_at=_time(notice.expires_at),
                )
            case RefreshFailedNotice():
                log.warning(
                    FAILED,
                    attempt=notice.attempt_id,
                    duration=_seconds(notice.duration),
                    error=error_code(notice.failure),
                    detail=notice.failure.detail,
                )
            case RetryScheduled():
                log.info(
                    RETRY_SCHEDULED,
                    retry=notice.retry,
                    next_at=rfc3339(notice.at),
                    error=error_code(notice.failure),
                )
            case _:
                assert_never(notice)

    def _ledger(self, line: LedgerLine) -> None:
        """What no other notice tells of."""
        log = self._oauth.bind(server=line.server, generation=line.generation)
        match line.outcome:
            case Outcome.CLIENT_RENEWED:
                log.info("OAuth client registered anew", client=line.detail)
            case Outcome.CLIENT_CONFIGURED:
                log.info("OAuth client configured anew", client=line.detail)
            case Outcome.ENDPOINT_MOVED:
                log.info("OAuth token endpoint moved", endpoint=line.detail)
            case _:
                return

    def _login(
        self, notice: LoginBegan | LoginSucceeded | LoginFailed | LoggedOut | LoginLost
    ) -> None:
        log = self._oauth.bind(server=notice.server)
        match notice:
            case LoginBegan(_, flow_id):
                log.info("OAuth login started", flow=flow_id)
            case LoginSucceeded(_, flow_id, expires_at):
                log.info("OAuth login succeeded", flow=flow_id, expires_at=_time(expires_at))
            case LoginFailed(_, flow_id, code, message):
                log.warning("OAuth login failed", flow=flow_id, error=code, detail=message)
            case LoggedOut():
                log.info("OAuth logged out")
            case LoginLost(_, reason, evidence):
                log.warning("OAuth login required", reason=reason, evidence=evidence)
            case _:
                assert_never(notice)


def error_code(failure: RefreshFailure) -> str:
    """The provider's OAuth code, else its HTTP status, else the class of the failure."""
    if failure.code:
        return failure.code
    return f"http_{failure.status}" if failure.status else failure.kind.value


def _seconds(duration: timedelta) -> float:
    return round(duration.total_seconds(), 3)


def _time(at: datetime | None) -> str:
    return rfc3339(at) if at else "unknown"
