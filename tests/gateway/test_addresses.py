"""Names and URIs of the aggregate: legal, different, always the same, and they lead back."""

import random
import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw
from pydantic import AnyUrl

from mcpproxy.gateway.addresses import address, address_head, split_address
from mcpproxy.gateway.catalog import Catalog, exposed_name, prompt_shelf, resource_shelf
from mcpproxy.gateway.items import Item, read_prompt, read_resource
from mcpproxy.gateway.mentions import Mentions
from mcpproxy.gateway.templates import matches
from mcpproxy.gateway.tools import Tool, read_tool
from mcpproxy.gateway.wire import jsonrpc

SERVERS = st.from_regex(r"[a-z0-9][a-z0-9_-]{0,62}", fullmatch=True)
URIS = st.one_of(
    st.from_regex(r"[a-z][a-z0-9+.-]{0,8}:[ -~]{0,40}", fullmatch=True),
    st.text(min_size=1, max_size=60),
)
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.ASCII)


def random_names(count: int) -> list[tuple[str, str]]:
    """Pairs of server and own name that collide in many ways, always the same ones."""
    dice = random.Random(24)
    letters = "ab_-"
    pairs: dict[tuple[str, str], None] = {}
    while len(pairs) < count:
        server = dice.choice("abc123") + "".join(dice.choices(letters, k=dice.randint(0, 6)))
        name = "".join(dice.choices(letters + "._/:é ", k=dice.randint(1, 80)))
        pairs[server, name] = None
    return list(pairs)


def an_item(uri: str) -> Item:
    made = read_resource(jsonrpc.raw({"uri": uri, "name": "n"}))
    assert isinstance(made, Item), made
    return made


# --- ten thousand names -------------------------------------------------------------------------


def test_ten_thousand_tool_and_prompt_names_are_unique_legal_and_stable() -> None:
    pairs = random_names(10_000)
    names = {exposed_name(*pair): pair for pair in pairs}
    assert len(names) == len(pairs)
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name) for name in names)
    assert {exposed_name(*pair): pair for pair in reversed(pairs)} == names


def test_ten_thousand_addresses_are_unique_legal_stable_and_lead_back() -> None:
    pairs = random_names(10_000)
    shown = {address(*pair): pair for pair in pairs}
    assert len(shown) == len(pairs)
    assert all(SCHEME.match(each) for each in shown)
    heads = {address_head(server): server for server, _ in pairs}
    assert len(heads) == len({server for server, _ in pairs})
    for each, (server, uri) in shown.items():
        split = split_address(each)
        assert split is not None
        assert (heads[split[0]], split[1]) == (server, uri)


@given(SERVERS, URIS)
def test_any_uri_of_any_server_leads_back(server: str, uri: str) -> None:
    shown = address(server, uri)
    assert SCHEME.match(shown)
    assert split_address(shown) == (address_head(server), uri)


@given(SERVERS, SERVERS)
def test_two_servers_never_share_a_head(one: str, other: str) -> None:
    assert (address_head(one) == address_head(other)) is (one == other)


@pytest.mark.parametrize(
    ("server", "uri", "shown"),
    [
        ("docs", "file:///notes.txt", "docs+file:///notes.txt"),
        ("docs", "git+https://host/x", "docs+git+https://host/x"),
        ("docs", "readme", "docs+:readme"),
        ("docs", "file:///{path}", "docs+file:///{path}"),
        ("docs", "{+uri}", "docs+:{+uri}"),
    ],
)
def test_an_address_says_the_server_before_the_scheme(server: str, uri: str, shown: str) -> None:
    assert address(server, uri) == shown


def test_an_address_survives_a_client_that_reads_it_as_a_url() -> None:
    for uri in ("memo://greeting", "file:///a/b.txt", "https://example.org/x?y=z#w", "readme"):
        shown = address("my_docs", uri)
        split = split_address(str(AnyUrl(shown)))
        assert split == (address_head("my_docs"), uri)


@pytest.mark.parametrize("uri", ["", "readme", "file:///x", "a/b+c:d", "+x:y"])
def test_what_names_no_server_is_no_address(uri: str) -> None:
    split = split_address(uri)
    assert split is None or address_head("docs") != split[0]


def test_an_expanded_template_leads_to_what_the_server_would_expand() -> None:
    shown = address("docs", "file:///{path}").replace("{path}", "a.txt")
    assert split_address(shown) == ("docs", "file:///a.txt")
    free = address("docs", "{+uri}").replace("{+uri}", "file:///a.txt")
    assert split_address(free) == ("docs", "file:///a.txt")


# --- shelves ------------------------------------------------------------------------------------


def test_what_is_shown_does_not_depend_on_what_else_there_is() -> None:
    alone, among = resource_shelf(), resource_shelf()
    alone.replace("b", (an_item("x://1"),))
    for server in ("a", "b", "c"):
        among.replace(server, (an_item("x://1"),))
    assert alone.of("b") == among.of("b")
    assert among.find("b+x://1") == among.of("b")[0]
    assert {entry.server for entry in among.called("x://1")} == {"a", "b", "c"}
    among.replace("a", ())
    assert {entry.server for entry in among.called("x://1")} == {"b", "c"}


def test_a_shelf_changes_only_when_its_items_do() -> None:
    shelf = prompt_shelf()
    prompt = read_prompt(Raw(b'{"name":"p","unknown":1}'))
    assert isinstance(prompt, Item)
    assert shelf.replace("s", (prompt,))
    assert not shelf.replace("s", (prompt,))
    assert shelf.revision == 1
    shown = shelf.find("s__p")
    assert shown is not None
    assert shown.definition == b'{"name":"s__p","unknown":1}'
    assert shelf.replace("s", ())
    assert shelf.find("s__p") is None
    assert len(shelf) == 0


def test_tools_and_shelves_name_alike() -> None:
    catalog = Catalog()
    tool = read_tool(Raw(b'{"name":"p","inputSchema":{}}'))
    assert isinstance(tool, Tool)
    catalog.replace("s", (tool,))
    assert [entry.name for entry in catalog] == ["s__p"]


# --- templates ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("note://{id}", "note://7"),
        ("note://{id}", "note://"),
        ("file:///{+path}", "file:///a/b/c"),
        ("file://{/path*}", "file:///a/b"),
        ("x://{a}/{b}", "x://1/2"),
        ("search://q{?text,limit}", "search://q?text=a/b&limit=3"),
        ("search://q{?text}", "search://q"),
        ("{+uri}", "anything:at/all"),
        ("x://plain", "x://plain"),
    ],
)
def test_a_uri_made_from_a_template_fits_it(template: str, uri: str) -> None:
    assert matches(template, uri)


@pytest.mark.parametrize(
    ("template", "uri"),
    [
        ("note://{id}", "note://7/8"),
        ("note://{id}", "memo://7"),
        ("x://{a}/{b}", "x://1"),
        ("x://{a}/end", "x://1/end/more"),
        ("x://plain", "x://plainer"),
        ("", "x"),
    ],
)
def test_another_uri_does_not_fit(template: str, uri: str) -> None:
    assert not matches(template, uri)


def test_a_template_that_was_made_to_be_slow_is_not() -> None:
    begun = time.monotonic()
    for gap in ("{a}", "{+a}", "{a}a", "{+a}a", "{a}{+b}"):
        matches(gap * 2000 + "!", "x" * 2000)
        matches(gap * 30 + "!", "a" * 2000)
    assert time.monotonic() - begun < 2


# --- mentions -----------------------------------------------------------------------------------


def a_result(**members: object) -> dict[str, Raw]:
    return jsonrpc.result(jsonrpc.raw(members))


LINK = {"type": "resource_link", "uri": "x://1", "name": "one"}
EMBEDDED = {"type": "resource", "resource": {"uri": "x://2", "text": "two"}}


def test_links_of_results_and_prompts_lead_to_who_gave_them_for_that_caller_alone() -> None:
    mentions = Mentions()
    mentions.heard("me", "a", a_result(content=[LINK, EMBEDDED]))
    mentions.heard("me", "b", a_result(messages=[{"role": "user", "content": EMBEDDED}]))
    mentions.heard("me", "c", a_result(messages=[{"role": "user", "content": [LINK]}]))
    assert set(mentions.of("me", "x://1")) == {"a", "c"}
    assert set(mentions.of("me", "x://2")) == {"a", "b"}
    assert mentions.of("you", "x://1") == ()


@pytest.mark.parametrize(
    "result", [b'{"uri":', b'{"content":"uri"}', b'{"content":[{"uri":7}]}', b'["uri"]', b'"uri"']
)
def test_a_result_that_is_none_mentions_nothing(result: bytes) -> None:
    mentions = Mentions()
    mentions.heard("me", "a", {"result": Raw(result)})
    mentions.heard("me", "a", {"error": Raw(b"{}")})
    assert mentions.of("me", "uri") == ()


def test_old_mentions_are_forgotten() -> None:
    mentions = Mentions()
    for number in range(100):
        links = [{**LINK, "uri": f"x://{number}/{each}"} for each in range(256)]
        mentions.heard("me", "a", a_result(content=links))
    assert mentions.of("me", "x://0/0") == ()
    assert mentions.of("me", "x://99/255") == ("a",)
