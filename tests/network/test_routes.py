"""Of all that a kernel tells, only a new way out is news."""

from socket import AF_INET6

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpproxy.network.routes import (
    NLM_F_REPLACE,
    RTM_DELADDR,
    RTM_DELROUTE,
    RTM_F_CLONED,
    Message,
    Told,
    Ways,
    messages,
)
from tests.network.kernel import address, datagram, link, route

BRIDGE_FAMILY = 7
UNREACHABLE = 7
SCOPE_LINK = 253


def at_home() -> Ways:
    """A machine on its Wi-Fi, with a default route."""
    ways = Ways()
    ways.hear(link())
    ways.hear(address())
    assert ways.hear(route()) is Told.NEWS
    return ways


def test_a_default_route_is_news_once() -> None:
    ways = at_home()
    assert ways.hear(route()) is Told.NOTHING
    assert ways.hear(route(flags=NLM_F_REPLACE)) is Told.NOTHING


@pytest.mark.parametrize(
    "other",
    [
        route(via="192.168.1.254"),
        route(link=9),
        route(priority=50),
        route(to="128.0.0.0", length=1),
    ],
    ids=["another router", "another link", "another metric", "half of the world"],
)
def test_another_way_out_is_news(other: Message) -> None:
    assert at_home().hear(other) is Told.NEWS


def test_a_route_that_went_is_news_when_it_comes_back() -> None:
    ways = at_home()
    assert ways.hear(route(RTM_DELROUTE)) is Told.STIR
    assert ways.hear(route()) is Told.NEWS


def test_a_route_that_was_replaced_is_news_when_it_comes_back() -> None:
    ways = at_home()
    assert ways.hear(route(via="192.168.1.254", flags=NLM_F_REPLACE)) is Told.NEWS
    assert ways.hear(route(flags=NLM_F_REPLACE)) is Told.NEWS


@pytest.mark.parametrize(
    "loss", [link(up=False, running=False), address(RTM_DELADDR)], ids=["link", "address"]
)
def test_routes_that_went_unannounced_with_what_they_lay_on_are_news_again(loss: Message) -> None:
    ways = at_home()
    assert ways.hear(loss) is Told.STIR
    assert ways.hear(route()) is Told.NEWS


def test_the_carrier_is_news_only_on_a_link_that_leads_out() -> None:
    ways = at_home()
    assert ways.hear(link(running=False)) is Told.STIR
    assert ways.hear(link()) is Told.NEWS
    assert ways.hear(link()) is Told.NOTHING
    assert ways.hear(link(index=40, running=False)) is Told.NOTHING
    assert ways.hear(link(index=40)) is Told.NOTHING


@pytest.mark.parametrize(
    "churn",
    [
        link(index=40),
        link(running=False, family=BRIDGE_FAMILY),
        link(up=False, running=False, family=AF_INET6),
        address(scope=SCOPE_LINK),
        address(family=17),
        route(to="172.17.0.0", length=16),
        route(type_=UNREACHABLE, via="0.0.0.0"),
        route(via="10.0.0.1", route_flags=RTM_F_CLONED),
        Message(99, 0, b""),
    ],
    ids=[
        "another link is up",
        "a bridge's port",
        "IPv6's view of a link",
        "a link-local address",
        "an address of no protocol we speak",
        "a container's network",
        "a route that leads nowhere",
        "a cached route",
        "a message of another kind",
    ],
)
def test_the_rest_is_nothing(churn: Message) -> None:
    assert at_home().hear(churn) is Told.NOTHING


def test_what_was_missed_is_found_by_comparing() -> None:
    before, after = at_home(), at_home()
    assert not after.has_more_than(before)
    before.hear(route(priority=50))
    assert not after.has_more_than(before)
    after.hear(route(via="10.0.0.1", priority=1))
    assert after.has_more_than(before)


def test_a_datagram_is_read_message_by_message() -> None:
    said = [link(), Message(99, 0, b"odd"), route()]
    assert list(messages(datagram(*said))) == said


def test_a_datagram_that_is_cut_off_gives_what_is_whole() -> None:
    whole = datagram(link(), route())
    assert list(messages(whole[:-1])) == [link()]
    assert list(messages(whole[:7])) == []


@given(st.binary(max_size=200), st.sampled_from([16, 17, 20, 21, 24, 25]))
def test_bytes_without_sense_are_no_error(body: bytes, kind: int) -> None:
    assert at_home().hear(Message(kind, 0, body)) in Told
    list(messages(body))
