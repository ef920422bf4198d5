import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpproxy.core.challenge import Challenge, bearer_challenge, parse_challenges

META = "https://mcp.example/.well-known/oauth-protected-resource"


def test_the_challenge_of_an_mcp_server_is_understood() -> None:
    header = (
        f'Bearer realm="mcp", resource_metadata="{META}", scope="a b", '
        'error="invalid_token", error_description="it \\"ended\\", sorry"'
    )
    (challenge,) = parse_challenges(header)
    assert challenge.scheme == "bearer"
    assert challenge.realm == "mcp"
    assert challenge.resource_metadata == META
    assert challenge.scope == "a b"
    assert challenge.error == "invalid_token"
    assert challenge.error_description == 'it "ended", sorry'


@pytest.mark.parametrize(
    ("header", "schemes"),
    [
        ("Bearer", ["bearer"]),
        ("Basic realm=x, Bearer scope=a", ["basic", "bearer"]),
        ('Negotiate, Bearer realm="a, Basic b", NTLM', ["negotiate", "bearer", "ntlm"]),
        ("Negotiate YII+/aGk==, Bearer", ["negotiate", "bearer"]),
        (", ,Bearer ,, Basic,", ["bearer", "basic"]),
        ('Digest realm="r", nonce="n", qop="auth,auth-int", Bearer', ["digest", "bearer"]),
        ("", []),
        (" , ", []),
        ("=", []),
        ("realm=x", []),
    ],
)
def test_several_challenges_in_one_header_are_told_apart(header: str, schemes: list[str]) -> None:
    assert [challenge.scheme for challenge in parse_challenges(header)] == schemes


def test_parameters_belong_to_the_challenge_before_them() -> None:
    basic, bearer = parse_challenges('Basic realm="one", Bearer realm="two", scope="s"')
    assert (basic.realm, basic.scope) == ("one", None)
    assert (bearer.realm, bearer.scope) == ("two", "s")


def test_a_token68_is_kept_apart_from_parameters() -> None:
    assert parse_challenges("Negotiate abc==")[0] == Challenge("negotiate", {}, "abc==")


@pytest.mark.parametrize(
    "header",
    [
        f"Bearer resource_metadata={META}",
        f"bearer  resource_metadata = {META} , x=y",
        f'BEARER error="e" Resource_Metadata="{META}"',
        f'Bearer resource_metadata="{META}',
        f'Bearer resource_metadata="{META}", resource_metadata="https://evil.example"',
    ],
)
def test_careless_servers_are_understood_too(header: str) -> None:
    (challenge,) = parse_challenges(header)
    assert challenge.resource_metadata == META


def test_the_bearer_challenge_is_found_among_others() -> None:
    found = bearer_challenge('Basic realm="x", DPoP algs="ES256", Bearer scope="a"')
    assert found is not None
    assert found.scope == "a"
    assert bearer_challenge('Basic realm="x"') is None
    assert bearer_challenge(None) is None


def test_empty_words_are_none() -> None:
    (challenge,) = parse_challenges('Bearer scope="", resource_metadata=""')
    assert challenge.scope is None
    assert challenge.resource_metadata is None


@given(st.text() | st.text(alphabet='Ba=", \\x;', max_size=200))
def test_no_header_whatever_breaks_it(header: str) -> None:
    for challenge in parse_challenges(header):
        assert challenge.scheme == challenge.scheme.lower()


@pytest.mark.parametrize("piece", ['"', "a=", 'a="', "\\", ", ", "Bearer ", "=", 'a="\\'])
def test_a_huge_header_is_read_in_bounded_time(piece: str) -> None:
    assert len(parse_challenges(piece * 1_000_000)) <= 16 * 1024
