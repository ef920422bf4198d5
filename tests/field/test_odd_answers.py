"""Good answers in odd shapes: the login goes on as if nothing were odd."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from mcpproxy.core.http import HttpReply
from mcpproxy.oauth.client import MAX_BODY
from tests.custody.bench import HOUR, virtually
from tests.field.provider import (
    Manner,
    after,
    form_encoded,
    honest,
    reshaped,
    revoking_the_old_access_token,
    with_fields,
    without_fields,
)
from tests.field.scene import MINUTE, Scene
from tests.simulation.provider import Rotation


def as_body(write: Callable[[str], str | bytes], *, complete: bool = True) -> Manner:
    """The honest answer's JSON, written anew."""

    def reshape(reply: HttpReply) -> HttpReply:
        if reply.status != 200:
            return reply
        written = write(reply.body.decode())
        body = written if isinstance(written, bytes) else written.encode()
        return replace(reply, body=body, complete=complete)

    return reshaped(reshape)


def up_to_the_tokens(body: str) -> str:
    """What is there when the connection broke behind the two tokens."""
    fields = json.loads(body)
    order = ("access_token", "refresh_token", "expires_in")
    return json.dumps({name: fields[name] for name in order})[:-6]


ODD: dict[str, Manner] = {
    "as it should be": honest,
    "201 (Supabase)": reshaped(lambda reply: replace(reply, status=201)),
    "203 (a proxy in between)": reshaped(lambda reply: replace(reply, status=203)),
    "form-encoded (GitHub)": reshaped(form_encoded),
    "called a web page": reshaped(
        lambda reply: replace(reply, headers={"content-type": "text/html"})
    ),
    "called plain text": reshaped(
        lambda reply: replace(reply, headers={"content-type": "text/plain"})
    ),
    "without a content type": reshaped(lambda reply: replace(reply, headers={})),
    "a byte order mark": as_body(lambda body: b"\xef\xbb\xbf" + body.encode()),
    "white space around it": as_body(lambda body: f"\r\n\r\n  {body}\n\n"),
    "every key twice": as_body(lambda body: f"{body[:-1]}, {body[1:]}"),
    "the refresh token twice, the second empty": as_body(
        lambda body: body[:-1] + ', "refresh_token": "", "access_token": null}'
    ),
    "unknown fields": with_fields(id_token="a.b.c", ok=True, error=None, x={"y": [1]}),
    "an id token that has expired": with_fields(
        id_token="e30.eyJleHAiOjF9.x", id_token_expires_in=1
    ),
    "no token type": without_fields("token_type"),
    "an odd token type": with_fields(token_type="user"),
    "no scope": without_fields("scope"),
    "scopes as a list": with_fields(scope=["read", "write"]),
    "an empty scope": with_fields(scope=""),
    "an empty error beside the tokens": with_fields(error=""),
    "cut off behind the tokens": as_body(up_to_the_tokens, complete=False),
    "64 MiB": as_body(lambda body: (body + " " * MAX_BODY)[:MAX_BODY], complete=False),
    "in drips of 19 s": after(19),
    "the old access token is revoked (Notion, GitHub)": revoking_the_old_access_token,
}


@pytest.mark.parametrize("manner", ODD.values(), ids=ODD)
@virtually
async def test_an_odd_answer_is_understood_and_the_login_goes_on(manner: Manner) -> None:
    """Strict about reuse: one misread answer would end it."""
    async with Scene() as scene:
        scene.log_in(rotation=Rotation.STRICT)
        scene.provider.manner = manner
        await scene.start()
        scene.call_every(5 * MINUTE)
        await scene.pass_time(6 * HOUR)
        scene.require_good()
        assert 6 <= scene.presented() <= 7, scene.presented()
        assert scene.calls.served == scene.calls.total


NO_NEW_TOKEN: dict[str, Manner] = {
    "left out": without_fields("refresh_token"),
    "null": with_fields(refresh_token=None),
    "empty": with_fields(refresh_token=""),
    "of the wrong type": with_fields(refresh_token=17),
}


@pytest.mark.parametrize("manner", NO_NEW_TOKEN.values(), ids=NO_NEW_TOKEN)
@virtually
async def test_an_answer_without_a_refresh_token_keeps_the_one_we_have(manner: Manner) -> None:
    async with Scene() as scene:
        first = scene.log_in(rotation=Rotation.NONE).tokens.refresh_token
        assert first is not None
        scene.provider.manner = manner
        await scene.start()
        await scene.pass_time(12 * HOUR)
        scene.require_good(presented=14)
        assert {visit.token for visit in scene.provider.visits} == {first.reveal()}


@virtually
async def test_a_refresh_token_that_rotates_is_never_presented_twice() -> None:
    async with Scene() as scene:
        scene.log_in(rotation=Rotation.STRICT)
        await scene.start()
        await scene.pass_time(24 * HOUR)
        presented = [visit.token for visit in scene.provider.visits]
        assert presented == [issue.value for issue in scene.truth().issues[:-1]]
        scene.require_good(presented=29)


@virtually
async def test_what_an_answer_leaves_out_stays_as_it_was_at_the_login() -> None:
    """The scope and the resource of the login are those of every refresh."""
    async with Scene() as scene:
        scene.log_in(resource="https://mcp.example.com/mcp", scope="read offline_access")
        scene.provider.manner = without_fields("scope")
        await scene.start()
        await scene.pass_time(6 * HOUR)
        forms = [visit.form for visit in scene.provider.visits]
        assert len(forms) == 7
        assert {form["resource"] for form in forms} == {"https://mcp.example.com/mcp"}
        assert not any("scope" in form for form in forms)
        assert scene.grant().scope == "read offline_access"
        scene.require_good()


@virtually
async def test_half_an_answer_without_a_whole_pair_is_asked_for_again() -> None:
    """With less than both tokens the provider is asked to repeat itself, inside its window."""
    async with Scene() as scene:
        scene.log_in(rotation=Rotation.LEEWAY_30)
        scene.provider.script.append(as_body(lambda body: body[:60], complete=False))
        await scene.start()
        await scene.pass_time(HOUR)
        first, second = scene.provider.visits
        assert 10 <= second.at - first.at <= 30
        scene.require_good()
