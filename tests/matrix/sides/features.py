"""The features that a client of the matrix tries, one function each: what the Python clients share.

Law: nothing of an SDK is known here, a client is a `Talker`; `node/features.mjs` says the same in
TypeScript. A function returns when the feature works and raises otherwise.
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from tests.matrix.sides.talking import Event, Members, RefusedError, Talker, Target

PATIENCE: Final = 20.0  # seconds for one feature
UNICODE: Final = 'Ünïcödé 漢字 🦆👩‍👩‍👧 שלום e\u0301 \u2028 \\ " \t'
CALLS: Final = 20
PIXEL: Final = "25134bdc72c5"  # the beginning of the digest of what it is in base64


def same(found: object, wanted: object) -> None:
    assert found == wanted, f"found {str(found)[:300]!r}, wanted {str(wanted)[:300]!r}"


def text(result: Members) -> str:
    assert not result.get("isError"), f"an error result: {result}"
    found: str = result["content"][0]["text"]
    return found


async def everything(t: Talker, what: str, member: str) -> list[Members]:
    """All pages of a list."""
    found: list[Members] = []
    cursor: str | None = None
    for _ in range(50):
        page = await t.listed(what, cursor)
        found += page[member]
        cursor = page.get("nextCursor")
        if not cursor:
            return found
    raise AssertionError("the pages do not end")


# --- tools ----------------------------------------------------------------------------------------


async def era(t: Talker, at: Target) -> None:
    same(text(await t.call(at.tool("spoken"), {})), at.version)


async def tools_list(t: Talker, at: Target) -> None:
    tools = {tool["name"]: tool for tool in await everything(t, "tools", "tools")}
    echo = tools[at.tool("echo")]
    same(echo["title"], "Écho")
    same(echo["annotations"], {"readOnlyHint": True, "title": "Says it again"})
    same(echo["outputSchema"]["required"], ["value"])
    same(echo["inputSchema"]["properties"], {"value": {}})
    same(echo["_meta"], {"com.example/listed": {"by": "matrix"}})
    assert at.tool("forget") in tools, sorted(tools)


async def tools_call(t: Talker, at: Target) -> None:
    value = {"a": [1, 2.5, None, True], "b": {"c": ""}}
    found = await t.call(at.tool("echo"), {"value": value}, meta={"com.example/said": "ping"})
    same(found["structuredContent"], {"value": value})
    same(found["_meta"]["com.example/heard"], "ping")


async def unknown_fields(t: Talker, at: Target) -> None:
    same((await t.call(at.tool("strange"), {})).get("x-result"), {"kept": True})


async def unknown_deep(t: Talker, at: Target) -> None:
    block = (await t.call(at.tool("strange"), {}))["content"][0]
    same(block.get("x-block"), {"deep": [1, None, "ö"]})


async def tool_error(t: Talker, at: Target) -> None:
    found = await t.call(at.tool("fail"), {})
    same((found["isError"], found["content"][0]["text"]), (True, "it did not work"))


async def refused(t: Talker, call: Awaitable[Members]) -> RefusedError:
    try:
        found = await call
    except RefusedError as error:
        return error
    raise AssertionError(f"answered instead of refused: {str(found)[:300]}")


async def protocol_error(t: Talker, at: Target) -> None:
    error = await refused(t, t.call(at.tool("refuse"), {}))
    same((error.code, error.data), (-32050, {"why": "matrix"}))
    assert "no luck today" in error.message, error.message


async def progress(t: Talker, at: Target) -> None:
    heard: list[tuple[float, float | None, str | None]] = []

    async def hear(done: float, total: float | None, message: str | None) -> None:
        heard.append((done, total, message))

    same(text(await t.call(at.tool("steps"), {}, progress=hear)), "done")
    await until(lambda: len(heard) == 3, lambda: f"heard {heard}")
    same(heard, [(n, 3, f"step {n}") for n in (1, 2, 3)])


async def logging(t: Talker, at: Target) -> None:
    await t.wants_logs("warning")
    t.logs.clear()
    same(text(await t.call(at.tool("chat"), {})), "logged")
    await until(lambda: bool(t.logs), lambda: "no log message came")
    same([(log["level"], log["data"]) for log in t.logs], [("warning", "loud enough")])
    assert "matrix" in t.logs[0]["logger"], t.logs


async def cancellation(t: Talker, at: Target) -> None:
    number = f"{at.name}-{id(t)}-{asyncio.get_running_loop().time()}"

    async def told(tool: str) -> None:
        said = "no"
        while said != "yes":
            await asyncio.sleep(0.05)
            said = text(await t.call(at.tool(tool), {"id": number}))

    await t.call_cancelled(at.tool("wait"), {"id": number}, lambda: told("waiting"))
    await told("cancelled")


async def big(t: Talker, at: Target) -> None:
    found = text(await t.call(at.tool("big"), {}))
    same((len(found), found[0], found[-1]), (5 * 1024 * 1024, "ä", "x"))


async def unicode(t: Talker, at: Target) -> None:
    found = await t.call(at.tool("echo"), {"value": UNICODE})
    same(text(found), UNICODE)
    same(found["structuredContent"]["value"], UNICODE)


async def concurrency(t: Talker, at: Target) -> None:
    calls = (t.call(at.tool("echo"), {"value": f"call {n}"}) for n in range(CALLS))
    same(
        [text(found) for found in await asyncio.gather(*calls)], [f"call {n}" for n in range(CALLS)]
    )


async def tools_changed(t: Talker, at: Target) -> None:
    async with t.watching(uris=[]) as events:
        grown = text(await t.call(at.tool("grow"), {})) == "grown"
        await heard(events, ("tools", ""))
        names = [tool["name"] for tool in await everything(t, "tools", "tools")]
        same(at.tool("extra") in names, grown)


async def forgotten(t: Talker, at: Target) -> None:
    """The next call works, or gets an error that says why; soon one works."""
    await t.call(at.tool("forget"), {})
    end = asyncio.get_running_loop().time() + PATIENCE / 2
    while True:
        try:
            found = await t.call(at.tool("echo"), {"value": "back"})
            if not found.get("isError"):
                return same(text(found), "back")
            said = found["content"][0]["text"]
        except RefusedError as error:
            said = error.message
        assert said.strip(), "an error without words"
        assert asyncio.get_running_loop().time() < end, f"still {said}"
        await asyncio.sleep(0.05)


# --- what a server asks ---------------------------------------------------------------------------


async def sampling(t: Talker, at: Target) -> None:
    same(text(await t.call(at.tool("sample"), {"prompt": "quack"})), "duck: quack!")


async def elicit_accept(t: Talker, at: Target) -> None:
    found = text(await t.call(at.tool("elicit"), {"message": "accept"}))
    same(found.replace("undefined", "None"), "accept Ada Ü 36")


async def elicit_decline(t: Talker, at: Target) -> None:
    found = text(await t.call(at.tool("elicit"), {"message": "decline"}))
    same(found.replace("undefined", "None"), "decline None None")


async def elicit_cancel(t: Talker, at: Target) -> None:
    found = text(await t.call(at.tool("elicit"), {"message": "cancel"}))
    same(found.replace("undefined", "None"), "cancel None None")


async def elicit_url(t: Talker, at: Target) -> None:
    same(text(await t.call(at.tool("elicit_url"), {})), "accept")


async def asked_twice(t: Talker, at: Target) -> None:
    same(text(await t.call(at.tool("elicit_twice"), {})), "Ada Ü!")


async def asked_at_once(t: Talker, at: Target) -> None:
    prompts = [f"quack {n}" for n in range(5)]
    calls = (t.call(at.tool("sample"), {"prompt": prompt}) for prompt in prompts)
    found = [text(each) for each in await asyncio.gather(*calls)]
    same(found, [f"duck: {prompt}!" for prompt in prompts])


async def url_required(t: Talker, at: Target) -> None:
    """A client of the old era sees the error and comes again, one of the new is asked."""
    number = f"{at.name}-{id(t)}-{asyncio.get_running_loop().time()}"
    if at.refused_first:
        error = await refused(t, t.call(at.tool("url_required"), {"id": number}))
        same(error.code, -32042)
        same(error.data["elicitations"][0]["url"], "https://example.com/go?a=1&b=2")
    same(text(await t.call(at.tool("url_required"), {"id": number})), "welcome")


async def roots(t: Talker, at: Target) -> None:
    same(text(await t.call(at.tool("roots"), {})), "file:///work/a file:///work/b")


# --- resources, prompts, completion ---------------------------------------------------------------


async def resources_list(t: Talker, at: Target) -> None:
    """Also that the pages come together: there are 27 resources, ten to a page."""
    found = {each["uri"]: each for each in await everything(t, "resources", "resources")}
    watched = found[at.uri("watched")]
    same((watched["mimeType"], watched["_meta"]), ("text/plain", {"com.example/n": 1}))
    mine = [uri for uri in found if uri.startswith(at.uri(""))]
    same(len(mine), 27)


async def pagination(t: Talker, at: Target) -> None:
    uris = [each["uri"] for each in await everything(t, "resources", "resources")]
    mine = [uri for uri in uris if uri.startswith(at.uri("items/"))]
    same(mine, [at.uri(f"items/{n}") for n in range(25)])


async def resources_read(t: Talker, at: Target) -> None:
    found = (await t.read(at.uri("watched")))["contents"][0]
    same((found["uri"], found["text"]), (at.uri("watched"), "Words of matrix://watched"))
    same(found["_meta"], {"com.example/read": "yes"})
    blob = (await t.read(at.uri("pixel")))["contents"][0]["blob"]
    same(hashlib.sha256(blob.encode()).hexdigest()[:12], PIXEL)


async def resource_missing(t: Talker, at: Target) -> None:
    error = await refused(t, t.read(at.uri("nowhere")))
    same(error.code, at.not_found)


async def templates(t: Talker, at: Target) -> None:
    found = await everything(t, "templates", "resourceTemplates")
    assert at.uri("greet/{name}") in [each["uriTemplate"] for each in found], found
    read = (await t.read(at.uri("greet/Ada")))["contents"][0]
    same((read["uri"], read["text"]), (at.uri("greet/Ada"), "Hello Ada"))


async def subscription(t: Talker, at: Target) -> None:
    async with t.watching(uris=[at.uri("watched")]) as events:
        await t.call(at.tool("touch"), {})
        await heard(events, ("updated", at.uri("watched")))


async def prompts(t: Talker, at: Target) -> None:
    found = {each["name"]: each for each in await everything(t, "prompts", "prompts")}
    same(found[at.tool("greeting")]["arguments"][0]["name"], "whom")
    got = await t.prompt(at.tool("greeting"), {"whom": "Ada Ü"})
    same(got["description"], "A greeting")
    same(got["messages"][0]["content"]["text"], "Greet Ada Ü")


async def completion(t: Talker, at: Target) -> None:
    by_prompt = {"type": "ref/prompt", "name": at.tool("greeting")}
    same(await t.complete(by_prompt, "whom", "x"), ["greeting whom xa", "greeting whom xb"])
    by_template = {"type": "ref/resource", "uri": at.uri("greet/{name}")}
    wanted = [f"matrix://greet/{{name}} name y{ending}" for ending in "ab"]
    same(await t.complete(by_template, "name", "y"), wanted)


FEATURES: Final[Mapping[str, Callable[[Talker, Target], Awaitable[None]]]] = {
    "era": era,
    "tools list": tools_list,
    "tools call": tools_call,
    "unknown fields": unknown_fields,
    "unknown fields in content": unknown_deep,
    "tool error": tool_error,
    "protocol error": protocol_error,
    "progress": progress,
    "logging": logging,
    "cancellation": cancellation,
    "big result": big,
    "unicode": unicode,
    "concurrency": concurrency,
    "sampling": sampling,
    "elicitation accepted": elicit_accept,
    "elicitation declined": elicit_decline,
    "elicitation cancelled": elicit_cancel,
    "elicitation by URL": elicit_url,
    "asked twice": asked_twice,
    "asked at once": asked_at_once,
    "URL required": url_required,
    "roots": roots,
    "resources list": resources_list,
    "pagination": pagination,
    "resources read": resources_read,
    "resource missing": resource_missing,
    "templates": templates,
    "subscription": subscription,
    "prompts": prompts,
    "completion": completion,
    "tools changed": tools_changed,
    "session forgotten": forgotten,
}


async def until(holds: Callable[[], bool], what: Callable[[], str]) -> None:
    end = asyncio.get_running_loop().time() + 5
    while not holds():
        assert asyncio.get_running_loop().time() < end, what()
        await asyncio.sleep(0.01)


async def heard(events: "asyncio.Queue[Event]", wanted: Event) -> None:
    """Wait for this event; others, of other tests' doings, may come before it."""
    seen: list[Event] = []
    try:
        async with asyncio.timeout(PATIENCE / 2):
            while wanted not in seen:
                seen.append(await events.get())
    except TimeoutError:
        raise AssertionError(f"no {wanted}, only {seen}") from None
