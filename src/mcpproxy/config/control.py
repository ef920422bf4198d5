"""What the file says about tools and calls, as the rest of the program knows it.

Law: a server's own word, else the word for all servers, else the default; a profile that names
what is not there is warned about and narrower, never wider.
"""

from mcpproxy.config.schema import FileModel, ServerModel
from mcpproxy.config.schema_control import ConcurrencyModel, ProfileModel
from mcpproxy.core.control import (
    ALL_BOUNDS,
    SERVER_BOUNDS,
    Arguments,
    Bounds,
    Control,
    Profile,
    ServerControl,
    Tier,
    ToolApproval,
)


def control(model: FileModel) -> Control:
    defaults = _bounds(model.server_concurrency_defaults, SERVER_BOUNDS)
    others = ServerControl(approval=ToolApproval(model.tool_approval), bounds=defaults)
    said = {each.name: _server(each, others) for each in model.mcpServers}
    return Control(
        servers={name: each for name, each in said.items() if each != others},
        others=others,
        profiles={each.name: _profile(each) for each in model.profiles},
        bounds=_bounds(model, ALL_BOUNDS),
        arguments=Arguments.KEPT if model.activity_arguments else Arguments.LEFT_OUT,
    )


def profile_problems(model: FileModel) -> tuple[str, ...]:
    """What is wrong with profiles whose single values are right."""
    found: list[str] = []
    first: dict[str, int] = {}
    for at, profile in enumerate(model.profiles):
        if profile.name in first:
            found.append(
                f'profiles[{at}].name: "{profile.name}" is taken by profiles[{first[profile.name]}]'
                "; allowed: a name of its own"
            )
        first.setdefault(profile.name, at)
    return tuple(found)


def profile_warnings(model: FileModel) -> tuple[str, ...]:
    """Names in profiles that stand for no server."""
    known = {server.name for server in model.mcpServers}
    found: list[str] = []
    for at, profile in enumerate(model.profiles):
        patterns = (*(profile.tools.allow or ()), *profile.tools.deny)
        heads = (pattern.partition(":")[0] for pattern in patterns)
        named = (*(profile.servers or ()), *(head for head in heads if "*" not in head))
        found.extend(
            f'profiles[{at}]: no server is called "{name}"'
            for name in dict.fromkeys(named)
            if name not in known
        )
    return tuple(found)


def _server(server: ServerModel, others: ServerControl) -> ServerControl:
    return ServerControl(
        enabled_tools=None if server.enabled_tools is None else tuple(server.enabled_tools),
        disabled_tools=tuple(server.disabled_tools),
        approval=ToolApproval(server.tool_approval) if server.tool_approval else others.approval,
        bounds=_bounds(server, others.bounds),
        call_timeout=server.call_tool_timeout,
        tool_timeouts=tuple(server.tool_timeouts.items()),
    )


def _bounds(said: ConcurrencyModel | FileModel, default: Bounds) -> Bounds:
    at_once, waiting = said.max_concurrent_requests, said.queue_size
    return Bounds(
        at_once=default.at_once if at_once is None else at_once,
        waiting=default.waiting if waiting is None else waiting,
        patience=said.queue_timeout or default.patience,
    )


def _profile(profile: ProfileModel) -> Profile:
    allow = profile.tools.allow
    return Profile(
        name=profile.name,
        servers=None if profile.servers is None else frozenset(profile.servers),
        allow=None if allow is None else tuple(allow),
        deny=tuple(profile.tools.deny),
        max_tier=None if profile.max_tier is None else Tier(profile.max_tier),
        routing_mode=profile.routing_mode,
    )
