"""What a person decides about tools: which are switched on, and which definitions are approved."""

import asyncio
import difflib
from typing import Annotated, Final

import msgspec

from mcpproxy.core.approvals import HeldTool
from mcpproxy.gateway.definitions import readable
from mcpproxy.web.rest.endpoint import Call, NoBody, NoQuery, get, post
from mcpproxy.web.rest.servers import Name, find

MAX_DIFF: Final = 400
"""Lines of a diff that are shown; a definition of a page has fewer."""

Pattern = Annotated[str, msgspec.Meta(min_length=1, max_length=320)]


class ToolPattern(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A tool's name, with `*` for anything."""

    pattern: Pattern


class Switched(msgspec.Struct, frozen=True):
    """What was done to which tools; `note` says what else a person should know."""

    server: str
    pattern: str
    action: str
    note: str | None = None


class HeldItem(msgspec.Struct, frozen=True):
    """A tool that waits. `diff` has the lines of a unified diff against what was approved."""

    server: str
    tool: str
    reason: str
    digest: str
    diff: list[str]


class HeldTools(msgspec.Struct, frozen=True):
    tools: list[HeldItem]


class HeldQuery(msgspec.Struct, frozen=True):
    server: Annotated[str, msgspec.Meta(max_length=63)] | None = None


class ApprovedTool(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`digest` is of the definition that was looked at."""

    server: Name
    tool: Annotated[str, msgspec.Meta(min_length=1, max_length=256)]
    digest: Annotated[str, msgspec.Meta(min_length=64, max_length=64)]


class ApproveTools(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    tools: Annotated[list[ApprovedTool], msgspec.Meta(min_length=1, max_length=20_000)]


class Approved(msgspec.Struct, frozen=True):
    approved: list[str]


async def _enable(call: Call[ToolPattern, NoQuery]) -> Switched:
    find(call.parts, call.name)
    note = await call.parts.editor.enable_tools(call.name, call.body.pattern)
    return Switched(call.name, call.body.pattern, "enable", note)


async def _disable(call: Call[ToolPattern, NoQuery]) -> Switched:
    find(call.parts, call.name)
    await call.parts.editor.disable_tools(call.name, call.body.pattern)
    return Switched(call.name, call.body.pattern, "disable")


async def _held(call: Call[NoBody, HeldQuery]) -> HeldTools:
    server = call.query.server
    if server is not None:
        find(call.parts, server)
    held = await call.parts.tools.held_tools(server)
    # There may be thousands, and comparing takes its time.
    return HeldTools(await asyncio.to_thread(lambda: [_item(each) for each in held]))


async def _approve(call: Call[ApproveTools, NoQuery]) -> Approved:
    by_server: dict[str, list[tuple[str, str]]] = {}
    for each in call.body.tools:
        by_server.setdefault(each.server, []).append((each.tool, each.digest))
    for server in by_server:
        find(call.parts, server)
    for server, digests in by_server.items():
        await call.parts.tools.approve_tools(server, digests)
    return Approved([f"{each.server}:{each.tool}" for each in call.body.tools])


def _item(held: HeldTool) -> HeldItem:
    before, after = readable(held.before), readable(held.definition)
    lines = list(difflib.unified_diff(before, after, "approved", "offered now", lineterm=""))
    if len(lines) > MAX_DIFF:
        lines = [*lines[:MAX_DIFF], f"... and {len(lines) - MAX_DIFF} more lines"]
    return HeldItem(held.server, held.tool, held.reason.value, held.digest, lines)


_TOOLS: Final = "/api/v1/servers/{name}/tools"

ENDPOINTS: Final = (
    get("/api/v1/tools/held", "Tools that wait for approval", _held, HeldTools, HeldQuery),
    post("/api/v1/tools/approve", "Approve definitions", _approve, Approved, ApproveTools),
    post(f"{_TOOLS}/enable", "Switch tools on by pattern", _enable, Switched, ToolPattern),
    post(f"{_TOOLS}/disable", "Switch tools off by pattern", _disable, Switched, ToolPattern),
)
