"""The way out: proxies and certificate authorities, configured or from the environment."""

from pathlib import Path

import pytest

from mcpproxy.core.connection import Trouble
from mcpproxy.core.model import Secret, Upstream
from mcpproxy.gateway.transports.outbound import Outbound
from tests.gateway.certificates import self_signed
from tests.gateway.hostile import Scripted
from tests.gateway.world import running, serving, until, without_lifespan

pytestmark = pytest.mark.anyio
ELSEWHERE = Upstream("up", url="http://mcp.example.test/mcp")


async def test_a_configured_proxy_is_used_and_gets_the_whole_url() -> None:
    proxy = Scripted()
    async with serving(without_lifespan(proxy)) as origin:
        outbound = Outbound(proxy=Secret(origin))
        async with running(ELSEWHERE, outbound=outbound) as site:
            await site.connected("up")
        assert proxy.seen[0].headers["host"] == "mcp.example.test"


async def test_the_environments_proxy_counts_where_none_is_configured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    proxy = Scripted()
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with serving(without_lifespan(proxy)) as origin:
        monkeypatch.setenv("http_proxy", origin)
        async with running(ELSEWHERE) as site:
            await site.connected("up")


@pytest.mark.parametrize(
    ("host", "direct"),
    [
        ("127.0.0.1", True),
        ("localhost", True),
        ("db.corp.example", True),
        ("10.1.2.3", True),
        ("mcp.example.com", False),
        ("notcorp.example", False),
    ],
)
def test_this_machine_and_no_proxy_hosts_are_reached_directly(host: str, direct: bool) -> None:
    outbound = Outbound(Secret("http://proxy:3128"), no_proxy=("corp.example", "10.0.0.0/8"))
    assert (outbound.proxy_for("https", host) is None) is direct


async def test_a_custom_authority_is_trusted_and_an_unknown_one_is_named_as_such(
    tmp_path: Path,
) -> None:
    own = self_signed(tmp_path)
    options = {"ssl_certfile": str(own.file), "ssl_keyfile": str(own.key)}
    async with serving(without_lifespan(Scripted()), **options) as origin:
        upstream = Upstream("up", url=f"{origin}/mcp")
        async with running(upstream, outbound=Outbound(ca_file=own.file)) as site:
            await site.connected("up")
        async with running(upstream) as site:
            await until(lambda: site.gateway.connection("up").trouble is Trouble.NETWORK)
            assert "certificate" in (site.gateway.connection("up").error or "").lower()


async def test_an_authority_that_cannot_be_read_is_a_configuration_trouble(tmp_path: Path) -> None:
    outbound = Outbound(ca_file=tmp_path / "none.pem")
    async with running(Upstream("up", url="https://127.0.0.1:9/mcp"), outbound=outbound) as site:
        await until(lambda: site.gateway.connection("up").trouble is Trouble.CONFIGURATION)
        assert "none.pem" in (site.gateway.connection("up").error or "")
