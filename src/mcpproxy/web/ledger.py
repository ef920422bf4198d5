"""The ledger for people and programs: each line with its words, and the whole as a short story.

Law: a line's words say only what stands in it; no token is in a line, so none can be in its words.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import msgspec

from mcpproxy.core.health import countdown, rfc3339
from mcpproxy.core.ledger import LedgerLine, Outcome
from mcpproxy.core.model import RefreshCause, Verdict
from mcpproxy.web.items import Time

STORY_LENGTH: Final = 12
"""Sentences of a story: what fits a screen beside the rest of an explanation."""

RUN: Final = 3
"""So many lines in a row that say the same are told in one sentence."""

BECAUSE: Final = {
    RefreshCause.SCHEDULED: "as scheduled",
    RefreshCause.EXPIRED: "because the access token has expired",
    RefreshCause.CHALLENGED: "because the server refused the access token",
    RefreshCause.RETRY: "to try again after the failure",
    RefreshCause.RESEND: "to send the same request again, as its answer never arrived",
    RefreshCause.CONFIRM: "to confirm the provider's refusal",
    RefreshCause.PROBE: "to ask one last time whether the refusal stands",
    RefreshCause.RECOVERY: "to finish what an earlier process began",
    RefreshCause.ASKED: "because somebody asked for it",
}
_CAME_OF_IT: Final = {
    Outcome.ISSUED: "new tokens",
    Outcome.KEPT_AS_SPARE: "tokens that came too late to be the current ones; kept in reserve",
    Outcome.REFUSED: "the provider refused it",
    Outcome.TRANSIENT: "neither tokens nor a refusal",
    Outcome.NOT_SENT: "never sent, so nothing was spent",
    Outcome.UNKNOWN: "sent, but no answer arrived",
    Outcome.OTHER_FORM: "the provider wants another form of request",
    Outcome.TAKEN_OVER: "its process was gone; another one took it over",
}
_VERDICT: Final[Mapping[str, str]] = {
    Verdict.PROVIDER_ENDED.value: "the provider ended it",
    Verdict.LOST_IN_TRANSIT.value: "an answer of the provider was lost on its way here",
    Verdict.CLIENT_ENDED.value: "the provider no longer knows mcpproxy as its client",
    Verdict.NO_REFRESH_TOKEN.value: "the access token ended and cannot be renewed",
    Verdict.CREDENTIALS_REFUSED.value: "the provider refuses the client credentials",
}


class LedgerItem(msgspec.Struct, frozen=True, kw_only=True):
    """One attempt, or one change of the login. `generation` and `fingerprint` are of the refresh
    token that was presented, `new_fingerprint` of the one that came back: eight hex digits of a
    hash, never a token. `words` say the line as a sentence.
    """

    at: Time
    outcome: str
    generation: int
    login: str
    attempt: str | None
    cause: str | None
    holder: str | None
    fingerprint: str | None
    new_fingerprint: str | None
    code: str | None
    status: int | None
    detail: str | None
    duration_seconds: float
    words: str


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """The last lines about one server, the oldest first."""

    server: str
    lines: list[LedgerItem]


def ledger_items(lines: Sequence[LedgerLine]) -> list[LedgerItem]:
    return [_item(line) for line in lines]


def story(lines: Sequence[LedgerLine], length: int = STORY_LENGTH) -> list[str]:
    """The last `length` sentences, oldest first: lines that repeat each other are told once."""
    told = [sentence for run in _runs(lines) for sentence in _sentences(run)]
    return told[-length:] if length > 0 else []


def words(line: LedgerLine) -> str:
    """The line as a sentence."""
    return f"{rfc3339(line.at)} {_what(line)}"


def _item(line: LedgerLine) -> LedgerItem:
    return LedgerItem(
        at=rfc3339(line.at),
        outcome=line.outcome.value,
        generation=line.generation,
        login=line.login_id,
        attempt=line.attempt_id or None,
        cause=line.cause or None,
        holder=line.holder or None,
        fingerprint=line.fingerprint or None,
        new_fingerprint=line.new_fingerprint or None,
        code=line.code,
        status=line.status,
        detail=line.detail or None,
        duration_seconds=round(line.duration.total_seconds(), 3),
        words=words(line),
    )


def _what(line: LedgerLine) -> str:
    match line.outcome:
        case Outcome.LOGGED_IN:
            return f"Logged in at {line.detail}."
        case Outcome.LOGGED_OUT if line.detail:
            return f"Logged out; the provider did not confirm: {line.detail}."
        case Outcome.LOGGED_OUT:
            return "Logged out."
        case Outcome.CLIENT_RENEWED:
            return f"Registered anew at the provider, as client {line.detail}."
        case Outcome.CLIENT_CONFIGURED:
            return f"Given another secret or key in the configuration, for client {line.detail}."
        case Outcome.ENDPOINT_MOVED:
            return f"The provider's token endpoint is {line.detail} now."
        case Outcome.ENDED:
            return f"The login ended: {_VERDICT.get(line.code or '', line.code)} ({line.detail})."
        case _:
            return f"{_attempt(line)}: {_result(line)}."


def _attempt(line: LedgerLine) -> str:
    token = f" (#{line.fingerprint})" if line.fingerprint else ""
    holder = f" by process {line.holder}" if line.holder else ""
    because = f", {BECAUSE[RefreshCause(line.cause)]}" if line.cause in _CAUSES else ""
    return f"Refresh of generation {line.generation}{token}{holder}{because}"


def _result(line: LedgerLine) -> str:
    came = _CAME_OF_IT.get(line.outcome, line.outcome.value)
    new = f" (#{line.new_fingerprint})" if line.new_fingerprint else ""
    took = f" after {_seconds(line)}" if line.duration else ""
    return f"{came}{new}{_said(line)}{took}"


def _said(line: LedgerLine) -> str:
    """The code, the status and the detail, each once."""
    status = f"HTTP {line.status}" if line.status is not None else None
    said: list[str] = []
    for part in (line.code, status, line.detail):
        if part and not any(part in other for other in said):
            said = [other for other in said if other not in part] + [part]
    return f" ({', '.join(said)})" if said else ""


def _seconds(line: LedgerLine) -> str:
    seconds = line.duration.total_seconds()
    return f"{seconds:.1f}s" if seconds < 60 else countdown(line.duration)


def _runs(lines: Sequence[LedgerLine]) -> Iterator[list[LedgerLine]]:
    """Neighbours that say the same, together."""
    run: list[LedgerLine] = []
    for line in lines:
        if run and _likeness(run[-1]) != _likeness(line):
            yield run
            run = []
        run.append(line)
    if run:
        yield run


def _sentences(run: Sequence[LedgerLine]) -> Iterator[str]:
    """The last of a run is told in full: it is the one that still matters."""
    *earlier, last = run
    if len(run) < RUN or last.outcome not in _CAME_OF_IT:
        yield from (words(line) for line in run)
        return
    generations = f"generation {run[0].generation}"
    if earlier[-1].generation != run[0].generation:
        generations = f"generations {run[0].generation} to {earlier[-1].generation}"
    came = f"{_CAME_OF_IT.get(last.outcome, last.outcome.value)}{_said(last)}"
    first, until = rfc3339(run[0].at), rfc3339(earlier[-1].at)
    yield f"{first} to {until} {len(earlier)} refreshes of {generations}: {came}."
    yield words(last)


def _likeness(line: LedgerLine) -> tuple[object, ...]:
    return line.login_id, line.outcome, line.code, line.status, line.detail


_CAUSES: Final = frozenset(cause.value for cause in RefreshCause)
