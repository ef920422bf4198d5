"""Calls of the upstream `up`, and its troubles as they are shown."""

import json
from datetime import timedelta
from typing import Any

from mcpproxy.core.connection import Trouble
from tests.gateway.world import Site, until

TIMEOUT = timedelta(seconds=10)


async def call(site: Site, arguments: Any = None, timeout: timedelta = TIMEOUT) -> Any:
    """Call the tool `echo` of `up`; its result."""
    given = json.dumps(arguments or {}).encode()
    return json.loads(await site.gateway.call_tool("up", "echo", given, timeout=timeout))


async def failing(site: Site, trouble: Trouble) -> str:
    """Wait until `up` is in this trouble; the error that is shown."""
    await until(
        lambda: site.gateway.connection("up").trouble is trouble,
        lambda: site.gateway.connection("up"),
    )
    return site.gateway.connection("up").error or ""
