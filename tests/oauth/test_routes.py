import pytest

from mcpproxy.oauth.routes import Routes

PROXY = "http://proxy.corp:3128"


@pytest.fixture(autouse=True)
def no_outbound_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.mark.parametrize(
    ("url", "no_proxy", "proxied"),
    [
        ("https://auth.example/token", (), True),
        ("https://auth.example/token", ("auth.example",), False),
        ("https://auth.example/token", ("example",), False),
        ("https://auth.example/token", (".example",), False),
        ("https://auth.example/token", ("*.example",), False),
        ("https://auth.example/token", (" AUTH.EXAMPLE ",), False),
        ("https://auth.example/token", ("*",), False),
        ("https://auth.example/token", ("th.example", "", ".", "other"), True),
        ("https://10.1.2.3/token", ("10.0.0.0/8",), False),
        ("https://10.1.2.3/token", ("10.1.2.3",), False),
        ("https://11.1.2.3/token", ("10.0.0.0/8",), True),
        ("https://[fd00::1]/token", ("fd00::/8",), False),
        ("http://127.0.0.1:1/token", (), False),
        ("http://localhost:1/token", (), False),
    ],
)
def test_a_configured_proxy_is_for_all_but_the_named_and_this_machine(
    url: str, no_proxy: tuple[str, ...], proxied: bool
) -> None:
    routes = Routes(PROXY, no_proxy)
    assert routes.is_proxied(url) is proxied
    assert routes.proxy_for(url) == (PROXY if proxied else None)
    assert not routes.asks_environment(url)


def test_without_a_configured_proxy_the_environment_decides(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    routes = Routes()
    assert routes.asks_environment("https://auth.example")
    assert not routes.is_proxied("https://auth.example")
    monkeypatch.setenv("HTTPS_PROXY", PROXY)
    assert routes.is_proxied("https://auth.example")
    assert not routes.is_proxied("http://127.0.0.1/")
    assert not routes.asks_environment("http://127.0.0.1/")


def test_a_url_that_is_none_goes_nowhere_special() -> None:
    assert Routes(PROXY).proxy_for("http://[::1") == PROXY
