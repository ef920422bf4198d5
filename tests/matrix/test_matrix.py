"""Every feature of the protocol works between every client and every server of the official SDKs.

Run by `make matrix`, which installs the SDKs of both generations.
"""

from collections.abc import Iterator, Sequence

import pytest

from tests.e2e.daemon import Daemon
from tests.matrix import table, world
from tests.matrix.cells import ENDS, End, tried
from tests.matrix.world import Outcome

pytestmark = pytest.mark.timeout(world.DEADLINE + 60)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with world.gateway(ENDS, tmp_path_factory.mktemp("matrix")) as running:
        yield running


def failures(outcomes: Sequence[Outcome]) -> str:
    return "\n".join(f"{each.server}: {each.feature}: {each.why}" for each in outcomes if each.why)


@pytest.mark.parametrize("client", ENDS, ids=lambda end: end.name)
def test_every_feature_of_each_server_works_at_its_own_endpoint(
    client: End, daemon: Daemon
) -> None:
    targets = [world.target(daemon, client, server, tried(client, server)) for server in ENDS]
    outcomes = world.run(client, targets)
    table.note(client, "server", outcomes)
    assert not failures(outcomes), failures(outcomes)


@pytest.mark.parametrize("client", ENDS, ids=lambda end: end.name)
def test_what_has_a_name_or_asks_back_works_among_all_servers(client: End, daemon: Daemon) -> None:
    outcomes = world.run(client, [world.aggregated(daemon, client, server) for server in ENDS])
    table.note(client, "aggregate", outcomes)
    assert not failures(outcomes), failures(outcomes)
