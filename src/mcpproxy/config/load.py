"""The file and the environment, read into Settings.

Law: all problems at once, each with its path; a secret that cannot be found makes its one server
misconfigured, a value that cannot be right stops the load and changes nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from mcpproxy.config import upstreams
from mcpproxy.config.control import control, profile_problems, profile_warnings
from mcpproxy.config.jsonc import Json, Node, parse, position
from mcpproxy.config.keyfile import is_open_to_all
from mcpproxy.config.listen import read_listen
from mcpproxy.config.locate import Location, Stamps, read_text, stamp
from mcpproxy.config.problems import problems, warnings
from mcpproxy.config.references import Lookup, References
from mcpproxy.config.schema import ALIASES, FileModel
from mcpproxy.config.settings import (
    ActivitySettings,
    KeySourceName,
    LogLevel,
    LogSettings,
    OutboundSettings,
    RoutingMode,
    Settings,
)
from mcpproxy.config.text import unusable, unusable_in_server
from mcpproxy.core.errors import ConfigError
from mcpproxy.core.model import Secret, Upstream
from mcpproxy.core.policy import DEFAULT_POLICY, RefreshPolicy

SHORT_KEY: Final = 16
"""An API key with fewer characters can be guessed; the ones made here have 43."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """One server as it is in the file: where, and what its references miss."""

    label: str
    missing: tuple[str, ...]


def load(
    location: Location, environ: Mapping[str, str], *, keyring: Lookup | None = None
) -> Settings:
    """The settings that the file at `location` makes, with what flags and environment override.

    Raises ConfigError. May take as long as the keyring does: not for the event loop.
    """
    path = location.config_path
    before = stamp(path)
    settings = read_settings(read_text(path), location, References(environ, keyring))
    return replace(settings, stamps={path: before, **settings.stamps})


def read_settings(text: str, location: Location, references: References) -> Settings:
    """The settings in `text`. Raises ConfigError with every problem that is in it."""
    path = location.config_path
    try:
        root = parse(text)
    except ConfigError as error:
        raise _refusal(path, (error.message,)) from None
    found = _repeated_keys(root, text)
    tree = _without_nulls(root.value())
    if not isinstance(tree, dict):
        raise _refusal(path, ('the file must hold one object: { "mcpServers": ... }',))
    servers = _servers(tree.pop("mcpServers", None), found)
    entries: list[_Entry] = []
    resolved: list[Json] = []
    for label, server in servers:
        value, missing = references.resolve(server)
        entries.append(_Entry(label, missing))
        resolved.append(value)
        found.extend(unusable_in_server(value, label))
    others, missing = references.resolve(tree)
    found.extend((*missing, *unusable(others)))
    model = _validate({**_object(others), "mcpServers": resolved}, entries, found)
    if model is None:
        raise _refusal(path, tuple(found))
    stamps = _key_stamps(model, path.parent)  # before the keys are read
    configured = _upstreams(model, entries, path.parent, found)
    policy = _policy(model, found)
    found.extend(profile_problems(model))
    if (bundle := _ca_file(model, path.parent)) is not None and not _is_file_or_missing(bundle):
        found.append(f"outbound.ca_file: {bundle} is no regular file")
    api_key = location.api_key or model.api_key
    if not api_key:
        found.append("api_key: nothing there; allowed: a key (mcpproxy serve makes one)")
    if found or not api_key:
        raise _refusal(path, tuple(found))
    said = _warnings(model, entries, path.parent)
    settings = _settings(model, location, Secret(api_key), configured, policy, said)
    return replace(settings, stamps=stamps)


def _settings(
    model: FileModel,
    location: Location,
    api_key: Secret,
    configured: Mapping[str, Upstream],
    policy: RefreshPolicy,
    said: tuple[str, ...],
) -> Settings:
    base = location.config_path.parent
    log, out = model.logging, model.outbound
    return Settings(
        config_path=location.config_path,
        data_dir=location.data_dir,
        api_key=api_key,
        listen=read_listen(location.listen or model.listen),
        require_mcp_auth=model.require_mcp_auth,
        routing_mode=RoutingMode(model.routing_mode),
        database_url=Secret(model.database_url) if model.database_url else None,
        key_source=KeySourceName(model.key_source),
        upstreams=configured,
        log=LogSettings(
            level=LogLevel(location.log_level or log.level),
            enable_file=log.enable_file,
            enable_console=log.enable_console,
            directory=base / Path(log.log_dir).expanduser() if log.log_dir else None,
            filename=log.filename,
            max_size_mb=log.max_size,
            max_backups=log.max_backups,
            max_age_days=log.max_age,
            json_format=log.json_format,
        ),
        refresh=policy,
        outbound=OutboundSettings(
            proxy=Secret(out.proxy) if out.proxy else None,
            no_proxy=tuple(out.no_proxy),
            ca_file=_ca_file(model, base),
        ),
        call_timeout=model.call_tool_timeout,
        connect_timeout=model.init_timeout,
        tools_limit=model.tools_limit,
        response_limit=model.tool_response_limit,
        control=control(model),
        activity=ActivitySettings(
            enabled=model.activity_enabled,
            max_age=timedelta(days=model.activity_retention_days),
            max_records=model.activity_max_records,
            max_bytes=model.activity_max_size_mb * 1024 * 1024,
        ),
        trusted_hosts=tuple(model.trusted_hosts),
        warnings=said,
    )


def _servers(value: Json, found: list[str]) -> list[tuple[str, Json]]:
    """The servers with their paths, from an array or from an object keyed by name."""
    match value:
        case None:
            return []
        case list():
            labelled = [(f"mcpServers[{at}]", item) for at, item in enumerate(value)]
        case dict():
            labelled = [
                (f"mcpServers.{name}", {**item, "name": name} if isinstance(item, dict) else item)
                for name, item in value.items()
            ]
        case _:
            found.append("mcpServers: allowed: an array of servers, or an object keyed by name")
            return []
    return [(label, _in_our_words(item)) for label, item in labelled]


def _in_our_words(server: Json) -> Json:
    """Other clients' keys of a server, as ours; `disabled` turned about."""
    if not isinstance(server, dict):
        return server
    renamed = dict(server)
    for theirs, ours in ALIASES.items():
        if theirs in renamed and ours not in renamed:
            renamed[ours] = renamed.pop(theirs)
    if isinstance(renamed.get("disabled"), bool) and "enabled" not in renamed:
        renamed["enabled"] = not renamed.pop("disabled")
    return renamed


def _validate(tree: dict[str, Json], entries: list[_Entry], found: list[str]) -> FileModel | None:
    labels = {at: entry.label for at, entry in enumerate(entries)}
    try:
        return FileModel.model_validate(tree)
    except ValidationError as error:
        found.extend(problems(error, labels))
        return None


def _upstreams(
    model: FileModel, entries: list[_Entry], base: Path, found: list[str]
) -> dict[str, Upstream]:
    first: dict[str, str] = {}
    configured: dict[str, Upstream] = {}
    for entry, server in zip(entries, model.mcpServers, strict=True):
        if server.name in first:
            found.append(
                f'{entry.label}.name: "{server.name}" is taken by {first[server.name]}; '
                "allowed: a name of its own"
            )
        first.setdefault(server.name, entry.label)
        found.extend(f"{entry.label}: {wrong}" for wrong in upstreams.contradictions(server))
        configured[server.name] = upstreams.upstream(server, base, entry.missing)
    return configured


def _ca_file(model: FileModel, base: Path) -> Path | None:
    named = model.outbound.ca_file
    return base / Path(named).expanduser() if named else None


def _is_file_or_missing(path: Path) -> bool:
    """A pipe would be waited for; that a file is missing is said where it is needed."""
    return path.is_file() or not path.exists()


def _key_stamps(model: FileModel, base: Path) -> Stamps:
    paths = (upstreams.key_file(server, base) for server in model.mcpServers)
    return {path: stamp(path) for path in paths if path is not None}


def _policy(model: FileModel, found: list[str]) -> RefreshPolicy:
    given = {
        field.name: value
        for field in fields(RefreshPolicy)
        if (value := getattr(model.oauth_refresh, field.name)) is not None
    }
    try:
        return replace(DEFAULT_POLICY, **given)
    except ValueError as error:
        found.append(f"oauth_refresh: {error}")
        return DEFAULT_POLICY


def _warnings(model: FileModel, entries: list[_Entry], base: Path) -> tuple[str, ...]:
    said = warnings(model)
    for entry, server in zip(entries, model.mcpServers, strict=True):
        said.extend(warnings(server, entry.label))
        key = upstreams.key_file(server, base)
        if key is not None and is_open_to_all(key):
            where = f"{entry.label}.oauth.private_key_file"
            said.append(f"{where}: every user of this machine can read it: chmod 600 {key}")
    for at, profile in enumerate(model.profiles):
        said.extend(warnings(profile, f"profiles[{at}]"))
    said.extend(profile_warnings(model))
    if model.api_key and len(model.api_key) < SHORT_KEY:
        said.append(
            f"`api_key` has fewer than {SHORT_KEY} characters; leave it out to get a new one"
        )
    return tuple(said)


def _repeated_keys(node: Node, text: str, path: str = "") -> list[str]:
    found: list[str] = []
    seen: set[str] = set()
    for member in node.members or ():
        where = f"{path}.{member.key}" if path else member.key
        if member.key in seen:
            found.append(f"{where}: it stands twice, again at {position(text, member.start)}")
        seen.add(member.key)
        found.extend(_repeated_keys(member.value, text, where))
    for at, item in enumerate(node.items or ()):
        found.extend(_repeated_keys(item, text, f"{path}[{at}]"))
    return found


def _without_nulls(value: Json) -> Json:
    """A key with null is a key left out, at every level."""
    match value:
        case dict():
            return {key: _without_nulls(item) for key, item in value.items() if item is not None}
        case list():
            return [_without_nulls(item) for item in value]
        case _:
            return value


def _object(value: Json) -> dict[str, Json]:
    return value if isinstance(value, dict) else {}


def _refusal(path: Path, found: tuple[str, ...]) -> ConfigError:
    return ConfigError(
        f"{path}: " + ("; ".join(found) if len(found) == 1 else f"{len(found)} problems"),
        next_step="mend the file; a daemon that runs goes on with what it had",
        problems=found,
    )
