"""Checks that need no daemon."""

from pathlib import Path

import pytest

from mcpproxy.core.model import FailureKind, RefreshFailure, Refusals
from mcpproxy.web.doctor import Check, CheckState, local_checks, server_checks
from tests.web.stubs import NOW, World, web_parts


def server_states(world: World) -> dict[str, Check]:
    healths = web_parts(world).monitor.healths()
    return {check.name: check for check in server_checks(healths, world.grant)}


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
    checks = server_states(world)
    assert checks["server good"].state is CheckState.OK
    assert checks["server good"].next_step == ""
    assert checks["server bad"].state is CheckState.WARN
    assert checks["server bad"].next_step == "mcpproxy explain bad"


def test_what_is_known_of_a_provider_is_said_beside_a_login_in_trouble_alone() -> None:
    world = World()
    refused = RefreshFailure(FailureKind.REFUSED, "invalid_grant", code="invalid_grant")
    google = "https://accounts.google.com"
    world.add_oauth("ended", issuer=google, refusals=Refusals(2, NOW, NOW, refused))
    world.add_oauth("fine", issuer=google)
    world.add_oauth("unknown", refusals=Refusals(2, NOW, NOW, refused))
    found = server_states(world)
    assert found["server ended"].found == (
        "Refresh token expired: Re-authentication required: invalid_grant. Known of Google: a "
        "login that is not refreshed for 182 days ends; logins of an app in testing end after "
        "7 days"
    )
    assert "Google" not in found["server fine"].found
    assert found["server unknown"].found.endswith("invalid_grant")
