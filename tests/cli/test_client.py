"""How commands find the daemon, and whom they give the key."""

import http.server
import json
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from mcpproxy.cli.client import Client
from mcpproxy.cli.commands.auth_logout import ANSWER_SECONDS
from mcpproxy.cli.trust import is_ours, is_private
from mcpproxy.config.locate import Flags, reach
from mcpproxy.core.errors import NotReady
from mcpproxy.core.policy import DEFAULT_POLICY
from mcpproxy.storage.ownership import DaemonRecord, claim
from tests.cli.conftest import Program
from tests.web.daemon import Daemon
from tests.web.stubs import KEY, World


@contextmanager
def owned(program: Program, listen: str) -> Iterator[None]:
    """The data dir is a living daemon's that says it listens there."""
    ownership = claim(program.data_dir)
    try:
        ownership.announce(DaemonRecord(os.getpid(), listen, "2026-01-12T14:05:00Z"))
        yield
    finally:
        ownership.release()


@contextmanager
def stranger(status: int = 404) -> Iterator[tuple[str, list[str]]]:
    """Another program on a port: its address, and the heads of the requests it was sent."""
    heads: list[str] = []

    class Listening(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            heads.append(str(self.headers))
            self.send_error(status)

        do_GET = do_POST

        def log_message(self, format: str, *arguments: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listening) as other:
        thread = threading.Thread(target=other.serve_forever)
        thread.start()
        yield f"127.0.0.1:{other.server_address[1]}", heads
        other.shutdown()
        thread.join()


def test_the_daemon_is_reached_over_tcp_with_the_key_when_there_is_no_socket(
    world: World, program: Program
) -> None:
    world.add_oauth("one")
    with Daemon(world) as daemon:
        listen = f"127.0.0.1:{daemon.port}"
        program.configure(json.dumps({"listen": listen, "api_key": KEY}))
        with owned(program, listen):
            assert program.run("upstream", "restart", "one").code == 0
            program.configure(json.dumps({"listen": listen, "api_key": "wrong-key-of-some-length"}))
            refused = program.run("upstream", "restart", "one")
    assert refused.code == 1
    assert "not the API key" in refused.err


def test_who_sits_on_the_port_of_no_daemon_gets_no_key(program: Program) -> None:
    with stranger() as (listen, heads):
        program.configure(json.dumps({"listen": listen, "api_key": KEY}))
        ran = program.run("upstream", "restart", "one")
    assert heads == []
    assert ran.code == 1
    assert "mcpproxy serve" in ran.err


def test_a_socket_that_others_could_have_made_gets_no_key(program: Program) -> None:
    program.configure(json.dumps({"api_key": KEY}))
    path = program.data_dir / "mcpproxy.sock"
    assert is_private(path, program.data_dir)
    program.data_dir.chmod(0o777)
    assert not is_private(path, program.data_dir)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        listening.setblocking(False)
        assert program.run("upstream", "restart", "one").code == 1
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_a_daemon_that_fails_is_not_an_absent_one(program: Program) -> None:
    with stranger(status=500) as (listen, _):
        program.configure(json.dumps({"listen": listen, "mcpServers": []}))
        with owned(program, listen):
            ran = program.run("upstream", "restart", "one")
            listed = program.run("upstream", "list", "-o", "json")
    assert (ran.code, listed.code) == (1, 1)
    assert "HTTP 500" in ran.err
    assert "no daemon runs" not in ran.err + listed.err
    assert "HTTP 500" in json.loads(listed.out)["error"]["message"]


def test_a_port_is_ours_only_while_this_user_listens_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert is_ours(port)
    assert not is_ours(port)


def test_another_program_on_our_port_is_told_apart(program: Program) -> None:
    with stranger() as (listen, _):
        program.configure(json.dumps({"listen": listen}))
        with owned(program, listen):
            ran = program.run("upstream", "restart", "one")
    assert ran.code == 1
    assert "not mcpproxy" in ran.err


def test_a_daemon_that_hangs_is_named_and_not_waited_for_again(program: Program) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        listen = f"127.0.0.1:{silent.getsockname()[1]}"
        program.configure(json.dumps({"listen": listen}))
        with owned(program, listen):
            client = Client(reach(Flags(data_dir=str(program.data_dir)), {}))
            with pytest.raises(NotReady, match=r"within 0\.1 s") as told:
                client.get("/api/v1/status", seconds=0.1)
    assert f"end process {os.getpid()} and start `mcpproxy serve` again" in told.value.next_step


def test_a_logout_is_waited_for_as_long_as_the_daemon_may_take_for_it() -> None:
    policy = DEFAULT_POLICY
    refresh = policy.connect_timeout + policy.answer_timeout
    assert (refresh + policy.lease_ttl).total_seconds() + 30 < ANSWER_SECONDS
