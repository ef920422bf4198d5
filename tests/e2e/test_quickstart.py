"""The commands of the quickstart run as they are printed, and say what it says they say."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.daemon import Daemon
from tests.peers.process import ROOT

DEADLINE = 150
AT = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ"

NAMESPACES = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", "--net"]
if os.geteuid() != 0:
    NAMESPACES[1:1] = ["--user", "--map-root-user"]


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What every command of the quickstart printed."""
    where = tmp_path_factory.mktemp("quickstart")
    done = subprocess.run(
        [*NAMESPACES, sys.executable, "-m", "tests.e2e.quickstart_program", str(where)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "logins: 1" in done.stdout
    transcript: dict[str, str] = json.loads((where / "transcript.json").read_text())
    return transcript


@pytest.mark.timeout(DEADLINE + 20)
def test_serve_says_where_it_is_and_logs_in_detail(said: dict[str, str]) -> None:
    assert "http://127.0.0.1:8080/mcp" in said["first run"]
    assert "DEBUG" in said["first run"]


def test_login_prints_the_url_and_ends_with_the_outcome(said: dict[str, str]) -> None:
    assert re.search(r"http://127\.0\.0\.1:\d+/auth\?", said["login"])
    assert "\nLogged in to github-mcp.\n" in said["login"]


def test_the_list_and_the_health_object_show_the_scheduled_refresh(said: dict[str, str]) -> None:
    head, line = said["list"].splitlines()
    assert re.fullmatch(r"NAME +STATUS +HEALTH", head)
    assert re.fullmatch(
        r"github-mcp connected +healthy \(Token refresh scheduled for \d\d:\d\d\)", line
    )
    health = json.loads(said["health"])
    assert health["level"] == "healthy"
    assert health["admin_state"] == "enabled"
    assert health["summary"] == "Connected (3 tools)"
    assert re.fullmatch(rf"Token refresh scheduled for {AT}", health["detail"])
    assert health["action"] == ""


def test_the_second_run_refreshes_at_once_and_connects(said: dict[str, str]) -> None:
    run = said["second run"]
    attempt = run.index("OAuth token refresh attempt")
    assert attempt < run.index("OAuth token refresh succeeded")
    assert "OAuth token refresh failed" not in run
    assert json.loads(said["health after the restart"])["level"] == "healthy"


def test_the_metrics_are_found_by_the_printed_commands(said: dict[str, str]) -> None:
    sample = r'^mcpproxy_oauth_refresh_total\{{server="github-mcp",result="{}"\}} \d+$'
    assert re.search(sample.format("success"), said["metrics"], re.MULTILINE)
    assert "mcpproxy_oauth_refresh_duration_seconds" in said["metrics"]
    for result in ("success", "failed_network"):
        assert re.search(sample.format(result), said["success rate"], re.MULTILINE)


def test_the_five_messages_are_found_by_the_printed_command(said: dict[str, str]) -> None:
    for message in (
        "OAuth token refresh scheduled",
        "OAuth token refresh attempt",
        "OAuth token refresh succeeded",
        "OAuth token refresh failed",
        "OAuth token refresh retry scheduled",
    ):
        assert message in said["debugging"], said["debugging"]


def test_pkill_finds_the_daemon_however_it_was_started(tmp_path: Path) -> None:
    daemon = Daemon(tmp_path)
    daemon.process.argv[:1] = [sys.executable, "-m", "mcpproxy"]
    with daemon:
        name = Path(f"/proc/{daemon.process.pid}/comm").read_text()
    assert name.strip() == "mcpproxy"
