"""The order of the look-ups, and what is refused on the way."""

import json
from collections.abc import Mapping

import pytest

from mcpproxy.core.errors import DiscoveryFailed
from mcpproxy.core.http import HttpReply, NoReply
from mcpproxy.oauth.discovery import Discovered, discover
from mcpproxy.oauth.steps import drive
from tests.oauth.made import Network, answer, nothing

pytestmark = pytest.mark.anyio

SERVER = "https://mcp.example/team/mcp"
PRM = "https://mcp.example/.well-known/oauth-protected-resource"
ISSUER = "https://auth.example"
TENANT = "https://auth.example/tenant"
Replies = Mapping[str, HttpReply | NoReply | list[HttpReply | NoReply]]


def resource(**more: object) -> HttpReply:
    known = {"resource": SERVER, "authorization_servers": [ISSUER], "scopes_supported": ["a", "b"]}
    return answer(200, json.dumps(known | more))


def metadata(issuer: str = ISSUER, **more: object) -> HttpReply:
    known = {
        "issuer": issuer,
        "authorization_endpoint": f"{ISSUER}/authorize",
        "token_endpoint": f"{ISSUER}/token",
        "registration_endpoint": f"{ISSUER}/register",
        "code_challenge_methods_supported": ["plain", "S256"],
    }
    return answer(200, json.dumps(known | more))


async def found(
    replies: Replies, header: str | None = "", server: str = SERVER
) -> tuple[Discovered, list[str]]:
    network = Network(replies)
    return await drive(discover(server, header), network), network.log


async def test_the_challenge_says_where_to_look_first() -> None:
    named = "https://mcp.example/meta.json"
    result, log = await found(
        {
            f"GET {named}": resource(),
            f"GET {ISSUER}/.well-known/oauth-authorization-server": metadata(),
        },
        f'Bearer resource_metadata="{named}", scope="c d"',
    )
    assert log == [f"GET {named}", f"GET {ISSUER}/.well-known/oauth-authorization-server"]
    assert result.server.issuer == ISSUER
    assert result.resource == SERVER
    assert result.scopes == ("c", "d")


async def test_without_a_challenge_the_well_known_places_are_asked_path_first_then_root() -> None:
    result, log = await found(
        {
            f"GET {PRM}": resource(resource="https://mcp.example"),
            f"GET {ISSUER}/.well-known/openid-configuration": metadata(),
        }
    )
    assert log == [
        f"GET {PRM}/team/mcp",
        f"GET {PRM}",
        f"GET {ISSUER}/.well-known/oauth-authorization-server",
        f"GET {ISSUER}/.well-known/openid-configuration",
    ]
    assert result.resource == "https://mcp.example"
    assert result.scopes == ("a", "b")


async def test_an_issuer_with_a_path_is_asked_in_the_order_of_the_specification() -> None:
    result, log = await found(
        {
            f"GET {PRM}/team/mcp": resource(authorization_servers=[TENANT]),
            f"GET {TENANT}/.well-known/openid-configuration": metadata(TENANT),
        }
    )
    assert log[1:] == [
        f"GET {ISSUER}/.well-known/oauth-authorization-server/tenant",
        f"GET {ISSUER}/.well-known/openid-configuration/tenant",
        f"GET {TENANT}/.well-known/openid-configuration",
    ]
    assert result.server.issuer == TENANT


async def test_a_server_that_was_never_seen_to_ask_is_asked() -> None:
    result, log = await found(
        {
            f"POST {SERVER}": answer(
                401, headers={"www-authenticate": 'Bearer resource_metadata="https://x.example/m"'}
            ),
            "GET https://x.example/m": resource(),
            f"GET {ISSUER}/.well-known/oauth-authorization-server": metadata(),
        },
        None,
    )
    assert log[0] == f"POST {SERVER}"
    assert result.server.issuer == ISSUER


async def test_the_second_authorization_server_is_tried_when_the_first_has_no_metadata() -> None:
    result, _ = await found(
        {
            f"GET {PRM}/team/mcp": resource(authorization_servers=["https://gone.example", ISSUER]),
            f"GET {ISSUER}/.well-known/oauth-authorization-server": metadata(),
        }
    )
    assert result.server.issuer == ISSUER


async def test_what_the_server_can_do_is_read() -> None:
    result, _ = await found(
        {
            f"GET {PRM}/team/mcp": resource(),
            f"GET {ISSUER}/.well-known/oauth-authorization-server": metadata(
                revocation_endpoint=f"{ISSUER}/revoke",
                scopes_supported=["a", "offline_access"],
                token_endpoint_auth_methods_supported=["none", 7],
                client_id_metadata_document_supported=True,
                authorization_response_iss_parameter_supported=True,
            ),
        }
    )
    server = result.server
    assert server.token_endpoint == f"{ISSUER}/token"
    assert server.revocation_endpoint == f"{ISSUER}/revoke"
    assert server.scopes == ("a", "offline_access")
    assert server.auth_methods == ("none",)
    assert server.takes_metadata_documents
    assert server.sends_iss


# --- the revision 2025-03-26 ---------------------------------------------------------------


async def test_an_old_server_is_its_own_issuer() -> None:
    result, log = await found(
        {
            "GET https://mcp.example/.well-known/oauth-authorization-server": metadata(
                "https://mcp.example/"
            )
        }
    )
    assert log == [
        f"GET {PRM}/team/mcp",
        f"GET {PRM}",
        "GET https://mcp.example/.well-known/oauth-authorization-server",
    ]
    assert result.resource is None
    assert result.server.issuer == "https://mcp.example/"


async def test_an_old_server_without_metadata_has_endpoints_at_its_origin() -> None:
    result, _ = await found({})
    assert result.server.authorization_endpoint == "https://mcp.example/authorize"
    assert result.server.token_endpoint == "https://mcp.example/token"
    assert result.server.registration_endpoint == "https://mcp.example/register"


async def test_a_server_that_does_not_ask_for_a_login_gets_none() -> None:
    with pytest.raises(DiscoveryFailed, match="does not ask for a login"):
        await found({f"POST {SERVER}": answer(200, "{}")}, None)


# --- refusals ------------------------------------------------------------------------------


async def refused(replies: Replies, because: str, header: str = "") -> None:
    with pytest.raises(DiscoveryFailed, match=because) as caught:
        await found(replies, header)
    assert caught.value.next_step


@pytest.mark.parametrize("claimed", ["https://evil.example", f"{ISSUER}/x", "", None, 7])
async def test_metadata_of_another_issuer_is_refused(claimed: object) -> None:
    wrong = metadata(**{"issuer": claimed})  # type: ignore[arg-type]
    await refused(
        {
            f"GET {PRM}/team/mcp": resource(),
            f"GET {ISSUER}/.well-known/oauth-authorization-server": wrong,
        },
        "calls itself",
    )


async def test_metadata_for_another_server_is_refused() -> None:
    await refused(
        {f"GET {PRM}/team/mcp": resource(resource="https://evil.example/mcp")}, "speaks for"
    )
    await refused(
        {"GET https://x.example/m": resource(resource="https://evil.example")},
        "speaks for",
        'Bearer resource_metadata="https://x.example/m"',
    )


async def test_a_neighbour_s_metadata_at_the_root_says_nothing_about_us() -> None:
    result, _ = await found(
        {
            f"GET {PRM}": resource(resource="https://mcp.example/neighbour"),
            "GET https://mcp.example/.well-known/oauth-authorization-server": metadata(
                "https://mcp.example"
            ),
        }
    )
    assert result.server.issuer == "https://mcp.example"


@pytest.mark.parametrize("methods", [None, [], ["plain"], "S256", 7])
async def test_a_server_without_s256_is_refused(methods: object) -> None:
    weak = metadata(code_challenge_methods_supported=methods)
    await refused(
        {
            f"GET {PRM}/team/mcp": resource(),
            f"GET {ISSUER}/.well-known/oauth-authorization-server": weak,
        },
        "PKCE with S256",
    )


@pytest.mark.parametrize(
    "name",
    ["authorization_endpoint", "token_endpoint", "registration_endpoint", "revocation_endpoint"],
)
@pytest.mark.parametrize("url", ["http://auth.example/x", "javascript:alert(1)", 7, ""])
async def test_an_endpoint_that_may_not_be_used_is_named(name: str, url: object) -> None:
    await refused(
        {
            f"GET {PRM}/team/mcp": resource(),
            f"GET {ISSUER}/.well-known/oauth-authorization-server": metadata(ISSUER, **{name: url}),
        },
        name,
    )


async def test_an_authorization_server_that_may_not_be_used_is_refused() -> None:
    wrong = resource(authorization_servers=["http://auth.example"])
    await refused({f"GET {PRM}/team/mcp": wrong}, "authorization server 'http://auth.example'")


@pytest.mark.parametrize(
    "trouble", [nothing("timeout"), answer(503), answer(429), answer(200, "{", complete=False)]
)
async def test_a_server_that_is_down_is_not_taken_for_an_old_one(
    trouble: HttpReply | NoReply,
) -> None:
    await refused({f"GET {PRM}/team/mcp": trouble}, "cannot be read now")
    await refused(
        {
            f"GET {PRM}/team/mcp": resource(),
            f"GET {ISSUER}/.well-known/oauth-authorization-server": trouble,
        },
        "cannot be asked now",
    )


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410])
async def test_a_client_error_is_a_word_that_there_is_nothing(status: int) -> None:
    result, _ = await found(
        {
            f"GET {PRM}/team/mcp": answer(status),
            f"GET {PRM}": resource(),
            f"GET {ISSUER}/.well-known/oauth-authorization-server": answer(status, "no"),
            f"GET {ISSUER}/.well-known/openid-configuration": metadata(),
        }
    )
    assert result.server.issuer == ISSUER


async def test_a_page_where_metadata_should_be_is_nothing() -> None:
    result, _ = await found(
        {
            f"GET {PRM}/team/mcp": answer(200, "<html>"),
            f"GET {PRM}": answer(200, "[]"),
        }
    )
    assert result.resource is None


# --- redirects -----------------------------------------------------------------------------


def moved(location: str) -> HttpReply:
    return answer(308, headers={"location": location})


async def test_moved_metadata_is_followed_and_its_place_checked() -> None:
    result, log = await found(
        {
            f"GET {PRM}/team/mcp": moved("/moved"),
            "GET https://mcp.example/moved": resource(),
            f"GET {ISSUER}/.well-known/oauth-authorization-server": metadata(),
        }
    )
    assert log[:2] == [f"GET {PRM}/team/mcp", "GET https://mcp.example/moved"]
    assert result.server.issuer == ISSUER
    await refused({f"GET {PRM}/team/mcp": moved("http://169.254.169.254/latest")}, "not https")


async def test_redirects_have_an_end() -> None:
    await refused({f"GET {PRM}/team/mcp": moved(f"{PRM}/team/mcp")}, "redirected more than")


async def test_every_request_says_whose_word_led_to_it() -> None:
    network = Network(
        {
            f"GET {PRM}/team/mcp": resource(),
            f"GET {ISSUER}/.well-known/oauth-authorization-server": metadata(),
        }
    )
    await drive(discover(SERVER, ""), network)
    assert {request.on_behalf_of for request in network.requests} == {SERVER}
