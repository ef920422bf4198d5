import pytest

from mcpproxy.core.errors import DiscoveryFailed
from mcpproxy.oauth.endpoints import (
    canonical_resource,
    check_endpoint,
    covers,
    is_loopback,
    is_private,
    origin_of,
    same_issuer,
)

PUBLIC = "https://mcp.example/mcp"
LOCAL = "http://127.0.0.1:3000/mcp"


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("https://auth.example/token", PUBLIC),
        ("https://auth.example:8443/a?b=c", PUBLIC),
        ("https://[2001:db8::1]/token", PUBLIC),
        ("http://127.0.0.1:9000/token", LOCAL),
        ("http://localhost:9000/token", LOCAL),
        ("http://[::1]:9000/token", "http://localhost:3000/mcp"),
        ("https://auth.example/token", LOCAL),
    ],
)
def test_an_honest_endpoint_is_taken_as_it_is(url: str, server: str) -> None:
    assert check_endpoint(url, "token_endpoint", server) == url


@pytest.mark.parametrize(
    ("url", "server"),
    [
        ("http://auth.example/token", PUBLIC),
        ("http://192.168.0.1/token", "http://192.168.0.2/mcp"),
        ("http://127.0.0.1/token", PUBLIC),
        ("javascript:alert(1)", PUBLIC),
        ("file:///etc/passwd", PUBLIC),
        ("data:text/html,x", PUBLIC),
        ("ftp://auth.example/", PUBLIC),
        ("-oProxyCommand=calc", PUBLIC),
        ("--help", PUBLIC),
        ("//auth.example/token", PUBLIC),
        ("/token", PUBLIC),
        ("https:///token", PUBLIC),
        ("https://user@auth.example/token", PUBLIC),
        ("https://user:pw@auth.example/token", PUBLIC),
        ("https://auth.example/token#x", PUBLIC),
        ("https://auth.example/to ken", PUBLIC),
        ("https://auth.example/\ntoken", PUBLIC),
        ("https://auth.example/\u202etoken", PUBLIC),
        ("https://auth.example:99999/token", PUBLIC),
        ("https://[::1/token", PUBLIC),
        ("https://auth.example/" + "a" * 3000, PUBLIC),
        ("", PUBLIC),
        (None, PUBLIC),
        (7, PUBLIC),
        (["https://auth.example"], PUBLIC),
    ],
)
def test_a_hostile_endpoint_is_refused_by_name(url: object, server: str) -> None:
    with pytest.raises(DiscoveryFailed, match="token_endpoint") as caught:
        check_endpoint(url, "token_endpoint", server)
    assert caught.value.next_step
    assert caught.value.message.isprintable()


@pytest.mark.parametrize("host", ["localhost", "a.localhost", "LOCALHOST.", "127.9.9.9", "::1"])
def test_this_machine_has_many_names(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["localhost.evil.example", "128.0.0.1", "", "127.0.0.1.example"])
def test_other_machines_are_not_this_one(host: str) -> None:
    assert not is_loopback(host)


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "172.16.3.4", "192.168.1.1", "127.0.0.1", "169.254.169.254", "100.64.0.1"),
        *("0.0.0.0", "224.0.0.1", "::1", "::", "fe80::1%eth0", "fd00::1", "::ffff:10.0.0.1"),
    ],
)
def test_private_addresses_are_known(address: str) -> None:
    assert is_private(address)


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:8.8.8.8"])
def test_public_addresses_are_known(address: str) -> None:
    assert not is_private(address)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("HTTPS://Auth.Example:443/x", "https://auth.example"),
        ("http://auth.example:80", "http://auth.example"),
        ("http://auth.example:443", "http://auth.example:443"),
        ("https://[::1]:8443/x", "https://[::1]:8443"),
    ],
)
def test_origins_can_be_compared(url: str, origin: str) -> None:
    assert origin_of(url) == origin


@pytest.mark.parametrize(
    ("url", "resource"),
    [
        ("https://MCP.example/", "https://mcp.example"),
        ("https://mcp.example/mcp", "https://mcp.example/mcp"),
        ("https://mcp.example/mcp/?a=b#c", "https://mcp.example/mcp/?a=b"),
    ],
)
def test_a_server_has_one_canonical_name(url: str, resource: str) -> None:
    assert canonical_resource(url) == resource


@pytest.mark.parametrize(
    ("resource", "speaks"),
    [
        ("https://mcp.example/mcp", True),
        ("https://mcp.example/mcp/", True),
        ("https://mcp.example", True),
        ("https://mcp.example/", True),
        ("https://mcp.example/mc", False),
        ("https://mcp.example/mcp/other", False),
        ("https://other.example/mcp", False),
        ("http://mcp.example/mcp", False),
        ("https://mcp.example:99999", False),
    ],
)
def test_a_resource_speaks_for_itself_and_what_is_below_it(resource: str, speaks: bool) -> None:
    assert covers(resource, "https://mcp.example/mcp") is speaks


def test_issuers_are_compared_exactly_but_for_the_slash_of_a_bare_origin() -> None:
    assert same_issuer("https://a.example", "https://a.example/")
    assert same_issuer("https://a.example/x", "https://a.example/x")
    assert not same_issuer("https://a.example/x", "https://a.example/x/")
    assert not same_issuer("https://a.example", "https://A.example")
