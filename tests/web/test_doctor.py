"""Checks that need no daemon."""

from pathlib import Path

import pytest

from mcpproxy.web.doctor import CheckState, local_checks, server_checks
from tests.web.stubs import World, web_parts


def states(directory: Path, **environment: str) -> dict[str, CheckState]:
    return {check.name: check.state for check in local_checks(directory, environment)}


def test_a_directory_of_our_own_is_fine(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    assert states(tmp_path)["data dir"] is CheckState.OK


def test_a_directory_that_others_can_read_gets_the_command_that_mends_it(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    (check,) = [each for each in local_checks(tmp_path, {}) if each.name == "data dir"]
    assert check.state is CheckState.WARN
    assert check.next_step == f"chmod 700 {tmp_path}"


def test_a_directory_that_is_not_there_is_no_failure(tmp_path: Path) -> None:
    assert states(tmp_path / "new")["data dir"] is CheckState.WARN


def test_a_missing_certificate_file_fails(tmp_path: Path) -> None:
    found = states(tmp_path, SSL_CERT_FILE=str(tmp_path / "nothing.pem"))
    assert found["certificates"] is CheckState.FAIL


def test_a_proxys_password_is_not_shown(tmp_path: Path) -> None:
    checks = local_checks(tmp_path, {"HTTPS_PROXY": "http://me:canary@proxy:3128"})
    shown = " ".join(check.found for check in checks)
    assert "canary" not in shown
    assert "proxy:3128" in shown


@pytest.mark.parametrize(
    "proxy", ["http://me:canary@[", "me:canary@proxy", "http://m:canary@x@[::1"]
)
def test_a_broken_proxy_is_shown_without_its_password(tmp_path: Path, proxy: str) -> None:
    shown = " ".join(check.found for check in local_checks(tmp_path, {"HTTPS_PROXY": proxy}))
    assert "canary" not in shown
    assert shown.endswith(proxy.rpartition("@")[2])


def test_a_server_in_trouble_points_at_its_explanation() -> None:
    world = World()
    world.add_oauth("good")
    world.add_oauth("bad")
    world.connection_facts.pop("bad")
    world.grant_facts.pop("bad")
    checks = {check.name: check for check in server_checks(web_parts(world).monitor.healths())}
    assert checks["server good"].state is CheckState.OK
    assert checks["server good"].next_step == ""
    assert checks["server bad"].state is CheckState.WARN
    assert checks["server bad"].next_step == "mcpproxy explain bad"
