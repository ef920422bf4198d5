"""The processes that calls are measured on, and the targets among them.

One fast upstream; nginx, a relay of bytes, a bare ASGI proxy and fastmcp in front of it; and three
daemons: a few servers, a hundred, and one with ten thousand tools.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench import rivals
from bench.rivals import Served
from bench.targets import Target, Wire
from tests.e2e.daemon import Daemon, Server, connected

DIRECT, NGINX, RELAY = "direct", "nginx between", "relay of bytes"
BARE, FASTMCP = "bare ASGI proxy", "fastmcp 4.1.2"
SERVERS = 100
TOOLS = 10_000
_ERA = {Wire.LEGACY: "legacy", Wire.MODERN: "modern"}
_PLAIN, _OAUTH, _LAST, _MANY = "plain", "oauth", f"server-{SERVERS - 1}", "many"


@dataclass(frozen=True, slots=True)
class Scene:
    """`few`, `hundred` and `many` are daemons; `nginx` and `fastmcp` may be missing."""

    upstream: Served
    relay: Served
    bare: Served
    nginx: Served | None
    fastmcp: Served | None
    few: Daemon
    hundred: Daemon
    many: Daemon

    def targets(self, wire: Wire) -> list[Target]:
        """In the order in which they are measured and told."""
        path = f"/{_ERA[wire]}/mcp"
        found = [Target(DIRECT, self.upstream.origin + path)]
        if self.nginx is not None:
            found.append(Target(NGINX, self.nginx.origin + path, pids=self.nginx.workers()))
        found.append(Target(RELAY, self.relay.origin + path, pids=(self.relay.process.pid,)))
        found.append(Target(BARE, self.bare.origin + path, pids=(self.bare.process.pid,)))
        plain, oauth = f"{_PLAIN}-{_ERA[wire]}", f"{_OAUTH}-{_ERA[wire]}"
        found += [
            _all("mcpproxy direct", self.few, plain),
            _search("mcpproxy search", self.few, plain),
            _one("mcpproxy /s/NAME", self.few, plain),
            _all("direct, OAuth", self.few, oauth),
            _search("search, OAuth", self.few, oauth),
            _all(f"direct, {SERVERS} servers", self.hundred, _LAST),
            _search(f"search, {SERVERS} servers", self.hundred, _LAST),
            _all(f"direct, {TOOLS} tools", self.many, _MANY),
            _search(f"search, {TOOLS} tools", self.many, _MANY),
        ]
        if self.fastmcp is not None:
            pids = (self.fastmcp.process.pid,)
            found.append(Target(FASTMCP, f"{self.fastmcp.origin}/mcp", pids=pids))
        return found


def _all(name: str, daemon: Daemon, server: str) -> Target:
    return _target(name, daemon, f"{daemon.mcp_url}/all", f"{server}__echo")


def _search(name: str, daemon: Daemon, server: str) -> Target:
    url = f"{daemon.mcp_url}/call"
    return _target(name, daemon, url, f"{server}:echo", through="call_tool_read")


def _one(name: str, daemon: Daemon, server: str) -> Target:
    return _target(name, daemon, f"{daemon.mcp_url}/s/{server}", "echo")


def _target(
    name: str, daemon: Daemon, url: str, tool: str, *, through: str | None = None
) -> Target:
    return Target(name, url, tool, through, daemon.headers, (daemon.process.pid,))


@contextmanager
def scene(directory: Path) -> Iterator[Scene]:
    """Everything started, connected and logged in."""
    with ExitStack() as stack:
        enter = stack.enter_context
        upstream = enter(rivals.upstream(directory, TOOLS))
        relay = enter(rivals.relay(directory, upstream))
        bare = enter(rivals.bare(directory, upstream))
        nginx = rivals.nginx(directory, upstream)
        fastmcp = rivals.fastmcp(directory, f"{upstream.origin}/both/mcp")
        yield Scene(
            upstream,
            relay,
            bare,
            nginx and enter(nginx),
            fastmcp and enter(fastmcp),
            few=enter(_few(directory / "few", upstream.origin)),
            hundred=enter(_hundred(directory / "hundred", upstream.origin)),
            many=enter(_many(directory / "many", upstream.origin)),
        )


@contextmanager
def _few(directory: Path, origin: str) -> Iterator[Daemon]:
    servers = []
    for era in _ERA.values():
        url = f"{origin}/{era}/mcp"
        servers.append({"name": f"{_PLAIN}-{era}", "url": url})
        servers.append({"name": f"{_OAUTH}-{era}", "url": f"{origin}/oauth/{era}/mcp"})
    with Daemon(directory, servers=servers) as daemon:
        for era in _ERA.values():
            daemon.until(f"{_PLAIN}-{era}", connected, deadline=30)
            daemon.until(f"{_OAUTH}-{era}", _wants_login, deadline=30)
            daemon.log_in(f"{_OAUTH}-{era}")
            daemon.until(f"{_OAUTH}-{era}", connected, deadline=30)
        yield daemon


@contextmanager
def _hundred(directory: Path, origin: str) -> Iterator[Daemon]:
    url = f"{origin}/legacy/mcp"
    servers = [{"name": f"server-{number}", "url": url} for number in range(SERVERS)]
    with Daemon(directory, servers=servers) as daemon:
        for number in range(SERVERS):
            daemon.until(f"server-{number}", connected, deadline=60)
        yield daemon


@contextmanager
def _many(directory: Path, origin: str) -> Iterator[Daemon]:
    servers = [{"name": _MANY, "url": f"{origin}/many/legacy/mcp"}]
    with Daemon(directory, servers=servers) as daemon:
        daemon.until(_MANY, connected, deadline=60)
        daemon.rest("GET", "/tools/search?q=echo&limit=1")  # waits until all are indexed
        yield daemon


def _wants_login(server: Server) -> bool:
    return bool(server["health"]["action"] == "login")
