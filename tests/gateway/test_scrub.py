"""The secrets of an upstream never stand in an error, a log line or what health shows."""

import base64
import json
import sys
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from mcpproxy.core.errors import McpproxyError, ProtocolError, UpstreamError
from mcpproxy.core.model import Secret, Upstream
from mcpproxy.gateway.scrub import Scrubber
from tests.gateway.calls import TIMEOUT
from tests.gateway.hostile import Raw, Scripted, Seen, scripted
from tests.gateway.test_upstream_credentials import Tokens
from tests.gateway.world import running, until

TOKEN = "AT9dkW-pQ7/ex+Zt4~long_enough_to_be.a.token"
KEY = 'k3y with "quotes" & more'


def scrubber(**fields: Any) -> Scrubber:
    return Scrubber(Upstream("up", **fields))


@pytest.mark.parametrize(
    "form",
    [
        TOKEN,
        f"Bearer {TOKEN}",
        quote(TOKEN, safe=""),
        base64.b64encode(TOKEN.encode()).decode(),
        TOKEN.lower(),
    ],
)
def test_a_token_that_was_sent_is_taken_out_of_a_text_in_every_plain_form(form: str) -> None:
    scrub = scrubber()
    scrub.sent(Secret(TOKEN))
    said = scrub.text(f"you sent {form}, which is bad: ({form})")
    assert form not in said
    assert said.count("[redacted]") == 2
    assert said.startswith("you sent ")
    assert said.endswith(")")


def test_what_is_left_of_a_secret_that_was_cut_off_goes_too() -> None:
    scrub = scrubber()
    scrub.sent(Secret(TOKEN))
    for said in (f"bad token {TOKEN[:20]}", f"bad token {TOKEN[:20]}…, then over SSE"):
        assert TOKEN[:8] not in scrub.text(said)


def test_configured_headers_and_environment_are_secrets_of_the_upstream() -> None:
    basic = base64.b64encode(b"me:hunter2-hunter2").decode()
    scrub = scrubber(
        headers={"Authorization": Secret(f"Basic {basic}"), "X-Key": Secret(KEY)},
        env={"PASSWORD": Secret("sw0rdfish")},
    )
    for secret in (basic, "hunter2-hunter2", KEY, json.dumps(KEY)[1:-1], "sw0rdfish"):
        assert scrub.text(f"a {secret} z") == "a [redacted] z"


def test_what_is_no_secret_stays_readable(tmp_path: Path) -> None:
    scrub = scrubber(
        env={"DEBUG": Secret("1"), "ROOT": Secret(str(tmp_path)), "U": Secret("https://api.x/v1/")}
    )
    words = f"1 error in {tmp_path}/main.js while asking https://other.example/"
    assert scrub.text(words) == words


def test_old_tokens_are_forgotten_beyond_a_bound() -> None:
    scrub = scrubber()
    for n in range(100):
        scrub.sent(Secret(f"token-number-{n:04}"))
    assert scrub.text("token-number-0099") == "[redacted]"
    assert scrub.text("token-number-0000") == "token-number-0000"


def test_an_error_loses_the_secret_in_all_its_words() -> None:
    scrub = scrubber()
    scrub.sent(Secret(TOKEN))
    error = scrub.error(ProtocolError(f"bad {TOKEN}", next_step=f"replace {TOKEN}"))
    assert error.message == str(error) == "bad [redacted]"
    assert error.next_step == "replace [redacted]"


@pytest.mark.anyio
@pytest.mark.parametrize("status", [400, 401, 403, 500, 502])
async def test_a_server_that_repeats_the_token_does_not_get_it_shown(status: int) -> None:
    async def answer(seen: Seen) -> Raw:
        error = {"code": -1, "message": "bad token " + seen.headers["authorization"][7:]}
        body = {"jsonrpc": "2.0", "id": seen.message.get("id"), "error": error}
        return Raw(status, json.dumps(body).encode())

    tokens, server = Tokens(current=TOKEN, fresh=TOKEN), Scripted(answer)
    async with (
        scripted(server) as url,
        running(Upstream("up", url=url), tokens=tokens) as site,
    ):
        await until(lambda: site.gateway.connection("up").error is not None)
        with pytest.raises(McpproxyError) as said:
            await site.gateway.call_tool("up", "echo", b"{}", timeout=TIMEOUT)
        shown = [str(site.gateway.connection("up")), str(said.value), *site.heard.lines]
        assert not [text for text in shown if TOKEN[:8] in text]


@pytest.mark.anyio
async def test_the_owners_call_shows_a_refusal_without_the_token() -> None:
    async def answer(seen: Seen) -> dict[str, Any] | None:
        if seen.method != "tools/call":
            return None
        return {"error": {"code": -1, "message": "bad " + seen.headers["authorization"][7:]}}

    async with (
        scripted(Scripted(answer)) as url,
        running(Upstream("up", url=url), tokens=Tokens(current=TOKEN)) as site,
    ):
        await site.connected("up")
        with pytest.raises(UpstreamError, match=r"refused the call: bad \[redacted\]"):
            await site.gateway.call_tool("up", "echo", b"{}", timeout=TIMEOUT)


@pytest.mark.anyio
async def test_a_child_that_prints_its_environment_does_not_print_it_into_the_log() -> None:
    program = "import os, sys; print('using', os.environ['KEY'], file=sys.stderr); sys.exit(1)"
    env = {"KEY": Secret("sw0rdfish")}
    upstream = Upstream("up", command=sys.executable, args=("-c", program), env=env)
    async with running(upstream) as site:
        await until(lambda: any("stderr" in line for line in site.heard.lines))
        await until(lambda: site.gateway.connection("up").error is not None)
        shown = [str(site.gateway.connection("up")), *site.heard.lines]
        assert not [text for text in shown if "sw0rdfish" in text]
        assert any("using [redacted]" in text for text in shown)
