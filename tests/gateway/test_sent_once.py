"""What may have been carried out at an upstream of the stateless era is not asked for again."""

import contextlib
from typing import Any

import pytest

from mcpproxy.core.errors import UpstreamError
from mcpproxy.core.model import Upstream
from tests.gateway.hostile import Raw, Seen, scripted
from tests.gateway.lone_upstream import lone
from tests.gateway.test_modern_upstream import carried, modern

pytestmark = pytest.mark.anyio
SLIP = b'{"jsonrpc":"2.0","id":null,"error":{"code":-32000,"message":"after the deed"}}'
OURS = {"code": -32022, "message": "x", "data": {"supported": ["2026-07-28"]}}


@pytest.mark.parametrize(
    "said",
    [
        Raw(200, b"<html>done</html>", "text/html"),
        Raw(200, b"done", ""),
        Raw(204, b"", ""),
        Raw(400, b"x", "text/plain"),
        Raw(404, b"x", "text/plain"),
        Raw(410, b"x", "text/plain"),
        Raw(422, b'{"detail":"x"}'),
        Raw(200, SLIP),
        Raw(200, b"data: " + SLIP + b"\n\n", "text/event-stream"),
        {"error": OURS},
    ],
)
async def test_what_may_have_been_carried_out_is_not_sent_again(said: Any) -> None:
    async def answer(seen: Seen) -> Any:
        broken = seen.method == "tools/call" and seen.message["params"].get("arguments")
        return said if broken else None

    server = modern(answer)
    async with scripted(server) as url, lone(Upstream("up", url=url)) as up:
        await up.connected()
        with contextlib.suppress(UpstreamError):
            assert "error" in await carried(up, arguments={"break": 1})
        assert server.count("tools/call") == 1
        assert "result" in await carried(up)
