"""No OAuth token and no client secret is readable anywhere but where it belongs.

The provider's own database has them in the clear; from there we know what to look for.
"""

import contextlib
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from tests.e2e.daemon import API_KEY, Daemon, connected
from tests.peers.django_oauth_toolkit import DjangoProvider
from tests.peers.protected_mcp_server import ProtectedMcpServer

pytestmark = pytest.mark.timeout(180)

NAME = "secretive"
CLIENT_ID, CLIENT_SECRET = DjangoProvider.confidential_client


@pytest.fixture
def provider(tmp_path: Path) -> Iterator[DjangoProvider]:
    with DjangoProvider(tmp_path / "provider", access_token_ttl=15) as started:
        yield started


@pytest.fixture
def daemon(tmp_path: Path, provider: DjangoProvider) -> Iterator[Daemon]:
    with ProtectedMcpServer(tmp_path / "upstream", provider) as upstream:
        server = {
            "name": NAME,
            "url": upstream.url,
            "oauth": {"client_id": CLIENT_ID, "client_secret": "${env:CLIENT_SECRET}"},
        }
        with Daemon(
            tmp_path / "proxy",
            servers=[server],
            env={"CLIENT_SECRET": CLIENT_SECRET},
            arguments=["--log-level=trace"],
            oauth_refresh={"min_interval": "1s"},
        ) as started:
            yield started


def issued_secrets(provider: DjangoProvider) -> set[str]:
    """Every token the provider ever issued, and our client's secret."""
    (path,) = provider.directory.glob("*.sqlite3")
    with closing(sqlite3.connect(path)) as database:
        found = {
            str(token)
            for table in ("oauth2_provider_accesstoken", "oauth2_provider_refreshtoken")
            for (token,) in database.execute(f"SELECT token FROM {table}")  # noqa: S608
        }
    return found | {CLIENT_SECRET}


def files_with(secrets: set[str], directory: Path) -> list[str]:
    """Which files of the directory hold any of them in the clear."""
    return [
        str(path.relative_to(directory))
        for path in sorted(directory.rglob("*"))
        if path.is_file() and any(secret.encode() in path.read_bytes() for secret in secrets)
    ]


def test_no_secret_is_in_the_data_dir_the_logs_or_an_answer(
    daemon: Daemon, provider: DjangoProvider, tmp_path: Path
) -> None:
    daemon.log_in(NAME)
    daemon.until(NAME, connected)
    first = daemon.server(NAME)["oauth"]["generation"]
    daemon.until(NAME, lambda server: server["oauth"]["generation"] > first, deadline=40)
    daemon.rest("POST", "/tools/call", {"server": NAME, "tool": "whoami", "arguments": {}})
    one = f"/servers/{NAME}"
    ledger = daemon.request("GET", f"{one}/ledger").text
    assert '"outcome":"issued"' in ledger.replace(" ", "")
    answers = [
        ledger,
        *(daemon.request("GET", path).text for path in ("/servers", one, f"{one}/explain")),
        daemon.request("GET", "/status").text,
        daemon.cli("explain", NAME, "--all").stdout,
        daemon.cli("upstream", "inspect", NAME).stdout,
    ]
    answers += [daemon.cli("auth", "status", NAME).stdout, daemon.cli("doctor").stdout]
    answers += [daemon.output(), "\n".join(daemon.metrics())]
    daemon.kill9()

    secrets = issued_secrets(provider)
    assert len(secrets) >= 4, "the provider issued too little for this to prove anything"
    assert files_with(secrets, daemon.data_dir) == []
    for answer in answers:
        assert not [secret for secret in secrets if secret in answer]
    assert files_with({API_KEY}, daemon.data_dir) == ["mcp_config.json"]

    # The search itself can find one: the canary is where we put it.
    canary = daemon.data_dir / "logs" / "canary.log"
    canary.write_text(f"token={min(secrets)}")
    assert files_with(secrets, daemon.data_dir) == ["logs/canary.log"]


def test_a_key_that_is_taken_back_ends_what_is_open_by_it(tmp_path: Path) -> None:
    with Daemon(tmp_path) as daemon:
        with httpx2.stream(
            "GET", f"{daemon.origin}/events", headers=daemon.headers, timeout=30, trust_env=False
        ) as stream:
            lines = stream.iter_lines()
            assert next(lines) == ": mcpproxy"
            daemon.write_config(api_key="another-key-0123456789abcdef")
            with contextlib.suppress(httpx2.TransportError):
                for line in lines:
                    assert "config.reloaded" not in line
        answer = httpx2.get(f"{daemon.origin}/events", headers=daemon.headers, trust_env=False)
        assert answer.status_code == 401
