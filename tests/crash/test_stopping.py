"""What ends in the middle of a refresh: the daemon that is told to stop, the client that leaves."""

import os
import signal
import socket
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import httpx2
import pytest

from mcpproxy.storage.ownership import find_daemon
from tests.crash.ground import Policy, names
from tests.crash.killing import SCALED
from tests.crash.provider_process import ProviderProcess
from tests.crash.seeding import stored, token_index
from tests.crash.stage import servers, sow
from tests.e2e.daemon import API_KEY, Daemon, connected
from tests.peers.process import wait_until

UNDER_WAY = 1.5
"""Seconds for which the provider holds its answers back."""


def test_a_daemon_that_is_told_to_stop_waits_for_the_answers_and_stores_them(
    tmp_path: Path,
) -> None:
    logins = names(5, Policy.STRICT)
    with ProviderProcess(tmp_path, logins, life=3600) as provider:
        provider.behave(hold=(UNDER_WAY, UNDER_WAY))
        sow(provider, tmp_path / "data", life=1)
        daemon = Daemon(tmp_path, servers=servers(provider, logins[:1]), oauth_refresh=SCALED)
        serve = daemon.spawn("serve", f"--listen=127.0.0.1:{daemon.port}")
        try:
            provider.wait_for(3, deadline=30)
            found = find_daemon(daemon.data_dir)
            assert found is not None
            os.kill(found.pid, signal.SIGTERM)
        finally:
            code = serve.end()
        seen, grants = provider.record(), stored(daemon.data_dir)

    assert code == 0, serve.output()
    assert len(seen.presentations) >= 3
    assert all(each.accepted and each.answered_at for each in seen.presentations)
    for name in logins:
        assert token_index(grants[name]) == len(seen.by_grant[name]) + 1
        assert grants[name].attempt is None


def _refresh(daemon: Daemon, name: str) -> None:
    with suppress(httpx2.ReadTimeout):
        daemon.request("POST", f"/servers/{name}/refresh", {}, timeout=UNDER_WAY / 5)


def _call(daemon: Daemon, name: str) -> None:
    call = {"server": name, "tool": "whoami", "arguments": {}}
    with suppress(httpx2.ReadTimeout):
        daemon.request("POST", "/tools/call", call, timeout=UNDER_WAY / 5)


def _reset(daemon: Daemon, name: str) -> None:
    """Ask, and be gone before anything was read: the kernel resets the connection."""
    body = f'{{"server": "{name}", "tool": "whoami", "arguments": {{}}}}'
    head = f"Host: 127.0.0.1\r\nX-API-Key: {API_KEY}\r\nContent-Type: application/json"
    request = f"POST /api/v1/tools/call HTTP/1.1\r\n{head}\r\nContent-Length: {len(body)}\r\n\r\n"
    with closing(socket.create_connection(("127.0.0.1", daemon.port))) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        client.sendall(f"{request}{body}".encode())


@pytest.mark.parametrize("leaving", [_refresh, _call, _reset])
def test_a_client_that_goes_away_takes_no_refresh_with_it(
    leaving: Callable[[Daemon, str], None], tmp_path: Path
) -> None:
    (name,) = names(1, Policy.STRICT)
    with ProviderProcess(tmp_path, [name], life=3600) as provider:
        sow(provider, tmp_path / "data", life=6)
        with Daemon(tmp_path, servers=servers(provider, [name]), oauth_refresh=SCALED) as daemon:
            provider.behave(hold=(UNDER_WAY, UNDER_WAY))
            daemon.until(name, connected)
            provider.wait_for(1, deadline=30)
            for _ in range(3):
                leaving(daemon, name)
            wait_until(
                lambda: stored(daemon.data_dir)[name].generation == 2,
                deadline=15,
                what="the answer is stored",
            )
            call = {"server": name, "tool": "whoami", "arguments": {}}
            answer = daemon.rest("POST", "/tools/call", call)
            assert answer["result"]["content"][0]["text"] == name
            assert connected(daemon.server(name))
        seen = provider.record()
    assert seen.accepted() == len(seen.presentations) <= 2
    assert not seen.repeated()
