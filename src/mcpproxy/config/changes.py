"""What differs between two settings: which servers, and what only a restart can change. Pure."""

from dataclasses import dataclass, fields, replace

from mcpproxy.config.settings import Settings

AT_START_ONLY = (
    "data_dir",
    "listen",
    "database_url",
    "key_source",
    "log",
    "refresh",
    "outbound",
    "routing_mode",
    "call_timeout",
    "connect_timeout",
    "tools_limit",
    "response_limit",
)
"""Settings that are read once; the others take effect as they change."""


NOT_SAID = ("upstreams", "warnings", "config_path", "stamps", "control")
"""Fields that are no settings of their own, or are told apart below."""


@dataclass(frozen=True, slots=True)
class Changes:
    """Names of servers, sorted; `settings` changed and apply now, `restart` wait for one."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    settings: tuple[str, ...] = ()
    restart: tuple[str, ...] = ()


def diff(old: Settings, new: Settings) -> Changes:
    before, after = old.upstreams, new.upstreams
    rules, ruled = old.control, new.control
    moved = [
        field.name
        for field in fields(Settings)
        if field.name not in NOT_SAID and getattr(old, field.name) != getattr(new, field.name)
    ]
    if replace(rules, servers={}) != replace(ruled, servers={}):
        moved.append("control")
    return Changes(
        added=tuple(sorted(after.keys() - before.keys())),
        removed=tuple(sorted(before.keys() - after.keys())),
        changed=tuple(
            sorted(
                name
                for name in before.keys() & after.keys()
                if before[name] != after[name] or rules.of(name) != ruled.of(name)
            )
        ),
        settings=tuple(name for name in moved if name not in AT_START_ONLY),
        restart=tuple(name for name in moved if name in AT_START_ONLY),
    )
