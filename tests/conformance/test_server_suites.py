"""The official server suites, against the fixture and through mcpproxy: check by check the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance import known
from tests.conformance.compare import assert_known
from tests.conformance.suites import SUITES, Suite, failed, judge_server, passed
from tests.conformance.through import NAME, FixtureServer, endpoint, proxy, stdio_server
from tests.e2e.daemon import Daemon

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def fixture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FixtureServer]:
    with FixtureServer(tmp_path_factory.mktemp("fixture")) as server:
        yield server


@pytest.fixture(scope="module")
def daemon(fixture: FixtureServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    spoken = {**stdio_server(), "name": "spoken"}
    where = tmp_path_factory.mktemp("daemon")
    with proxy(where, {"name": NAME, "url": fixture.url}, spoken) as running:
        yield running


@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name.replace(" ", "-"))
def test_the_fixture_passes_every_check_by_itself(
    suite: Suite, fixture: FixtureServer, tmp_path: Path
) -> None:
    score = judge_server(suite, fixture.url, tmp_path / "direct")
    assert failed(score) == 0, score
    assert passed(score) == known.SERVERS[suite.name, known.HTTP]


@pytest.mark.parametrize("name", [NAME, "spoken"], ids=["http", "stdio"])
@pytest.mark.parametrize("suite", SUITES, ids=lambda suite: suite.name.replace(" ", "-"))
def test_through_mcpproxy_every_check_comes_out_the_same_or_is_known(
    suite: Suite, name: str, fixture: FixtureServer, daemon: Daemon, tmp_path: Path
) -> None:
    direct = judge_server(suite, fixture.url, tmp_path / "direct")
    through = judge_server(suite, endpoint(daemon, name), tmp_path / "through")
    assert_known(suite, known.HTTP if name == NAME else known.STDIO, direct, through)
