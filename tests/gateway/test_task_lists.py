"""The tasks of several servers in one list, when one of them does not say what it has."""

from typing import Any

import pytest

from tests.gateway.test_aggregate_tasks import asked, client, servers, world

pytestmark = pytest.mark.anyio


async def test_the_lists_of_all_servers_are_one_and_go_on_where_each_of_them_does() -> None:
    here = servers()
    here.one.pages = [["a"], ["b"], ["c"]]
    here.two.pages = [["a"], ["d"]]
    async with world(here) as (site, _), client(site) as peer:
        pages: list[Any] = []
        cursor: dict[str, Any] = {}
        while True:
            page = (await asked(peer, "tasks/list", **cursor))["result"]
            pages.append([each["taskId"] for each in page["tasks"]])
            if "nextCursor" not in page:
                break
            cursor = {"cursor": page["nextCursor"]}
        assert pages == [["one+a", "two+a"], ["one+b", "two+d"], ["one+c"]]
        for bad in ("x", "e30=", 7, page.get("cursor", "")):
            assert (await asked(peer, "tasks/list", cursor=bad))["error"]["code"] == -32602
        here.two.pages = [["a"]]
        assert (await asked(peer, "tasks/list", **cursor))["result"]["tasks"]


async def test_a_server_that_cannot_list_costs_its_own_tasks_only() -> None:
    here = servers()
    here.one.pages = []
    async with world(here) as (site, _), client(site) as peer:
        listed = (await asked(peer, "tasks/list"))["result"]["tasks"]
        assert [each["taskId"] for each in listed] == ["two+t+1"]


async def test_a_server_that_cannot_list_now_is_asked_again_where_it_stopped() -> None:
    here = servers()
    here.one.pages, here.two.pages = [["a"], ["b"]], [["c"], ["d"], ["e"]]
    async with world(here) as (site, _), client(site) as peer:

        async def page(cursor: str) -> tuple[list[str], str]:
            found = (await asked(peer, "tasks/list", cursor=cursor))["result"]
            return [each["taskId"] for each in found["tasks"]], found.get("nextCursor", "")

        first = (await asked(peer, "tasks/list"))["result"]["nextCursor"]
        whole, here.one.pages = here.one.pages, []
        second, cursor = await page(first)
        assert second == ["two+d"]
        third, cursor = await page(cursor)
        assert third == ["two+e"]
        error = (await asked(peer, "tasks/list", cursor=cursor))["error"]
        assert error["code"] == -32000
        assert "500" in error["message"]
        assert error["message"].endswith("where it stopped.")
        here.one.pages = whole
        assert await page(cursor) == (["one+b"], "")


async def test_tasks_of_a_server_that_is_away_are_not_missing_silently() -> None:
    here = servers()
    async with world(here) as (site, _), client(site) as peer:
        here.one.pages, listed = [], here.one.pages
        first = (await asked(peer, "tasks/list"))["result"]
        assert [each["taskId"] for each in first["tasks"]] == ["two+t+1"]
        here.one.pages = listed
        await site.gateway.restart("one")
        rest = (await asked(peer, "tasks/list", cursor=first["nextCursor"]))["result"]
        assert [each["taskId"] for each in rest["tasks"]] == ["one+t+1"]
        assert "nextCursor" not in rest
