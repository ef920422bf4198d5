"""Names for the shell's completion: of servers, tools and profiles.

Law: says nothing rather than something wrong, and never an error: a person is typing.
"""

from typing import Any

import click
from click.shell_completion import CompletionItem

from mcpproxy.cli.client import segment
from mcpproxy.cli.context import Globals
from mcpproxy.core.errors import McpproxyError

SECONDS = 2.0


def servers(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _items(_servers(ctx), incomplete)


def tools(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """`SERVER:` until there is a colon, then that server's tools."""
    server, colon, _ = incomplete.partition(":")
    if not colon:
        return _items([f"{name}:" for name in _servers(ctx)], incomplete)
    found = _asked(ctx, f"/api/v1/tools?server={segment(server)}", "tools")
    return _items([f"{server}:{each['name']}" for each in found], incomplete)


def held(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """What waits for approval, and the servers of it."""
    waiting = _asked(ctx, "/api/v1/tools/held", "tools")
    names = dict.fromkeys(each["server"] for each in waiting)
    return _items([*names, *(f"{each['server']}:{each['tool']}" for each in waiting)], incomplete)


def names(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Servers, and tools after a colon."""
    return tools(ctx, param, incomplete) if ":" in incomplete else servers(ctx, param, incomplete)


def profiles(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    return _items(
        [each["name"] for each in _asked(ctx, "/api/v1/profiles", "profiles")], incomplete
    )


def _servers(ctx: click.Context) -> list[str]:
    return [each["name"] for each in _asked(ctx, "/api/v1/servers", "servers")]


def _items(found: list[str], incomplete: str) -> list[CompletionItem]:
    return [CompletionItem(name) for name in found if name.startswith(incomplete)]


def _asked(ctx: click.Context, path: str, key: str) -> list[dict[str, Any]]:
    options = ctx.find_root().obj
    try:
        known = options if isinstance(options, Globals) else Globals()
        found: list[dict[str, Any]] = known.client().get(path, seconds=SECONDS)[key]
    except (McpproxyError, OSError, KeyError, TypeError):
        return []
    return found
