"""Listening, and what is said when it is not possible."""

import asyncio
import contextlib
import os
import socket
import stat
from pathlib import Path

import pytest

from mcpproxy.config.listen import Listen
from mcpproxy.core.errors import NotPermitted, PortInUse, UsageError
from mcpproxy.core.notices import ConfigReloaded
from mcpproxy.web.address import MAX_SOCKET_PATH, socket_path
from mcpproxy.web.application import build_app
from mcpproxy.web.listeners import bind_tcp, bind_unix, port_holder
from mcpproxy.web.server import Tls, WebServer, refuse_exposure
from tests.web.daemon import Daemon
from tests.web.stubs import KEY, World, web_parts

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", ""])
def test_an_address_that_others_can_reach_needs_tls(host: str) -> None:
    with pytest.raises(UsageError, match="in the clear"):
        refuse_exposure(Listen(host, 1), None)
    refuse_exposure(Listen(host, 1), Tls(Path("cert.pem"), Path("key.pem")))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.1.2.3"])
def test_loopback_needs_none(host: str) -> None:
    refuse_exposure(Listen(host, 1), None)


def test_a_taken_port_names_who_has_it_and_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(PortInUse) as caught:
            bind_tcp(Listen("127.0.0.1", port))
        assert f"(pid {os.getpid()})" in caught.value.message
        assert "--listen" in caught.value.next_step
    assert port_holder(port) == ""


async def test_a_server_that_cannot_have_its_port_leaves_nothing_behind(tmp_path: Path) -> None:
    parts = web_parts(World())
    path = tmp_path / "s" / "mcpproxy.sock"
    with socket.create_server(("127.0.0.1", 0)) as other:
        listen = Listen("127.0.0.1", other.getsockname()[1])
        with pytest.raises(PortInUse):
            WebServer(build_app(parts), listen, unix_socket=path)
    assert not path.exists()


def test_a_socket_that_a_dead_daemon_left_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "data" / "mcpproxy.sock"
    bind_unix(path).close()
    assert path.exists()
    second = bind_unix(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    second.close()


def test_a_socket_that_cannot_be_made_says_why(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    with pytest.raises(NotPermitted, match="cannot be made"):
        bind_unix(tmp_path / "file" / "mcpproxy.sock")


def test_a_data_dir_with_a_long_path_gets_a_socket_all_the_same(tmp_path: Path) -> None:
    assert socket_path(Path("/data")) == Path("/data/mcpproxy.sock")
    long = tmp_path / ("x" * 120)
    found = socket_path(long)
    assert len(str(found)) <= MAX_SOCKET_PATH
    assert found == socket_path(long)
    assert found != socket_path(tmp_path / ("y" * 120))


def test_stopping_removes_the_socket_and_frees_the_port(world: World, tmp_path: Path) -> None:
    path = tmp_path / "mcpproxy.sock"
    with Daemon(world, path) as daemon:
        assert path.exists()
        port = daemon.port
    assert not path.exists()
    bind_tcp(Listen("127.0.0.1", port)).close()


def test_hanging_up_ends_all_that_is_open_but_what_came_through_the_unix_socket(
    world: World, tmp_path: Path
) -> None:
    path = tmp_path / "mcpproxy.sock"
    ask = f"GET /events HTTP/1.1\r\nHost: localhost\r\nX-API-Key: {KEY}\r\n\r\n".encode()
    with Daemon(world, path) as daemon, socket.socket(socket.AF_UNIX) as local:
        with socket.create_connection(("127.0.0.1", daemon.port), timeout=20) as remote:
            local.settimeout(20)
            local.connect(str(path))
            for peer in (remote, local):
                peer.sendall(ask)
                heard = b""
                while b": mcpproxy" not in heard:
                    heard += peer.recv(65536)
            daemon.call(daemon.server.hang_up)
            with contextlib.suppress(ConnectionResetError):
                while remote.recv(65536):
                    pass
            daemon.call(lambda: daemon.parts.bus.publish(ConfigReloaded(("x",))))
            heard = b""
            while b"config.reloaded" not in heard:
                heard += local.recv(65536)
        assert daemon.request("GET", "/api/v1/servers").status == 200


async def test_a_second_start_on_the_same_port_works_at_once() -> None:
    parts = web_parts(World())
    listen = Listen("127.0.0.1", 0)
    for _ in range(3):
        server = WebServer(build_app(parts), listen)
        async with asyncio.timeout(10):
            await server.start()
            await server.stop()
        listen = server.listen
