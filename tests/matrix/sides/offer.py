"""What the matrix's servers in Python offer: the same for both generations of the SDK.

Law: nothing of an SDK is known here. A result is the members of its JSON, what a tool needs of its
client it asks of its `Side`, and `node/offer.mjs` offers the same in TypeScript.
"""

import asyncio
import base64
import itertools
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

Members = dict[str, Any]

TEXT: Final[Members] = {"type": "string"}
ITEMS: Final = 25
PAGE: Final = 10
WATCHED: Final = "matrix://watched"
PIXEL: Final = base64.b64encode(bytes(range(64))).decode()
LUCK: Final = -32050
BIG: Final = 5 * 1024 * 1024
STEP: Final = 0.3
"""Seconds: the TypeScript SDK drops the progress that comes at once with the answer."""
URL_QUESTION: Final[Members] = {
    "mode": "url",
    "message": "accept",
    "url": "https://example.com/go?a=1&b=2",
    "elicitationId": "elicitation-7",
}


class Side(Protocol):
    """One request of a client, as far as a tool meddles with it."""

    @property
    def version(self) -> str:
        """The revision of the protocol that it came in."""
        ...

    async def ask(self, method: str, params: Members) -> Members: ...
    async def progress(self, done: int, total: int, message: str) -> None: ...
    async def log(self, level: str, data: str) -> None: ...
    async def tools_changed(self) -> None: ...
    async def updated(self, uri: str) -> None: ...


class RefusedError(Exception):
    """A JSON-RPC error of the server's own."""

    def __init__(self, code: int, message: str, data: Any = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data


class World:
    """What one server remembers between requests."""

    def __init__(self) -> None:
        self.grown = False
        self.waiting: set[str] = set()
        self.cancelled: set[str] = set()
        self.welcome: set[str] = set()
        self.forget: Callable[[], None] = lambda: None
        """Loses every session, each in the way of its transport."""


Handler = Callable[[Side, World, Members, Members], Awaitable[Members]]


def words(text: str, **more: Any) -> Members:
    return {"content": [{"type": "text", "text": text}], **more}


# --- tools ----------------------------------------------------------------------------------------


async def echo(side: Side, world: World, arguments: Members, meta: Members) -> Members:
    said = arguments["value"]
    marked = {"com.example/heard": meta.get("com.example/said", "nothing")}
    return {**words(str(said)), "structuredContent": {"value": said}, "_meta": marked}


async def strange(side: Side, world: World, arguments: Members, meta: Members) -> Members:
    block = {"type": "text", "text": "strange", "x-block": {"deep": [1, None, "ö"]}}
    return {"content": [block], "x-result": {"kept": True}}


async def spoken(side: Side, world: World, arguments: Members, meta: Members) -> Members:
    return words(side.version)


async def fail(side: Side, world: World, arguments: Members, meta: Members) -> Members:
    return words("it did not work", isError=True)


async def refuse(side: Side, world: World, arguments: Members, meta: Members) -> Members:
    raise RefusedError(LUCK, "no luck today", {"why": "matrix"})


async def steps(side: Side, world: World, arguments: Members, meta: Members) -> Members:
    for done in (1, 2, 3):
        await side.progress(done, 3, f"step {done}")
    await asyncio.sleep(STEP)
    return words("done")


async def chat(side: Side, world: World, arguments: Members, meta: Members) -> Members:
    await side.log("debug", "too quiet to be heard")
    await side.log("warning", "loud enough")
    return words("logged")


async def wait(side: Side, world: World, arguments: Members, meta: Members) -> Members:
    """Waits until it is cancelled; `cancelled` tells that it was."""
    world.waiting.add(arguments["id"])
    try:
        await asyncio.get_running_loop().create_future()
    except asyncio.CancelledError:
        world.cancelled.add(arguments["id"])
        raise
    return words("never")


async def waiting(side: Side, world: World, arguments: Members, meta: Members) -> Members:
    return words("yes" if arguments["id"] in world.waiting else "no")


async def cancelled(side: Side, world: World, arguments: Members, meta: Members) -> Members:
    return words("yes" if arguments["id"] in world.cancelled else "no")


async def sample(side: Side, world: World, arguments: Members, meta: Members) -> Members:
    said = {"type": "text", "text": arguments["prompt"]}
    asked = {"messages": [{"role": "user", "content": said}], "maxTokens": 20}
    heard = await side.ask("sampling/createMessage", asked)
    return words(f"{heard['model']}: {heard['content']['text']}")


async def elicit(side: Side, world: World, arguments: Members, meta: Members) -> Members:
    schema = {
        "type": "object",
        "properties": {"name": TEXT, "age": {"type": "integer"}},
        "required": ["name"],
    }
    asked = {"mode": "form", "message": arguments["message"], "requestedSchema": schema}
    heard = await side.ask("elicitation/create", asked)
    content = heard.get("content") or {}
    return words(f"{heard['action']} {content.get('name')} {content.get('age')}")


async def elicit_url(side: Side, world: World, arguments: Members, meta: Members) -> Members:
    heard = await side.ask("elicitation/create", URL_QUESTION)
    return words(heard["action"])


async def elicit_twice(side: Side, world: World, arguments: Members, meta: Members) -> Members:
    """One question after the other: the second is about the first one's answer."""
    schema = {"type": "object", "properties": {"name": TEXT, "age": {"type": "integer"}}}
    asked = {"mode": "form", "message": "accept", "requestedSchema": schema}
    first = await side.ask("elicitation/create", asked)
    said = {"type": "text", "text": first["content"]["name"]}
    second = {"messages": [{"role": "user", "content": said}], "maxTokens": 20}
    heard = await side.ask("sampling/createMessage", second)
    return words(heard["content"]["text"])


async def url_required(side: Side, world: World, arguments: Members, meta: Members) -> Members:
    """Refuses until the person was there: the second call is answered."""
    number = arguments["id"]
    if number in world.welcome:
        return words("welcome")
    world.welcome.add(number)
    if side.version >= "2026":
        await side.ask("elicitation/create", URL_QUESTION)
    raise RefusedError(-32042, "Go there first", {"elicitations": [URL_QUESTION]})


async def roots(side: Side, world: World, arguments: Members, meta: Members) -> Members:
    heard = await side.ask("roots/list", {})
    return words(" ".join(root["uri"] for root in heard["roots"]))


async def touch(side: Side, world: World, arguments: Members, meta: Members) -> Members:
    await side.updated(WATCHED)
    return words("touched")


async def grow(side: Side, world: World, arguments: Members, meta: Members) -> Members:
    world.grown = not world.grown
    await side.tools_changed()
    return words("grown" if world.grown else "shrunk")


async def big(side: Side, world: World, arguments: Members, meta: Members) -> Members:
    return words("ä" + "x" * (BIG - 1))


async def forget(side: Side, world: World, arguments: Members, meta: Members) -> Members:
    world.forget()
    return words("who are you?")


def tool(name: str, handler: Handler, *arguments: str, **more: Any) -> tuple[Members, Handler]:
    schema: Members = {"type": "object", "properties": dict.fromkeys(arguments, TEXT)}
    if arguments:
        schema["required"] = [*arguments]
    listed = {"name": name, "description": f"Does {name}", "inputSchema": schema, **more}
    return listed, handler


ECHOED: Final[Members] = {
    "type": "object",
    "properties": {"value": {}},
    "required": ["value"],
}
ALL: Final = (
    tool(
        "echo",
        echo,
        title="Écho",
        inputSchema=ECHOED,
        outputSchema=ECHOED,
        annotations={"readOnlyHint": True, "title": "Says it again"},
        _meta={"com.example/listed": {"by": "matrix"}},
    ),
    tool("strange", strange),
    tool("spoken", spoken),
    tool("fail", fail),
    tool("refuse", refuse),
    tool("steps", steps),
    tool("chat", chat),
    tool("wait", wait, "id"),
    tool("waiting", waiting, "id"),
    tool("cancelled", cancelled, "id"),
    tool("sample", sample, "prompt"),
    tool("elicit", elicit, "message"),
    tool("elicit_url", elicit_url),
    tool("elicit_twice", elicit_twice),
    tool("url_required", url_required, "id"),
    tool("roots", roots),
    tool("touch", touch),
    tool("grow", grow),
    tool("big", big),
    tool("forget", forget),
)
EXTRA: Final = tool("extra", spoken)[0]
HANDLERS: Final[Mapping[str, Handler]] = {listed["name"]: handler for listed, handler in ALL}


def tools(world: World) -> Members:
    return {"tools": [listed for listed, _ in ALL] + ([EXTRA] if world.grown else [])}


async def call(
    side: Side, world: World, name: str, arguments: Members | None, meta: Members | None
) -> Members:
    handler = HANDLERS.get(name)
    if handler is None:
        raise RefusedError(-32602, f"Unknown tool: {name}")
    return await handler(side, world, arguments or {}, meta or {})


# --- resources ------------------------------------------------------------------------------------

RESOURCES: Final[tuple[Members, ...]] = (
    {"uri": WATCHED, "name": "watched", "mimeType": "text/plain", "_meta": {"com.example/n": 1}},
    {"uri": "matrix://pixel", "name": "pixel", "mimeType": "application/octet-stream"},
    *({"uri": f"matrix://items/{n}", "name": f"item {n}"} for n in range(ITEMS)),
)


def resources(cursor: str | None) -> Members:
    """One page: there are three."""
    start = int(cursor.removeprefix("from-")) if cursor else 0
    found: Members = {"resources": list(itertools.islice(RESOURCES, start, start + PAGE))}
    if start + PAGE < len(RESOURCES):
        found["nextCursor"] = f"from-{start + PAGE}"
    return found


def templates() -> Members:
    one = {"uriTemplate": "matrix://greet/{name}", "name": "greet", "mimeType": "text/plain"}
    return {"resourceTemplates": [one]}


def read(uri: str, not_found: int) -> Members:
    if uri == "matrix://pixel":
        mime = "application/octet-stream"
        return {"contents": [{"uri": uri, "mimeType": mime, "blob": PIXEL}]}
    if uri.startswith("matrix://greet/"):
        name = uri.removeprefix("matrix://greet/")
        return {"contents": [{"uri": uri, "mimeType": "text/plain", "text": f"Hello {name}"}]}
    if any(each["uri"] == uri for each in RESOURCES):
        marked = {"com.example/read": "yes"}
        return {"contents": [{"uri": uri, "text": f"Words of {uri}", "_meta": marked}]}
    raise RefusedError(not_found, "Resource not found", {"uri": uri})


# --- prompts and completion -----------------------------------------------------------------------


def prompts() -> Members:
    arguments = [{"name": "whom", "description": "Who is greeted", "required": True}]
    return {"prompts": [{"name": "greeting", "title": "Greeting", "arguments": arguments}]}


def prompt(name: str, arguments: Mapping[str, str] | None) -> Members:
    if name != "greeting":
        raise RefusedError(-32602, f"Unknown prompt: {name}")
    said = {"type": "text", "text": f"Greet {(arguments or {}).get('whom')}"}
    return {"description": "A greeting", "messages": [{"role": "user", "content": said}]}


def complete(ref: Members, name: str, value: str) -> Members:
    kind = ref.get("name") or ref.get("uri")
    values = [f"{kind} {name} {value}{ending}" for ending in ("a", "b")]
    return {"completion": {"values": values, "total": 2, "hasMore": False}}
