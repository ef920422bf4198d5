"""The log of activity: asked, watched as it grows, and exported."""

import asyncio
import csv
import io
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Annotated, Final, Literal

import msgspec
from starlette.responses import Response, StreamingResponse

from mcpproxy.core.activity import MAX_PAGE, CallFilter, CallRecord
from mcpproxy.core.errors import UsageError
from mcpproxy.core.notices import Called
from mcpproxy.observability.bus import Event
from mcpproxy.web.events import HEARTBEAT
from mcpproxy.web.items import Time
from mcpproxy.web.parts import WebParts
from mcpproxy.web.rest.endpoint import Call, NoBody, get

_Text = Annotated[str, msgspec.Meta(max_length=256)]
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
"""What a spreadsheet takes for a formula at the beginning of a cell."""


class CallItem(msgspec.Struct, frozen=True, kw_only=True):
    """One call. `number` is for asking for those before it; None while it is not written yet.
    `method` says what was asked of the server; where it is no tool, `tool` is the name or URI.
    """

    number: int | None
    at: Time
    server: str
    tool: str
    outcome: str
    duration_ms: float
    caller: str
    client: str
    request_id: str
    bytes_in: int
    bytes_out: int
    arguments: str | None
    method: str


class Activity(msgspec.Struct, frozen=True):
    """Newest first."""

    calls: list[CallItem]


class FilterQuery(msgspec.Struct, frozen=True, kw_only=True):
    """Times are RFC 3339; `before` is the number of a call."""

    server: _Text | None = None
    tool: _Text | None = None
    outcome: Literal["ok", "error", "unavailable", "overloaded", "denied"] | None = None
    caller: _Text | None = None
    client: _Text | None = None
    request_id: _Text | None = None
    since: _Text | None = None
    until: _Text | None = None
    method: _Text | None = None


class ListQuery(FilterQuery, frozen=True, kw_only=True):
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)] = 100
    before: Annotated[int, msgspec.Meta(ge=1, le=2**53)] | None = None
    follow: bool = False


class ExportQuery(FilterQuery, frozen=True, kw_only=True):
    format: Literal["jsonl", "csv"] = "jsonl"


async def _list(call: Call[NoBody, ListQuery]) -> Activity | Response:
    query = call.query
    found = await call.parts.activity.calls(call_filter(query, query.before), query.limit)
    if not query.follow:
        return Activity([call_item(each) for each in found])
    lines = _followed(call.parts, call_filter(query), [call_item(each) for each in reversed(found)])
    return StreamingResponse(lines, media_type="text/plain; charset=utf-8")


async def _followed(
    parts: WebParts, wanted: CallFilter, first: Sequence[CallItem]
) -> AsyncIterator[bytes]:
    """A JSON line for each of the last calls, then for each new one, until the server stops."""
    subscription = parts.bus.subscribe()
    closing = asyncio.create_task(parts.closing.wait())
    closing.add_done_callback(lambda _: subscription.close())
    try:
        yield b"".join(_line(each) for each in first)
        while True:
            event = await subscription.next(HEARTBEAT)
            if event is None and subscription.closed:
                return
            if isinstance(event, Event) and isinstance(event.notice, Called):
                made = _happened(event.at, event.notice)
                if matches(wanted, made):
                    yield _line(made)
            elif event is None:
                yield b"\n"  # somebody who went away is noticed by writing
    finally:
        closing.cancel()
        parts.bus.unsubscribe(subscription)


async def _export(call: Call[NoBody, ExportQuery]) -> Response:
    wanted = call_filter(call.query)
    first = await call.parts.activity.calls_after(wanted, 0, MAX_PAGE)
    if call.query.format == "csv":
        body, kind = _csv(call.parts, wanted, first), "text/csv; charset=utf-8"
    else:
        body, kind = _json_lines(call.parts, wanted, first), "application/x-ndjson"
    return StreamingResponse(body, media_type=kind)


async def _json_lines(
    parts: WebParts, wanted: CallFilter, first: Sequence[CallRecord]
) -> AsyncIterator[bytes]:
    async for page in _pages(parts, wanted, first):
        yield b"".join(_line(call_item(each)) for each in page)


async def _csv(
    parts: WebParts, wanted: CallFilter, first: Sequence[CallRecord]
) -> AsyncIterator[bytes]:
    columns = CallItem.__struct_fields__
    yield (",".join(columns) + "\r\n").encode()
    async for page in _pages(parts, wanted, first):
        out = io.StringIO()
        writer = csv.writer(out)
        for each in page:
            writer.writerow([_cell(getattr(call_item(each), column)) for column in columns])
        yield out.getvalue().encode(errors="backslashreplace")


async def _pages(
    parts: WebParts, wanted: CallFilter, page: Sequence[CallRecord]
) -> AsyncIterator[Sequence[CallRecord]]:
    while page:
        yield page
        page = await parts.activity.calls_after(wanted, page[-1].number, MAX_PAGE)


def call_item(record: CallRecord) -> CallItem:
    return CallItem(
        number=record.number,
        at=_time(record.at),
        server=record.server,
        tool=record.tool,
        outcome=record.outcome,
        duration_ms=round(record.duration.total_seconds() * 1000, 3),
        caller=record.caller,
        client=record.client,
        request_id=record.request_id,
        bytes_in=record.bytes_in,
        bytes_out=record.bytes_out,
        arguments=record.arguments,
        method=record.method,
    )


def matches(wanted: CallFilter, call: CallItem) -> bool:
    """Whether a call that happens now is one of those that are watched."""
    same = all(
        getattr(wanted, name) in (None, getattr(call, name))
        for name in ("server", "tool", "outcome", "caller", "request_id", "method")
    )
    client = wanted.client
    return same and (
        client is None or call.client == client or call.client.startswith(f"{client} ")
    )


def _happened(at: datetime, notice: Called) -> CallItem:
    return CallItem(
        number=None,
        at=_time(at),
        server=notice.server,
        tool=notice.tool,
        outcome=notice.outcome,
        duration_ms=round(notice.duration.total_seconds() * 1000, 3),
        caller=notice.caller,
        client=notice.client,
        request_id=notice.request_id,
        bytes_in=notice.bytes_in,
        bytes_out=notice.bytes_out,
        arguments=None,
        method=notice.method,
    )


def call_filter(query: FilterQuery, before: int | None = None) -> CallFilter:
    """Raises UsageError for a time that is none."""
    return CallFilter(
        server=query.server,
        tool=query.tool,
        outcome=query.outcome,
        caller=query.caller,
        client=query.client,
        request_id=query.request_id,
        since=_moment("since", query.since),
        until=_moment("until", query.until),
        before=before,
        method=query.method,
    )


def _moment(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        # A plus sign in a query that nobody encoded is a blank.
        moment = datetime.fromisoformat(text.replace(" ", "+"))
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        raise UsageError(
            f"{name} is not a time: {text!r}.", next_step="Write 2026-01-31T14:30:00Z."
        ) from None


def _time(at: datetime) -> str:
    """Milliseconds, UTC: calls are closer together than seconds."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at.microsecond // 1000:03d}Z"


def _line(call: CallItem) -> bytes:
    return msgspec.json.encode(call) + b"\n"


def _cell(value: object) -> object:
    if isinstance(value, str) and value.startswith(_FORMULA):
        return f"'{value}"
    return "" if value is None else value


ENDPOINTS: Final = (
    get(
        "/api/v1/activity",
        "The last calls, newest first; follow=true streams JSON lines, oldest first, for ever",
        _list,
        Activity,
        ListQuery,
    ),
    get(
        "/api/v1/activity/export",
        "All calls that match, oldest first, as JSON lines or CSV",
        _export,
        Activity,
        ExportQuery,
        media_type="application/x-ndjson",
    ),
)
