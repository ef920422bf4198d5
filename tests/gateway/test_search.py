"""Finding tools: words, stems, spelling, and an index that follows the catalog."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcpproxy.gateway.catalog import Catalog
from mcpproxy.gateway.search.index import ToolIndex
from mcpproxy.gateway.search.spelling import MAX_NEAR, Spelling
from mcpproxy.gateway.search.synonyms import GROUPS_OF
from mcpproxy.gateway.search.words import stem, words
from mcpproxy.gateway.tools import Tool, read_tool
from mcpproxy.gateway.wire import jsonrpc


def a_tool(name: str, description: str = "", **fields: object) -> Tool:
    made = read_tool(
        jsonrpc.raw({"name": name, "description": description, "inputSchema": {}, **fields})
    )
    assert isinstance(made, Tool), made
    return made


class Shelf:
    """A catalog with its index."""

    def __init__(self) -> None:
        self.catalog, self.index = Catalog(), ToolIndex()

    def put(self, server: str, *tools: Tool) -> None:
        self.catalog.replace(server, tools)
        self.index.replace(server, self.catalog.of(server))

    def found(self, query: str, limit: int = 5) -> list[str]:
        self.index.settle_now()
        return [entry.id for entry, _ in self.index.search(query, limit)]


def a_shelf(**tools: str) -> Shelf:
    shelf = Shelf()
    shelf.put("s", *(a_tool(name, text) for name, text in tools.items()))
    return shelf


# --- words ------------------------------------------------------------------------------------


def test_names_come_apart_into_words_and_brands_stay_whole_too() -> None:
    assert words("createMyIssue_v2 HTTPServer-now GitHub") == [
        "create", "my", "issue", "v2", "http", "server", "httpserver", "now", "git", "hub",
        "github",
    ]  # fmt: skip
    assert words("検索する") == ["検索", "索す", "する"]
    assert words("x" * 41) == []


@pytest.mark.parametrize(
    "family",
    [
        "create creates created creating creation",
        "directory directories",
        "commit commits committed committing",
        "translate translated translating translation",
        "install installs installed installing installation",
        "deploy deployed deployment deployments",
        "file files",
        "get getting gets",
        "box boxes",
        "delete deleted deletion",
        "navigate navigation navigating",
        "manage manages manager",
    ],
)
def test_the_forms_of_a_word_have_one_stem(family: str) -> None:
    assert len({stem(word) for word in family.split()}) == 1, [stem(w) for w in family.split()]


@pytest.mark.parametrize("pair", ["file fill", "string str", "speed spe", "user us", "order ord"])
def test_different_words_keep_different_stems(pair: str) -> None:
    one, other = pair.split()
    assert stem(one) != stem(other)


@given(st.text(max_size=60))
def test_every_word_has_a_stem(text: str) -> None:
    assert all(stem(word) for word in words(text))


def test_synonyms_are_found_under_their_stems() -> None:
    assert set(GROUPS_OF[stem("tickets")]) & set(GROUPS_OF[stem("issues")])
    assert set(GROUPS_OF[stem("deleting")]) & set(GROUPS_OF[stem("remove")])


# --- spelling ---------------------------------------------------------------------------------


def test_a_misspelled_word_is_found_by_its_letters() -> None:
    known = Spelling(["repository", "report", "message", "postgres", "auth"])
    assert known.near("repositry") == ["repository"]
    assert known.near("mesasge") == ["message"]
    assert known.near("messag") == ["message"]
    assert known.near("postgresql") == ["postgres"]
    assert known.near("zebra") == []


@given(st.lists(st.text("abcé", min_size=1, max_size=9)), st.text("abcé", max_size=9))
def test_what_is_near_is_known_and_bounded(known: list[str], word: str) -> None:
    near = Spelling(known).near(word)
    assert set(near) <= set(known)
    assert len(near) <= MAX_NEAR


# --- the index --------------------------------------------------------------------------------


def test_inflected_words_and_split_names_are_found() -> None:
    shelf = a_shelf(
        createIssue="Open a new ticket", list_files="Shows a directory", weather="Forecasts"
    )
    assert shelf.found("creating issues")[0] == "s:createIssue"
    assert shelf.found("file listing")[0] == "s:list_files"
    assert shelf.found("forecast")[0] == "s:weather"


def test_synonyms_and_phrases_are_found() -> None:
    shelf = a_shelf(create_merge_request="", list_issues="", remove_file="", get_time="")
    assert shelf.found("open a PR")[0] == "s:create_merge_request"
    assert shelf.found("new pull request")[0] == "s:create_merge_request"
    assert shelf.found("show tickets")[0] == "s:list_issues"
    assert shelf.found("erase a document")[0] == "s:remove_file"


def test_all_words_come_before_some_of_them() -> None:
    shelf = a_shelf(read_file="", read_mail="", delete_file="")
    assert shelf.found("read file")[0] == "s:read_file"
    assert set(shelf.found("read file")) == {"s:read_file", "s:read_mail", "s:delete_file"}


def test_who_asks_a_question_is_not_shown_first_what_changes_things() -> None:
    shelf = a_shelf(update_weather="The weather of a town", get_weather="The weather of a town")
    assert shelf.found("what is the weather")[0] == "s:get_weather"
    assert shelf.found("set the weather")[0] == "s:update_weather"


def test_misspelled_and_shortened_words_and_words_run_together_are_found() -> None:
    shelf = a_shelf(list_repositories="", knowledge="", filesystem="", web_page="")
    assert shelf.found("repositry")[0] == "s:list_repositories"
    assert shelf.found("repositor")[0] == "s:list_repositories"
    assert shelf.found("file system")[0] == "s:filesystem"


def test_servers_parameters_and_their_descriptions_are_searched() -> None:
    shelf = Shelf()
    properties = {
        "latitude": {},
        "unit": {"enum": ["celsius", "kelvin"], "description": "How warmth is written"},
        "odd": True,
    }
    shelf.put("meteo", a_tool("t", inputSchema={"type": "object", "properties": properties}))
    shelf.put("other", a_tool("u"))
    for query in ("latitude", "kelvin", "warmth", "meteo"):
        assert shelf.found(query) == ["meteo:t"], query


def test_what_is_gone_or_changed_is_not_found_by_what_it_was() -> None:
    shelf = a_shelf(one="alpha", two="beta")
    assert shelf.found("alpha") == ["s:one"]
    shelf.put("s", a_tool("one", "gamma"), a_tool("two", "beta"))
    assert shelf.found("alpha") == []
    assert shelf.found("gamma") == ["s:one"]
    shelf.put("s")
    assert shelf.found("gamma beta") == []
    assert len(shelf.index) == 0


def test_an_index_that_changes_often_does_not_grow() -> None:
    shelf = Shelf()
    for round_ in range(40):
        shelf.put("s", *(a_tool(f"t{n}", f"round{round_}") for n in range(20)))
        shelf.index.settle_now()
    assert sorted(shelf.found("round39", 100)) == sorted(f"s:t{n}" for n in range(20))
    assert shelf.index.slots < 500


def test_a_caller_finds_only_what_is_allowed_however_much_is_better() -> None:
    shelf = Shelf()
    shelf.put("s", *(a_tool(f"read_file_{n}", "Read a file") for n in range(100)), a_tool("files"))
    shelf.index.settle_now()
    found = shelf.index.search("read file", 3, lambda entry: entry.tool.name == "files")
    assert [entry.id for entry, _ in found] == ["s:files"]


def test_results_are_the_same_whatever_came_first() -> None:
    tools = [a_tool(f"read_{name}", "Read it") for name in ("a", "b", "c", "d")]
    one, other = Shelf(), Shelf()
    one.put("s", *tools)
    other.put("s", *reversed(tools))
    assert one.found("read it") == other.found("read it")


@given(st.text(max_size=300), st.integers(-1, 5))
def test_no_query_breaks_the_search(query: str, limit: int) -> None:
    shelf = a_shelf(one="NEAR AND OR NOT", two='quote " star *')
    assert len(shelf.found(query, limit)) <= max(limit, 0)


@given(st.recursive(st.none() | st.text(max_size=5), lambda some: st.lists(some, max_size=3)))
def test_no_schema_breaks_the_index(odd: object) -> None:
    shelf = Shelf()
    schema = {"type": "object", "properties": {"a": {"enum": odd, "description": odd}, "b": odd}}
    shelf.put("s", a_tool("findable", inputSchema=schema))
    assert shelf.found("findable") == ["s:findable"]


@pytest.mark.anyio
async def test_others_run_while_many_tools_are_indexed() -> None:
    shelf = Shelf()
    shelf.put("s", *(a_tool(f"read_file_{n}", "Read a file") for n in range(2000)))
    turns = 0

    async def count() -> None:
        nonlocal turns
        while len(shelf.index) < 2000:
            turns += 1
            await asyncio.sleep(0)

    await asyncio.gather(count(), shelf.index.settle())
    assert turns > 20
    shelf.index.close()


def test_who_may_see_little_finds_it_by_common_words_too() -> None:
    shelf = Shelf()
    shelf.put("many", *(a_tool(f"list_things_{n}", "List rare things") for n in range(7000)))
    shelf.put("mine", a_tool("list_mine", "List what is mine"))
    shelf.put("rare", a_tool("seldom", "Seldom"))
    shelf.index.settle_now()
    found = shelf.index.search("list seldom", 5, lambda entry: entry.server == "mine")
    assert [entry.id for entry, _ in found] == ["mine:list_mine"]


def test_only_so_many_unknown_words_are_spelled_anew() -> None:
    shelf = a_shelf(message="")
    noise = " ".join(f"q{letter}qq" for letter in "abcdefghijkl")
    assert shelf.found(f"mesage {noise}") == ["s:message"]
    assert shelf.found(f"{noise} mesage") == []
