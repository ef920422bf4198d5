"""The redirect's listener: static pages, loopback only, no trace of a query."""

import asyncio
import http.client
import logging
import socket
from collections.abc import AsyncIterator

import pytest

from mcpproxy.core.errors import CallbackPortBusy, LoginDenied, LoginError
from mcpproxy.web.callback import LoopbackCallback

pytestmark = pytest.mark.anyio

CANARY = "canary-code-8f14e45fceea167a"


class Receiver:
    """Answers with one word, and remembers what it got."""

    def __init__(self, word: str = "done") -> None:
        self.word = word
        self.got: list[str] = []

    async def __call__(self, redirect: str) -> str:
        self.got.append(redirect)
        if self.word == "raise":
            raise LoginDenied(f"the provider said {redirect}")
        return self.word


@pytest.fixture
async def callback() -> AsyncIterator[LoopbackCallback]:
    made = LoopbackCallback()
    yield made
    await made.aclose()


def fetch(
    port: int, target: str, method: str = "GET", host: str | None = None
) -> tuple[int, dict[str, str], str]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, target, headers={"Host": host or f"127.0.0.1:{port}"})
    answer = connection.getresponse()
    found = answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read().decode()
    connection.close()
    return found


async def get(port: int, target: str, **options: str) -> tuple[int, dict[str, str], str]:
    return await asyncio.to_thread(fetch, port, target, **options)


async def test_the_redirect_reaches_the_login_and_leaves_the_address_bar(
    callback: LoopbackCallback,
) -> None:
    port, receiver = await callback.free_port(), Receiver()
    async with callback.listening(f"http://127.0.0.1:{port}/oauth/callback", receiver):
        status, headers, _ = await get(port, f"/oauth/callback?code={CANARY}&state=s")
    assert receiver.got == [f"/oauth/callback?code={CANARY}&state=s"]
    assert status == 303
    assert CANARY not in str(headers)
    # The login is over, but the browser still has to fetch its page.
    status, headers, page = await get(port, headers["location"])
    assert (status, "Logged in" in page) == (200, True)
    assert "default-src 'none'" in headers["content-security-policy"]
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cache-control"] == "no-store"


@pytest.mark.parametrize("word", ["failed", "raise"])
async def test_a_login_that_fails_shows_a_static_page(
    callback: LoopbackCallback, word: str
) -> None:
    port, receiver = await callback.free_port(), Receiver(word)
    async with callback.listening(f"http://127.0.0.1:{port}/cb", receiver):
        status, _, page = await get(port, "/cb?error=%3Cscript%3Ealert(1)%3C/script%3E&state=x")
    assert status == 400
    assert "script" not in page
    assert "Not logged in" in page


async def test_a_denial_is_shown_as_one(callback: LoopbackCallback) -> None:
    port = await callback.free_port()
    async with callback.listening(f"http://127.0.0.1:{port}/cb", Receiver("denied")):
        status, headers, _ = await get(port, "/cb?error=access_denied")
        assert status == 303
        assert "declined" in (await get(port, headers["location"]))[2]


@pytest.mark.parametrize(
    ("target", "method", "host", "status"),
    [
        ("/other?code=x", "GET", "", 404),
        ("/", "GET", "", 404),
        ("/cb/?code=x", "GET", "", 404),
        ("/cb?code=x", "POST", "", 405),
        ("/cb?code=x", "GET", "evil.com", 421),
        ("/cb?code=x", "GET", "127.0.0.1.evil.com", 421),
    ],
)
async def test_nothing_but_the_redirect_itself_is_taken(
    callback: LoopbackCallback, target: str, method: str, host: str, status: int
) -> None:
    port, receiver = await callback.free_port(), Receiver()
    async with callback.listening(f"http://127.0.0.1:{port}/cb", receiver):
        assert (await get(port, target, method=method, host=host))[0] == status
    assert receiver.got == []


async def test_no_query_is_logged_at_any_level(
    callback: LoopbackCallback, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(1)
    logging.getLogger("uvicorn").setLevel(1)
    port = await callback.free_port()
    for word in ("done", "denied", "failed", "raise"):
        async with callback.listening(f"http://127.0.0.1:{port}/cb", Receiver(word)):
            await get(port, f"/cb?code={CANARY}")
    assert CANARY not in caplog.text


async def test_logins_share_a_port_and_the_second_goes_on_after_the_first(
    callback: LoopbackCallback,
) -> None:
    port, first, second = await callback.free_port(), Receiver("failed"), Receiver()
    uri = f"http://127.0.0.1:{port}/cb"
    async with callback.listening(uri, first):
        async with callback.listening(uri, second):
            assert (await get(port, "/cb?state=2"))[0] == 303
        assert (await get(port, "/cb?state=1"))[0] == 400
    assert len(second.got) == 1
    async with callback.listening(uri, second):
        assert (await get(port, "/cb?state=3"))[0] == 303


async def test_a_port_that_somebody_else_has_is_named_with_the_next_step(
    callback: LoopbackCallback,
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(CallbackPortBusy, match=str(port)) as caught:
            async with callback.listening(f"http://127.0.0.1:{port}/cb", Receiver()):
                pass
    assert "redirect_uri" in caught.value.next_step


@pytest.mark.parametrize(
    "uri",
    ["https://127.0.0.1:1/cb", "http://192.168.1.5:1/cb", "http://evil.com:80/cb",
     "http://127.0.0.1/cb", "myapp://cb", "http://127.0.0.1.evil.com:1/"],
)  # fmt: skip
async def test_only_loopback_is_listened_on(callback: LoopbackCallback, uri: str) -> None:
    with pytest.raises(LoginError):
        async with callback.listening(uri, Receiver()):
            pass


async def test_the_port_is_free_again_after_the_last_login(
    callback: LoopbackCallback,
) -> None:
    port = await callback.free_port()
    async with callback.listening(f"http://127.0.0.1:{port}/cb", Receiver()):
        pass
    async with asyncio.timeout(5):
        while True:
            try:
                socket.create_server(("127.0.0.1", port)).close()
                break
            except OSError:
                await asyncio.sleep(0.02)


async def test_localhost_is_listened_on_for_either_address(callback: LoopbackCallback) -> None:
    port = await callback.free_port()
    async with callback.listening(f"http://localhost:{port}/cb", Receiver()):
        assert (await get(port, "/cb?x", host=f"localhost:{port}"))[0] == 303


@pytest.mark.parametrize("port", ["99999", "0", "x", ""])
async def test_a_port_that_is_none_is_refused_by_the_login(
    callback: LoopbackCallback, port: str
) -> None:
    with pytest.raises(LoginError, match="redirect URI"):
        async with callback.listening(f"http://127.0.0.1:{port}/cb", Receiver()):
            raise AssertionError("nothing to listen on")
