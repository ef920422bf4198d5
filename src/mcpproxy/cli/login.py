"""Waiting for a person who logs in: the URL, the browser, a pasted redirect, the outcome.

Law: the URL is always printed; what a server says is escaped and opened only when it is http(s);
whoever interrupts the wait loses nothing but the wait.
"""

import contextlib
import os
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from typing import Any, Final

import click

from mcpproxy.cli.client import Client, RemoteError, segment
from mcpproxy.cli.context import Globals, note
from mcpproxy.core.errors import LoginTimedOut, McpproxyError
from mcpproxy.core.text import escape_unsafe

POLL_SECONDS: Final = 20.0
BEGIN_SECONDS: Final = 60.0
"""Discovery may take 15 s and registration as long."""

SPINNER: Final = "|/-\\"


class Browser(StrEnum):
    """Who opens the URL."""

    OPEN = "open"
    PASTE = "paste"
    ELSEWHERE = "elsewhere"


def log_in(
    options: Globals, client: Client, name: str, browser: Browser, wait: timedelta
) -> dict[str, Any]:
    """Log in to one server: what came of it, for programs. Raises what went wrong."""
    body = {"way": "device"} if browser is Browser.ELSEWHERE else None
    flow = client.post(f"/api/v1/servers/{segment(name)}/login", body, seconds=BEGIN_SECONDS)
    if flow["outcome"] is None:
        _ask_person(options, client, flow, browser)
        with _waiting("your other device" if flow["user_code"] else "the browser"):
            flow = _outcome(client, flow, wait)
    if flow["outcome"] != "succeeded":
        raise RemoteError(
            {
                "error": f"Not logged in to {name}: {flow['message'] or flow['outcome']}",
                "code": flow["code"] or "login_failed",
                "next_step": f"Try again: mcpproxy auth login {name}",
                "outcome": flow["outcome"],
            }
        )
    if options.format == "table":
        click.echo(f"Logged in to {escape_unsafe(name)}.")
    return {key: flow[key] for key in ("server", "outcome", "message")}


def _ask_person(options: Globals, client: Client, flow: dict[str, Any], browser: Browser) -> None:
    """What the person has to do, printed; and the browser opened, if that is what they want."""
    url, code, name = str(flow["auth_url"]), flow["user_code"], str(flow["server"])
    words = f"To log in to {escape_unsafe(name)}, open:\n\n  {escape_unsafe(url)}\n"
    if code:
        page = str(flow["verification_uri"])
        shown = escape_unsafe(str(code))
        words = f"To log in to {escape_unsafe(name)}, open on any device:\n\n"
        words += f"  {escape_unsafe(page)}\n\nand enter the code:\n\n  {shown}\n"
        if url != page:
            words += "\nWith the code in it already; compare it with the page's:\n\n"
            words += f"  {escape_unsafe(url)}\n"
    click.echo(words, err=options.format != "table")
    sys.stdout.flush()
    if code:
        return
    if browser is Browser.OPEN:
        _open(url)
    else:
        note("Or paste the address that the browser ends on, and press Enter.")
        threading.Thread(target=_paste, args=(client,), daemon=True).start()


def _outcome(client: Client, flow: dict[str, Any], wait: timedelta) -> dict[str, Any]:
    deadline = time.monotonic() + wait.total_seconds()
    while flow["outcome"] is None:
        left = deadline - time.monotonic()
        if left <= 0:
            raise LoginTimedOut(
                f"Nobody finished the login within {wait.total_seconds():.0f} s.",
                next_step="The URL above still works until "
                f"{flow['expires_at']}; `mcpproxy auth status` tells when it is done.",
            )
        seconds = max(0.0, min(POLL_SECONDS, left))
        path = f"/api/v1/logins/{segment(flow['flow_id'])}?wait={seconds:.2f}"
        flow = client.get(path, seconds=seconds + 10)
    return flow


def _open(url: str) -> None:
    """In a thread: a browser of the terminal keeps its caller waiting until it is closed."""
    if not url.startswith(("https://", "http://")):
        note("The URL is not one that a browser should open; it is not opened.")
        return
    threading.Thread(target=_open_quietly, args=(url,), daemon=True).start()


def _open_quietly(url: str) -> None:
    opened = False
    with contextlib.suppress(webbrowser.Error, OSError):
        opened = webbrowser.open(url)
    if not opened:
        note("No browser could be opened; open the URL yourself.")


def _paste(client: Client) -> None:
    """Hand in what is pasted, until a login is finished or the input ends."""
    for line in sys.stdin:
        pasted = line.strip()
        if not pasted:
            continue
        try:
            client.post("/api/v1/logins/finish", {"redirect_url": pasted})
        except McpproxyError as error:
            note(f"That did not work: {error.message}")
        else:
            return


@contextlib.contextmanager
def _waiting(what: str) -> Iterator[None]:
    """A sign of life while we wait, on a terminal only."""
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield
        return
    done = threading.Event()

    def turn() -> None:
        at = 0
        while not done.wait(0.2):
            sys.stderr.write(f"\r{SPINNER[at % len(SPINNER)]} waiting for {what} ")
            sys.stderr.flush()
            at += 1
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()

    thread = threading.Thread(target=turn, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join(1)
