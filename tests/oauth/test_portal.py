"""Somebody else's answer is suspected for what it is; the provider's own trouble is not."""

from datetime import timedelta

import pytest

from mcpproxy.core.model import Suspect
from mcpproxy.oauth.client import OAuthHttpSender
from tests.oauth.exchanges import fine, not_sent, post
from tests.oauth.made import answer
from tests.oauth.readings import HTML, PAGE, failed, oauth
from tests.oauth.wire import Authority, Connection, listening

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("status", [200, 302, 303, 307, 511])
def test_a_page_or_a_way_to_one_may_be_a_portals(status: int) -> None:
    assert failed(answer(status, PAGE, headers=HTML)).suspect is Suspect.PORTAL


@pytest.mark.parametrize("status", [301, 308, 403, 429, 500, 503, 530])
def test_a_moved_endpoint_a_firewall_and_an_outage_are_no_portal(status: int) -> None:
    assert failed(answer(status, PAGE, headers=HTML)).suspect is None


@pytest.mark.parametrize("body", [oauth("invalid_grant"), oauth("server_error"), "", "{"])
def test_what_is_no_page_is_no_portals(body: str) -> None:
    assert failed(answer(400, body)).suspect is None


async def test_the_certificate_of_another_name_may_be_a_portals(authority: Authority) -> None:
    tls = authority.server_context("login.hotel.example")
    async with listening(Connection.until_closed, tls=tls) as peer:
        sender = OAuthHttpSender(ca_file=authority.file)
        failure = await not_sent(post(peer.port, scheme="https"), sender)
    assert failure.suspect is Suspect.PORTAL


async def test_the_certificate_of_an_authority_nobody_knows_may_be_a_portals(
    authority: Authority,
) -> None:
    tls = authority.server_context("127.0.0.1")
    async with listening(Connection.until_closed, tls=tls) as peer:
        failure = await not_sent(post(peer.port, scheme="https"))
    assert failure.suspect is Suspect.PORTAL


async def test_a_certificate_out_of_date_is_no_portals(authority: Authority) -> None:
    tls = authority.server_context("127.0.0.1", life=timedelta(days=-1))
    async with listening(fine, tls=tls) as peer:
        sender = OAuthHttpSender(ca_file=authority.file)
        failure = await not_sent(post(peer.port, scheme="https"), sender)
    assert failure.suspect is None
