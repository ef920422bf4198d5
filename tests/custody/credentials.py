"""A desk whose server is reached with client credentials."""

from dataclasses import replace
from typing import Any

from mcpproxy.core.errors import DiscoveryFailed
from mcpproxy.core.model import GrantType, OAuthConfig, Secret, Upstream
from tests.builders import SERVER_URL
from tests.custody.bench import NAME, tokens_reply
from tests.custody.desk import Desk

CREDENTIALS = OAuthConfig(
    client_id="machine",
    client_secret=Secret("s3cret"),
    grant_type=GrantType.CLIENT_CREDENTIALS,
)
ANOTHER = replace(CREDENTIALS, client_id="another", client_secret=Secret("another"))
DOWN = DiscoveryFailed("The server's OAuth metadata cannot be read now: connection refused.")


def configure(desk: Desk, config: OAuthConfig | None = CREDENTIALS, **changes: Any) -> None:
    desk.upstreams[NAME] = replace(Upstream(NAME, url=SERVER_URL, oauth=config), **changes)
    desk.machine.apply()


def answers(desk: Desk, count: int = 9) -> None:
    desk.bench.endpoint.replies = [tokens_reply(n, refresh_token=None) for n in range(1, count)]


def login_id(desk: Desk) -> str | None:
    grant = desk.bench.world.grants.get(NAME)
    return grant.login_id if grant else None
