"""`/events`: what a client sees on the wire."""

import http.client
import json
import time
from dataclasses import fields
from datetime import timedelta

from mcpproxy.core.ledger import LedgerLine, Outcome
from mcpproxy.core.model import FailureKind, RefreshFailure
from mcpproxy.core.notices import LedgerWritten, LoggedOut, RefreshFailedNotice, ServersChanged
from tests.web.daemon import Daemon
from tests.web.stubs import KEY, NOW


class Stream:
    """One client of `/events`."""

    def __init__(self, daemon: Daemon, last_event_id: str | None = None) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", daemon.port, timeout=20)
        headers = {"X-API-Key": KEY}
        if last_event_id is not None:
            headers["Last-Event-ID"] = last_event_id
        self._connection.request("GET", "/events", headers=headers)
        self.answer = self._connection.getresponse()
        self.opening = self.block()

    def block(self) -> list[str]:
        """The lines up to the next empty one; [] at the end of the stream."""
        lines: list[str] = []
        while line := self.answer.readline().decode().rstrip("\n"):
            lines.append(line)
        return lines

    def event(self) -> dict[str, str]:
        return dict(line.split(": ", 1) for line in self.block())

    def close(self) -> None:
        self._connection.close()


def test_events_have_an_id_a_name_and_one_line_of_json(daemon: Daemon) -> None:
    stream = Stream(daemon)
    assert stream.answer.getheader("content-type") == "text/event-stream; charset=utf-8"
    assert stream.opening == [": mcpproxy", "retry: 5000"]
    daemon.call(lambda: daemon.parts.bus.publish(ServersChanged("one", "a\nb")))
    event = stream.event()
    assert event["event"] == "servers.changed"
    assert event["id"]
    assert json.loads(event["data"]) == {
        "payload": {"server": "one", "reason": "a\nb"},
        "timestamp": "2026-01-12T14:05:00Z",
    }
    stream.close()


def test_nested_facts_are_plain_json(daemon: Daemon) -> None:
    stream = Stream(daemon)
    failure = RefreshFailure(FailureKind.REFUSED, "dead", code="invalid_grant", status=400)
    notice = RefreshFailedNotice("one", "a1", 3, timedelta(seconds=1.5), failure)
    daemon.call(lambda: daemon.parts.bus.publish(notice))
    event = stream.event()
    assert event["event"] == "oauth.refresh_failed"
    payload = json.loads(event["data"])["payload"]
    assert payload["duration"] == 1.5
    assert payload["failure"]["kind"] == "refused"
    assert payload["failure"]["code"] == "invalid_grant"
    stream.close()


def test_a_client_that_comes_back_misses_nothing(daemon: Daemon) -> None:
    first = Stream(daemon)
    daemon.call(lambda: daemon.parts.bus.publish(LoggedOut("a")))
    seen = first.event()["id"]
    first.close()
    daemon.call(lambda: daemon.parts.bus.publish(LoggedOut("b")))
    second = Stream(daemon, seen)
    assert json.loads(second.event()["data"])["payload"] == {"server": "b"}
    second.close()
    lost = Stream(daemon, "long-ago")
    assert lost.event()["event"] == "stream.reset"
    lost.close()


def test_stopping_the_server_ends_the_stream_at_once(daemon: Daemon) -> None:
    streams = [Stream(daemon) for _ in range(3)]
    began = time.monotonic()
    daemon.stop()
    assert [stream.block() for stream in streams] == [[], [], []]
    assert time.monotonic() - began < 3


def test_a_client_that_leaves_is_forgotten(daemon: Daemon) -> None:
    stream = Stream(daemon)
    subscriptions = daemon.parts.bus._subscriptions
    assert len(subscriptions) == 1
    stream.answer.close()
    stream.close()
    deadline = time.monotonic() + 10
    while subscriptions and time.monotonic() < deadline:
        daemon.call(lambda: daemon.parts.bus.publish(LoggedOut("x")))
    assert not subscriptions


def test_head_answers_without_a_stream(daemon: Daemon) -> None:
    assert daemon.request("HEAD", "/events").status == 200


def test_a_line_of_the_ledger_is_told_whole(daemon: Daemon) -> None:
    stream = Stream(daemon)
    line = LedgerLine(
        server="one",
        login_id="login-1",
        at=NOW,
        outcome=Outcome.TRANSIENT,
        generation=3,
        duration=timedelta(seconds=1.5),
        attempt_id="a1",
        cause="retry",
        holder="4711",
        fingerprint="0123abcd",
        status=503,
        detail="HTTP 503",
    )
    daemon.call(lambda: daemon.parts.bus.publish(LedgerWritten("one", line)))
    event = stream.event()
    assert event["event"] == "oauth.ledger"
    payload = json.loads(event["data"])["payload"]
    assert set(payload["line"]) == {field.name for field in fields(LedgerLine)}
    assert payload["line"]["outcome"] == "transient"
    assert payload["line"]["at"] == "2026-01-12T14:05:00Z"
    assert (payload["line"]["duration"], payload["line"]["code"]) == (1.5, None)
    stream.close()
