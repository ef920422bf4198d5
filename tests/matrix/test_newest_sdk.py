"""The small part of the matrix that always runs: the newest Python SDK on either side, both eras.

`make matrix` runs the rest: other SDKs, transports and features.
"""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, Final, cast

import pytest

from mcpproxy.core.model import Secret, Upstream
from tests.conformance.fixture.eras import of_era
from tests.gateway.world import KEY, Site, running, serving
from tests.matrix.cells import End, not_found
from tests.matrix.sides.client_v2 import connect
from tests.matrix.sides.features import FEATURES
from tests.matrix.sides.server_v2 import Offered
from tests.matrix.sides.talking import Target
from tests.matrix.world import ENVIRONMENT, command

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.filterwarnings("ignore::mcp.shared.exceptions.MCPDeprecationWarning"),
]

SERVERS: Final = tuple(
    End("py2", era, wire) for era in ("legacy", "modern") for wire in ("http", "stdio")
)
SMALL: Final = (
    "era",
    "tools call",
    "sampling",
    "elicitation accepted",
    "elicitation by URL",
    "roots",
    "resources read",
    "resource missing",
    "subscription",
    "completion",
)


@asynccontextmanager
async def gateway() -> AsyncIterator[Site]:
    """In front of all four servers, those over HTTP in this process."""
    async with AsyncExitStack() as stack:
        upstreams: list[Upstream] = []
        env = {name: Secret(value) for name, value in ENVIRONMENT.items()}
        for server in SERVERS:
            if server.wire == "stdio":
                start, *given = command(server)
                spoken = Upstream(server.name, command=start, args=tuple(given), env=env)
                upstreams.append(spoken)
                continue
            app = of_era(server.era, Offered(server.era).server.streamable_http_app())
            origin = await stack.enter_async_context(serving(cast(Any, app)))
            upstreams.append(Upstream(server.name, url=f"{origin}/mcp"))
        site = await stack.enter_async_context(running(*upstreams))
        await site.connected(*(server.name for server in SERVERS))
        yield site


async def test_the_newest_sdk_finds_every_server_whole_in_both_eras() -> None:
    async with gateway() as site:
        for client in (End("py2", era, "http") for era in ("legacy", "modern")):
            for server in SERVERS:
                await finds_whole(site, client, server)


async def finds_whole(site: Site, client: End, server: End) -> None:
    target = Target(
        server.name,
        [*SMALL],
        server.version,
        url=f"{site.url}/s/{server.name}",
        not_found=not_found(client, server),
    )
    async with connect(client.era, client.wire, KEY)(target) as talker:
        for feature in SMALL:
            try:
                await FEATURES[feature](talker, target)
            except Exception as error:
                error.add_note(f"{feature}, by {client.name}, of {server.name}")
                raise
