"""Connections to upstreams over real sockets: kept, bounded, and gone when nobody needs them."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from yarl import URL

from mcpproxy.core.errors import McpproxyError
from mcpproxy.core.model import Secret, Upstream
from mcpproxy.gateway.bearer import Bearer
from mcpproxy.gateway.failures import Broken, NotSent
from mcpproxy.gateway.limits import DEFAULT_LIMITS
from mcpproxy.gateway.scrub import Scrubber
from mcpproxy.gateway.transports.connections import Connections, Origin
from mcpproxy.gateway.transports.outbound import FROM_ENVIRONMENT
from mcpproxy.gateway.transports.web import Caller, WebClient, head_of
from tests.gateway.certificates import self_signed
from tests.gateway.world import NoTokens, until
from tests.peers.process import free_port

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.parametrize(
        "anyio_backend",
        [("asyncio", {"use_uvloop": True}), ("asyncio", {"use_uvloop": False})],
        ids=["uvloop", "asyncio"],
    ),
]
REQUEST = b"GET / HTTP/1.1\r\nHost: up\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LIMIT = 1000
NOWHERE = Origin(False, "127.0.0.1", 0)


@dataclass
class Server:
    """Answers each request with `answer`, after `go`; counts its connections."""

    answer: bytes = OK
    closes_after: int = 1000
    go: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[bytes] = field(default_factory=list)
    made: int = 0
    open: int = 0
    origin: Origin = NOWHERE
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.made += 1
        self.open += 1
        self.writers.append(writer)
        try:
            for _ in range(self.closes_after):
                self.seen.append(await reader.readuntil(b"\r\n\r\n"))
                await self.go.wait()
                if writer.is_closing():
                    break
                writer.write(self.answer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


def no_trust() -> ssl.SSLContext:
    raise AssertionError("nothing here uses TLS")


@asynccontextmanager
async def served(
    server: Server, *, context: ssl.SSLContext | None = None, ready: bool = True
) -> AsyncIterator[Server]:
    if ready:
        server.go.set()
    listening = await asyncio.start_server(server, "127.0.0.1", 0, ssl=context)
    port = listening.sockets[0].getsockname()[1]
    server.origin = Origin(context is not None, "127.0.0.1", port)
    try:
        yield server
    finally:
        listening.close()


@asynccontextmanager
async def pool(
    *, limit: int = 10, keep_alive: float = 60, trusted: Callable[[], ssl.SSLContext] = no_trust
) -> AsyncIterator[Connections]:
    made = Connections(5.0, trusted, limit=limit, keep_alive=keep_alive)
    try:
        yield made
    finally:
        made.close()
        assert len(made) == 0


async def get(connections: Connections, origin: Origin) -> bytes:
    answer = await connections.request(origin, REQUEST, repeatable=False)
    return await answer.read(LIMIT)


async def test_requests_in_turn_share_a_connection_and_requests_at_once_do_not() -> None:
    async with served(Server()) as server, pool() as connections:
        for _ in range(3):
            assert await get(connections, server.origin) == b"ok"
        assert server.made == 1
        await asyncio.gather(*(get(connections, server.origin) for _ in range(3)))
        assert (server.made, len(server.seen)) == (3, 6)


async def test_a_connection_without_work_is_closed_in_time() -> None:
    async with served(Server()) as server, pool(keep_alive=0.05) as connections:
        await get(connections, server.origin)
        await until(lambda: server.open == 0 and len(connections) == 0)


async def test_a_connection_that_the_upstream_closed_is_not_used_again() -> None:
    async with served(Server(closes_after=1)) as server, pool() as connections:
        await get(connections, server.origin)
        await until(lambda: len(connections) == 0)
        assert await get(connections, server.origin) == b"ok"
        assert server.made == 2


@pytest.mark.parametrize("repeatable", [True, False])
async def test_only_what_may_be_repeated_goes_out_again_when_a_kept_connection_breaks(
    repeatable: bool,
) -> None:
    async with served(Server()) as server, pool() as connections:
        await get(connections, server.origin)
        server.go.clear()
        asking = connections.request(server.origin, REQUEST, repeatable=repeatable)
        task = asyncio.create_task(asking)
        await until(lambda: len(server.seen) == 2)
        server.writers[0].transport.abort()
        server.go.set()
        if repeatable:
            assert await (await task).read(LIMIT) == b"ok"
        else:
            with pytest.raises(Broken, match="without an answer"):
                await task
        assert server.made == (2 if repeatable else 1)


async def test_who_comes_when_all_connections_are_taken_waits_for_one() -> None:
    server = Server()
    async with served(server, ready=False), pool(limit=2) as connections:
        tasks = [asyncio.create_task(get(connections, server.origin)) for _ in range(5)]
        await until(lambda: len(server.seen) == 2)
        tasks[2].cancel()
        server.go.set()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert [each for each in done if each == b"ok"] == [b"ok"] * 4
        assert server.made == 2


async def test_a_kept_connection_makes_room_for_another_upstream() -> None:
    async with served(Server()) as one, served(Server()) as other, pool(limit=1) as connections:
        for server in (one, other, one):
            assert await get(connections, server.origin) == b"ok"
        await until(lambda: (one.open, other.open) == (1, 0))


async def test_giving_a_request_up_leaves_no_connection_behind() -> None:
    server = Server()
    async with served(server, ready=False), pool() as connections:
        task = asyncio.create_task(get(connections, server.origin))
        await until(lambda: len(server.seen) == 1)
        task.cancel()
        await asyncio.wait([task])
        assert len(connections) == 0
        server.go.set()
        await until(lambda: server.open == 0)


async def test_nothing_begins_after_the_end() -> None:
    async with served(Server()) as server, pool() as connections:
        connections.close()
        with pytest.raises(NotSent):
            await get(connections, server.origin)
        assert server.made == 0


async def test_why_nothing_can_have_arrived_is_said_in_plain_words() -> None:
    async with pool() as connections:
        for origin, words in (
            (Origin(False, "127.0.0.1", free_port()), "connection refused"),
            (Origin(False, "a..b", 80), "name of a host"),
        ):
            with pytest.raises(NotSent, match=words):
                await get(connections, origin)
        assert len(connections) == 0


async def test_a_certificate_must_be_trusted_and_of_that_host(tmp_path: Path) -> None:
    own = self_signed(tmp_path)
    offered = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    offered.load_cert_chain(own.file, own.key)

    def trusted() -> ssl.SSLContext:
        return ssl.create_default_context(cafile=own.file)

    async with served(Server(), context=offered) as server:
        async with pool(trusted=trusted) as connections:
            for _ in range(2):
                assert await get(connections, server.origin) == b"ok"
            assert server.made == 1
            with pytest.raises(NotSent, match=r"TLS: .*certificate"):
                await get(connections, server.origin._replace(host="localhost"))
        async with pool(trusted=ssl.create_default_context) as connections:
            with pytest.raises(NotSent, match=r"TLS: .*certificate"):
                await get(connections, server.origin)
        await until(lambda: server.open == 0)


def caller(url: str, **headers: str) -> Caller:
    upstream = Upstream("up", url=url, headers={k: Secret(v) for k, v in headers.items()})
    bearer = Bearer(upstream, NoTokens(), Scrubber(upstream))
    return Caller(url, bearer, WebClient(DEFAULT_LIMITS, FROM_ENVIRONMENT))


async def test_a_request_carries_what_is_configured_once_and_the_urls_own_credentials() -> None:
    async with served(Server()) as server:
        url = f"http://me:s%3Acret@127.0.0.1:{server.origin.port}/mcp?x=a%20b"
        one = caller(url, **{"user-agent": "mine", "X-Team": "é"})
        answer = await one.call("DELETE", one.url, {"Mcp-Name": "tool", "Accept": "text/plain"})
        assert await answer.read(LIMIT) == b"ok"
        head, *lines = server.seen[0].decode().removesuffix("\r\n\r\n").split("\r\n")
        assert head == "DELETE /mcp?x=a%20b HTTP/1.1"
        assert sorted(lines) == [
            "Accept-Encoding: gzip, deflate",
            "Accept: text/plain",
            "Authorization: Basic bWU6czpjcmV0",
            f"Host: 127.0.0.1:{server.origin.port}",
            "Mcp-Name: tool",
            "X-Team: é",
            "user-agent: mine",
        ]


@pytest.mark.parametrize("value", ["a\r\nX-Evil: 1", "a\nb", "a\0b", "\ud800"])
async def test_no_header_can_smuggle_another_one(value: str) -> None:
    one = caller("http://127.0.0.1:9/mcp")
    with pytest.raises(McpproxyError, match="characters that HTTP forbids"):
        await one.call("POST", one.url, {"Mcp-Name": value}, b"{}")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://[::1]:8080/mcp", b"[::1]:8080"),
        ("https://mcp.example.com:443/", b"mcp.example.com"),
        ("https://mcp.example.com:8443", b"mcp.example.com:8443"),
        ("http://bücher.example/", b"xn--bcher-kva.example"),
    ],
)
async def test_the_host_is_written_as_servers_expect_it(url: str, host: bytes) -> None:
    assert b"\r\nHost: " + host + b"\r\n" in head_of("GET", URL(url), {})
