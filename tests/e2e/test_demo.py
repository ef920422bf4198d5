"""The demo is the first thing the README offers: it must tell the truth to its end."""

import subprocess
import sys

import pytest


@pytest.mark.timeout(420)
def test_the_demo_shows_one_login_surviving_outage_and_kill() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "mcpproxy", "demo"],
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    told = done.stdout
    assert "Not logged in - login required" in told
    assert "Refresh retry 1 in" in told
    assert "Refresh retry 2 in" in told
    assert "without a login" in told
    assert "logins 1, refreshes" in told
    assert "Logged in once." in told
