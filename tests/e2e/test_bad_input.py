"""Everything that can be wrong before a login is even in play: one clear message, the next step,
the exit code, and nothing that is stored is lost.
"""

import hashlib
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.e2e.daemon import API_KEY, Daemon, caused_by, connected, refused_start
from tests.e2e.world import NAME, Builder, Stage, World
from tests.peers import environment
from tests.peers.process import ROOT, free_port, wait_until

pytestmark = pytest.mark.anyio

URL = '"url": "http://127.0.0.1:9/mcp"'
BROKEN = {
    "syntax": ('{"mcpServers": [}', "line 1, column 17"),
    "not an object": ("[]", "the file must hold one object"),
    "a type": (f'{{"mcpServers": [{{"name": "a", {URL}, "enabled": "yes"}}]}}', "[0].enabled"),
    "a name twice": (
        f'{{"mcpServers": [{{"name": "a", {URL}}}, {{"name": "a", {URL}}}]}}',
        'mcpServers[1].name: "a" is taken by mcpServers[0]',
    ),
    "a name that is a path": (
        f'{{"mcpServers": [{{"name": "../a", {URL}}}]}}',
        'mcpServers[0].name: found "../a"; allowed: lower-case letters',
    ),
    "a protocol": (
        f'{{"mcpServers": [{{"name": "a", {URL}, "protocol": "gopher"}}]}}',
        'mcpServers[0].protocol: found "gopher"; allowed: "auto", "http"',
    ),
    "a URL": (
        '{"mcpServers": [{"name": "a", "url": "javascript:alert(1)"}]}',
        "mcpServers[0].url",
    ),
}


def digests(directory: Path, *names: str) -> dict[str, str]:
    """What is in these files, byte for byte."""
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in names}


@pytest.mark.parametrize("what", BROKEN)
async def test_a_broken_configuration_is_refused_with_its_path(what: str, tmp_path: Path) -> None:
    text, expected = BROKEN[what]
    daemon = Daemon(tmp_path, env={"MCPPROXY_API_KEY": API_KEY})
    daemon.config_path.write_text(text)
    code, said = refused_start(daemon)
    assert code == 4, said
    assert f"Error: {daemon.config_path}: " in said
    assert expected in said
    assert "Next: " in said
    assert daemon.config_path.read_text() == text
    assert not (daemon.data_dir / "vault.db").exists()


async def test_a_broken_edit_of_a_running_daemon_changes_nothing(tmp_path: Path) -> None:
    servers = [{"name": "kid", "command": environment.command()[0]}]
    servers[0] |= {"args": environment.command()[1:], "working_dir": str(ROOT)}  # type: ignore[dict-item]
    with Daemon(tmp_path, servers=servers) as daemon:
        daemon.until("kid", connected)
        daemon.config_path.write_text('{"mcpServers": [}')
        wait_until(
            lambda: "line 1, column 17" in daemon.log(), deadline=10, what="the broken edit is told"
        )
        assert connected(daemon.server("kid"))
        daemon.write_config(mcpServers=[])
        wait_until(
            lambda: daemon.rest("GET", "/servers")["servers"] == [],
            deadline=10,
            what="the next edit is picked up",
        )


@pytest.fixture
def website() -> Iterator[str]:
    """A web server that has never heard of MCP."""

    class Pages(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = b"<!doctype html><title>Shop</title>"
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Pages) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


async def test_bad_servers_are_told_apart_and_harm_no_neighbour(
    website: str, tmp_path: Path
) -> None:
    command = environment.command()
    dies = [sys.executable, "-c", "import sys; sys.exit('no licence found')"]
    with Daemon(
        tmp_path,
        servers=[
            {"name": "unreachable", "url": f"http://127.0.0.1:{free_port()}/mcp"},
            {"name": "shop", "url": website},
            {"name": "missing", "command": "no-such-command-anywhere"},
            {"name": "dies", "command": dies[0], "args": dies[1:]},
            {
                "name": "good",
                "command": command[0],
                "args": command[1:],
                "working_dir": str(ROOT),
            },
        ],
    ) as daemon:
        daemon.until("good", connected)
        daemon.until("unreachable", caused_by("unreachable"))
        daemon.until("shop", caused_by("not_mcp"))
        for name in ("missing", "dies"):
            daemon.until(name, caused_by("command_failed"))
        listed = daemon.cli("upstream", "list").stdout
        assert "Cannot connect: connection refused; retry in " in listed
        assert "Not an MCP server: " in listed
        assert "command not found: no-such-command-anywhere" in listed
        assert "the process ended with exit code 1" in listed
        logs = daemon.cli("upstream", "logs", "dies")
        assert "no licence found" in logs.stdout
        assert connected(daemon.server("good"))


async def test_a_taken_port_is_named_with_who_has_it(tmp_path: Path) -> None:
    with Daemon(tmp_path / "first") as first:
        second = Daemon(tmp_path / "second")
        second.process.argv[2] = f"--listen=127.0.0.1:{first.port}"
        code, said = refused_start(second)
        assert code == 2, said
        taken = f"Error: 127.0.0.1:{first.port} is taken by mcpproxy (pid {first.process.pid})."
        assert taken in said
        assert "Next: Stop it, or choose another port: mcpproxy serve --listen 127.0.0.1:" in said


@pytest.mark.parametrize("listen", ["nonsense", "127.0.0.1:99999", "0.0.0.0:18080"])
async def test_a_listen_address_that_cannot_be_is_a_usage_error(
    listen: str, tmp_path: Path
) -> None:
    daemon = Daemon(tmp_path)
    daemon.process.argv[2] = f"--listen={listen}"
    code, said = refused_start(daemon)
    assert code == 2, said
    assert "Error: " in said
    assert "Next: " in said
    assert "Traceback" not in said


async def test_a_second_daemon_says_who_runs_where_and_harms_nothing(builder: Builder) -> None:
    world = builder.world()
    world.log_in()
    first = world.daemon
    second = Daemon(first.data_dir.parent)
    code, said = refused_start(second)
    assert code == 3, said
    assert f"mcpproxy already runs on {first.data_dir}: process {first.process.pid}" in said
    assert f"listening on 127.0.0.1:{first.port}" in said
    assert "Next: " in said
    assert await world.whoami() == "alice"


# --- what is stored ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def stored(stage: Stage, tmp_path_factory: pytest.TempPathFactory) -> World:
    """A world whose daemon was logged in and stopped; its data directory is there to be copied."""
    with Builder(stage, tmp_path_factory.mktemp("stored")) as builder:
        world = builder.world()
        world.log_in()
        world.daemon.terminate()
    return world


@pytest.fixture
def copy(stored: World, tmp_path: Path) -> World:
    """The same, on a data directory of its own."""
    shutil.copytree(stored.daemon.data_dir, tmp_path / "data")
    return World(stored.provider, stored.upstream, Daemon(tmp_path), stored.seen)


def garbage_at_the_beginning(vault: Path) -> None:
    with vault.open("r+b") as file:
        file.write(b"this is not a database, it is a love letter")


def garbage_within(vault: Path) -> None:
    with vault.open("r+b") as file:
        file.seek(4096)
        file.write(os.urandom(4096))


def truncated(vault: Path) -> None:
    os.truncate(vault, vault.stat().st_size // 2)


def newer(vault: Path) -> None:
    with sqlite3.connect(vault) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (garbage_at_the_beginning, "is damaged"),
        (garbage_within, "is damaged"),
        (truncated, "is damaged"),
        (newer, "was written by a newer mcpproxy (schema 999"),
    ],
)
async def test_a_vault_that_cannot_be_read_is_refused_and_left_as_it_is(
    harm: object, words: str, copy: World
) -> None:
    vault = copy.daemon.data_dir / "vault.db"
    assert callable(harm)
    harm(vault)
    before = digests(copy.daemon.data_dir, "vault.db", "vault.key")
    code, said = refused_start(copy.daemon)
    assert code == 1, said
    assert f"Error: {vault}" in said
    assert words in said
    assert "Next: " in said
    assert "Traceback" not in said
    assert digests(copy.daemon.data_dir, "vault.db", "vault.key") == before


@pytest.mark.parametrize("harm", ["another key", "no key"])
async def test_a_wrong_key_locks_the_logins_and_loses_none(harm: str, copy: World) -> None:
    daemon = copy.daemon
    key = daemon.data_dir / "vault.key"
    right = key.read_bytes()
    key.write_bytes(os.urandom(len(right))) if harm == "another key" else key.unlink()
    before = digests(daemon.data_dir, "vault.db")

    with daemon:
        server = daemon.until(NAME, caused_by("key_locked"))
        assert (server["health"]["level"], server["health"]["action"]) == ("degraded", "configure")
        assert "stored logins are locked" in daemon.log()
        login = daemon.cli("auth", "login", NAME, "--no-browser", "--timeout", "5")
        assert login.returncode == 1, login.stdout + login.stderr
        assert "key" in login.stderr
        assert "Next: " in login.stderr
        daemon.terminate()
        assert digests(daemon.data_dir, "vault.db") == before

        key.write_bytes(right)
        key.chmod(0o600)
        daemon.start()
        daemon.until(NAME, connected)
        assert await copy.whoami() == "alice"


async def test_disks_that_are_full_or_read_only(tmp_path: Path) -> None:
    """The stories of tests/e2e/disks.py, where mounting a small disk is allowed to anybody."""
    namespace = ["unshare", "--mount"]
    if os.geteuid() != 0:
        namespace[1:1] = ["--user", "--map-root-user"]
    pytest_there = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-q"]
    run = subprocess.run(
        [*namespace, *pytest_there, f"--basetemp={tmp_path / 'disks'}", "tests/e2e/disks.py"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
