"""The five messages, word for word, with their fields, and true."""

from datetime import timedelta

import pytest
from structlog.testing import capture_logs
from structlog.typing import EventDict

from mcpproxy.core.ledger import LedgerLine, Outcome
from mcpproxy.core.model import FailureKind, RefreshCause, RefreshFailure
from mcpproxy.core.notices import (
    LedgerWritten,
    LoginBegan,
    LoginFailed,
    LoginLost,
    Notice,
    RefreshAttempted,
    RefreshFailedNotice,
    RefreshScheduled,
    RefreshSucceeded,
    RetryScheduled,
    StoreTroubled,
    Woke,
)
from mcpproxy.observability.refresh_log import RefreshLog, error_code
from tests.web.stubs import NOW

TIMEOUT = RefreshFailure(FailureKind.UNKNOWN, "no answer within 20 s")
REFUSED = RefreshFailure(FailureKind.REFUSED, "the token is dead", code="invalid_grant", status=400)
BUSY = RefreshFailure(FailureKind.TRANSIENT, "busy", status=503)


def written(notice: Notice) -> EventDict:
    log = RefreshLog()
    with capture_logs() as entries:
        log.hear(notice)
    assert len(entries) == 1
    return dict(entries[0])


MESSAGES: list[tuple[Notice, str, dict[str, object]]] = [
    (
        RefreshScheduled("s", 3, NOW),
        "OAuth token refresh scheduled",
        {"server": "s", "generation": 3, "next_at": "2026-01-12T14:05:00Z"},
    ),
    (
        RefreshAttempted("s", "a1", 3, 2, RefreshCause.RETRY),
        "OAuth token refresh attempt",
        {"server": "s", "generation": 3, "attempt": "a1", "retry": 2, "cause": "retry"},
    ),
    (
        RefreshSucceeded("s", "a1", 4, timedelta(milliseconds=1234.5), NOW),
        "OAuth token refresh succeeded",
        {"server": "s", "generation": 4, "attempt": "a1", "duration": 1.234,
         "expires_at": "2026-01-12T14:05:00Z"},
    ),
    (
        RefreshFailedNotice("s", "a1", 3, timedelta(seconds=20), TIMEOUT),
        "OAuth token refresh failed",
        {"server": "s", "generation": 3, "attempt": "a1", "duration": 20.0, "error": "unknown",
         "detail": "no answer within 20 s"},
    ),
    (
        RetryScheduled("s", 3, 2, NOW, REFUSED),
        "OAuth token refresh retry scheduled",
        {"server": "s", "generation": 3, "retry": 2, "next_at": "2026-01-12T14:05:00Z",
         "error": "invalid_grant"},
    ),
]  # fmt: skip


@pytest.mark.parametrize(("notice", "message", "fields"), MESSAGES)
def test_a_notice_of_a_refresh_is_written_in_the_words_users_look_for(
    notice: Notice, message: str, fields: dict[str, object]
) -> None:
    entry = written(notice)
    assert entry["event"] == message
    assert fields.items() <= entry.items()


def test_only_an_issued_token_is_called_a_success() -> None:
    others = [notice for notice, message, _ in MESSAGES if "succeeded" not in message]
    others += [LoginBegan("s", "f"), LoginFailed("s", "f", "c", "m"), LoginLost("s", "r", "e")]
    assert all("succe" not in written(notice)["event"] for notice in others)


def test_failures_are_warnings_and_the_rest_is_information() -> None:
    levels = {message: written(notice)["log_level"] for notice, message, _ in MESSAGES}
    assert levels.pop("OAuth token refresh failed") == "warning"
    assert set(levels.values()) == {"info"}


def test_the_error_code_is_the_providers_else_its_status_else_the_kind() -> None:
    assert [error_code(each) for each in (REFUSED, BUSY, TIMEOUT)] == [
        "invalid_grant",
        "http_503",
        "unknown",
    ]


def test_other_notices_are_told_as_well() -> None:
    assert written(Woke("suspend", timedelta(hours=8)))["slept"] == 28800.0
    assert written(StoreTroubled("full", "no space"))["log_level"] == "error"
    assert written(StoreTroubled(None, ""))["event"] == "Store takes writes again"


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (Outcome.CLIENT_RENEWED, "OAuth client registered anew"),
        (Outcome.CLIENT_CONFIGURED, "OAuth client configured anew"),
        (Outcome.ENDPOINT_MOVED, "OAuth token endpoint moved"),
    ],
)
def test_what_only_the_ledger_tells_of_is_logged_from_it(outcome: Outcome, message: str) -> None:
    line = LedgerLine("s", "login", NOW, outcome, 3, detail="told by the provider")
    entry = written(LedgerWritten("s", line))
    assert (entry["event"], entry["server"], entry["generation"]) == (message, "s", 3)


def test_the_other_lines_of_the_ledger_are_not_logged_twice() -> None:
    told = {Outcome.CLIENT_RENEWED, Outcome.CLIENT_CONFIGURED, Outcome.ENDPOINT_MOVED}
    for outcome in set(Outcome) - told:
        with capture_logs() as logged:
            RefreshLog().hear(LedgerWritten("s", LedgerLine("s", "login", NOW, outcome, 3)))
        assert logged == []
