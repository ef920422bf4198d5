"""The official server suites through mcpproxy when the server behind it has the other era only.

What is known to come out otherwise is in `known`, with its reason; anything else fails.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance import known
from tests.conformance.compare import assert_known
from tests.conformance.suites import NEWEST_LEGACY, NEWEST_MODERN, Suite, judge_server
from tests.conformance.through import FixtureServer, endpoint, proxy
from tests.e2e.daemon import Daemon

pytestmark = pytest.mark.timeout(600)

BEHIND = {"legacy": known.LEGACY_ONLY, "modern": known.MODERN_ONLY}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, FixtureServer]]:
    made = {
        era: FixtureServer(tmp_path_factory.mktemp(era), era)
        for era in ("both", "legacy", "modern")
    }
    try:
        for server in made.values():
            server.start()
        yield made
    finally:
        for server in made.values():
            server.stop()


@pytest.fixture(scope="module")
def daemon(
    servers: dict[str, FixtureServer], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Daemon]:
    entries = [{"name": era, "url": server.url} for era, server in servers.items()]
    with proxy(tmp_path_factory.mktemp("daemon"), *entries) as running:
        yield running


@pytest.mark.parametrize("suite", [NEWEST_LEGACY, NEWEST_MODERN], ids=lambda suite: suite.version)
@pytest.mark.parametrize("era", ["legacy", "modern"])
def test_a_server_of_one_era_is_judged_as_it_is_and_in_the_other_one(
    suite: Suite, era: str, servers: dict[str, FixtureServer], daemon: Daemon, tmp_path: Path
) -> None:
    direct = judge_server(suite, servers["both"].url, tmp_path / "direct")
    through = judge_server(suite, endpoint(daemon, era), tmp_path / "through")
    assert_known(suite, BEHIND[era], direct, through)
