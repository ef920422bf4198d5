"""The ledger in words, in REST and in `explain`: what happened, and never a token."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest

from mcpproxy.core.errors import StoreUnavailable
from mcpproxy.core.events import RefreshFailed, TokensIssued
from mcpproxy.core.evolution import evolve
from mcpproxy.core.ledger import (
    MAX_LEDGER,
    LedgerLine,
    Outcome,
    line_of,
    login_line,
    logout_line,
)
from mcpproxy.core.model import (
    Attempt,
    FailureKind,
    Grant,
    Phase,
    RefreshCause,
    RefreshFailure,
    Secret,
    TokenSet,
    Verdict,
)
from mcpproxy.web.ledger import STORY_LENGTH, story, words
from tests.web.daemon import Daemon
from tests.web.stubs import ACCESS_CANARY, CLIENT_CANARY, NOW, REFRESH_CANARY, World, grant

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
ONE = grant("one", issued_at=NOW, life=HOUR)
MARK = Secret(REFRESH_CANARY).fingerprint


def line(outcome: Outcome, number: int = 0, **changes: object) -> LedgerLine:
    made = LedgerLine(
        server="one",
        login_id="login-one",
        at=NOW + number * MINUTE,
        outcome=outcome,
        generation=3,
        duration=timedelta(seconds=1.24),
        attempt_id=f"a{number}",
        cause=RefreshCause.RETRY.value,
        holder="4711",
        fingerprint="0123abcd",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def busy(number: int, **changes: object) -> LedgerLine:
    return line(Outcome.TRANSIENT, number, status=503, detail="HTTP 503", **changes)


def attempting(generation: int = 1) -> Grant:
    attempt = Attempt("a1", NOW, generation, MARK, "4711", RefreshCause.SCHEDULED, Phase.SENDING)
    return replace(ONE, attempt=attempt)


def test_a_refresh_says_which_when_why_who_and_what_came_of_it() -> None:
    later = NOW + timedelta(seconds=2)
    tokens = TokenSet(Secret("new-access"), Secret("new-refresh"), later, later + HOUR)
    event = TokensIssued("a1", 1, tokens, later)
    made = line_of(attempting(), event, evolve(attempting(), event), later)
    assert made is not None
    assert words(made) == (
        f"2026-01-12T14:05:00Z Refresh of generation 1 (#{MARK}) by process 4711, as scheduled: "
        f"new tokens (#{Secret('new-refresh').fingerprint}) after 2.0s."
    )


def test_a_failure_says_the_status_and_the_providers_code_each_once() -> None:
    failure = RefreshFailure(
        FailureKind.TRANSIENT, "HTTP 400 temporarily_unavailable: later", "temporarily_unavailable",
        400,
    )  # fmt: skip
    event = RefreshFailed("a1", failure, NOW + MINUTE)
    made = line_of(attempting(), event, evolve(attempting(), event), NOW + MINUTE)
    assert made is not None
    assert words(made).endswith(
        ": neither tokens nor a refusal (HTTP 400 temporarily_unavailable: later) after 1m."
    )


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (login_line(ONE), "Logged in at https://provider.example."),
        (logout_line(ONE, NOW, None), "Logged out."),
        (logout_line(ONE, NOW, "HTTP 500"), "Logged out; the provider did not confirm: HTTP 500."),
        (line(Outcome.CLIENT_RENEWED, detail="client-9"), "Registered anew at the provider, as "
         "client client-9."),
        (line(Outcome.ENDPOINT_MOVED, detail="https://new.example/token"), "The provider's token "
         "endpoint is https://new.example/token now."),
        (line(Outcome.ENDED, code="provider_ended", detail="invalid_grant"), "The login ended: "
         "the provider ended it (invalid_grant)."),
        (line(Outcome.TAKEN_OVER, detail="the process stopped", duration=timedelta(0)),
         "Refresh of generation 3 (#0123abcd) by process 4711, to try again after the failure: "
         "its process was gone; another one took it over (the process stopped)."),
    ],
)  # fmt: skip
def test_whatever_happens_has_its_sentence(made: LedgerLine, said: str) -> None:
    assert words(made) == f"2026-01-12T14:05:00Z {said}"


@pytest.mark.parametrize("outcome", Outcome)
def test_no_outcome_is_without_words(outcome: Outcome) -> None:
    said = words(line(outcome, code=Verdict.CLIENT_ENDED.value, detail="because"))
    assert f": {outcome.value}" not in said, "it would be told by its name in the store"
    assert said.endswith(".")


def test_a_late_answer_of_a_superseded_attempt_has_words_without_what_is_not_known() -> None:
    late = line(Outcome.KEPT_AS_SPARE, cause="", holder="", fingerprint="", duration=timedelta(0))
    assert words(late) == (
        "2026-01-12T14:05:00Z Refresh of generation 3: tokens that came too late to be the "
        "current ones; kept in reserve."
    )


def test_a_long_outage_is_told_in_two_sentences() -> None:
    lines = [login_line(ONE), *(busy(number) for number in range(1, 151))]
    first, outage, last = story(lines)
    assert first.endswith("Logged in at https://provider.example.")
    assert outage == (
        "2026-01-12T14:06:00Z to 2026-01-12T16:34:00Z 149 refreshes of generation 3: neither "
        "tokens nor a refusal (HTTP 503)."
    )
    assert last == words(lines[-1])


def test_a_quiet_year_is_told_with_its_generations() -> None:
    lines = [line(Outcome.ISSUED, number, generation=number) for number in range(1, 101)]
    assert story(lines)[0] == (
        "2026-01-12T14:06:00Z to 2026-01-12T15:44:00Z 99 refreshes of generations 1 to 99: new "
        "tokens."
    )


def test_what_differs_is_not_told_together() -> None:
    lines = [busy(1), busy(2), busy(3, login_id="login-two"), line(Outcome.UNKNOWN, 4), busy(5)]
    assert story(lines) == [words(each) for each in lines]
    changes = [line(Outcome.ENDPOINT_MOVED, number, detail="x") for number in range(5)]
    assert story(changes) == [words(each) for each in changes]


def test_a_story_is_bounded_to_its_end() -> None:
    lines = [
        busy(number) if number % 2 else line(Outcome.UNKNOWN, number)
        for number in range(MAX_LEDGER)
    ]
    told = story(lines)
    assert len(told) == STORY_LENGTH
    assert told[-1] == words(lines[-1])
    assert story([]) == []


# --- REST -----------------------------------------------------------------------------------


def asked(daemon: Daemon, path: str) -> Sequence[dict[str, object]]:
    reply = daemon.request("GET", f"/api/v1/servers/{path}")
    assert reply.status == 200
    for canary in (ACCESS_CANARY, REFRESH_CANARY, CLIENT_CANARY):
        assert canary.encode() not in reply.body
    found: Sequence[dict[str, object]] = reply.json["data"]["lines"]
    return found


def test_the_ledger_is_answered_whole_oldest_first(daemon: Daemon, world: World) -> None:
    world.ledger["github-mcp"] = [login_line(ONE), busy(1), line(Outcome.ISSUED, 2)]
    lines = asked(daemon, "github-mcp/ledger")
    assert [each["outcome"] for each in lines] == ["logged_in", "transient", "issued"]
    assert lines[1] == {
        "at": "2026-01-12T14:06:00Z",
        "outcome": "transient",
        "generation": 3,
        "login": "login-one",
        "attempt": "a1",
        "cause": "retry",
        "holder": "4711",
        "fingerprint": "0123abcd",
        "new_fingerprint": None,
        "code": None,
        "status": 503,
        "detail": "HTTP 503",
        "duration_seconds": 1.24,
        "words": words(busy(1)),
    }
    assert [each["outcome"] for each in asked(daemon, "github-mcp/ledger?limit=1")] == ["issued"]
    assert asked(daemon, "github-mcp/ledger?limit=0") == []


@pytest.mark.parametrize("limit", [-1, MAX_LEDGER + 1, "all"])
def test_a_limit_outside_of_its_bounds_is_refused(daemon: Daemon, limit: object) -> None:
    reply = daemon.request("GET", f"/api/v1/servers/github-mcp/ledger?limit={limit}")
    assert (reply.status, reply.json["code"]) == (400, "bad_request")


def test_the_ledger_of_a_server_that_is_gone_is_answered_still(
    daemon: Daemon, world: World
) -> None:
    world.ledger["gone"] = [logout_line(ONE, NOW, None)]
    assert [each["outcome"] for each in asked(daemon, "gone/ledger")] == ["logged_out"]


def test_a_store_that_cannot_be_read_is_said_and_keeps_no_explanation_back(
    daemon: Daemon, world: World
) -> None:
    world.ledger_trouble = StoreUnavailable("the disk is failing", next_step="look at the disk")
    assert daemon.request("GET", "/api/v1/servers/github-mcp/ledger").status == 503
    found = daemon.request("GET", "/api/v1/servers/github-mcp/explain").json["data"]
    assert "What happened before cannot be read now: the disk is failing." in found["lines"]
    assert found["story"] == found["ledger"] == []


def test_an_explanation_holds_the_story_and_all_of_the_ledger(daemon: Daemon, world: World) -> None:
    world.ledger["github-mcp"] = [busy(number) for number in range(20)]
    found = daemon.request("GET", "/api/v1/servers/github-mcp/explain").json["data"]
    assert len(found["ledger"]) == 20
    assert len(found["story"]) == 2
    assert found["outlook"][0].startswith("Next: a refresh 2026-01-12T14:53:00Z (in 48m), at 80 %")
    assert found["outlook"][-1].startswith("Only the provider's confirmed refusal")


def test_a_logout_is_remembered_by_the_explanation(daemon: Daemon, world: World) -> None:
    del world.grant_facts["github-mcp"]
    world.ledger["github-mcp"] = [login_line(ONE), logout_line(ONE, NOW - HOUR, None)]
    found = daemon.request("GET", "/api/v1/servers/github-mcp/explain").json["data"]
    assert (
        "No login is stored for this server: it was logged out 2026-01-12T13:05:00Z (1h ago)."
        in found["lines"]
    )
