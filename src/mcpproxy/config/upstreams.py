"""A server's entry in the file, as the upstream the rest of the program knows.

Law: exactly one way to reach a server; what contradicts itself is refused, never guessed at.
"""

from collections.abc import Mapping
from pathlib import Path

from mcpproxy.config import rules
from mcpproxy.config.references import is_unresolved
from mcpproxy.config.schema import OAuthModel, ServerModel
from mcpproxy.core.model import OAuthConfig, Secret, Transport, Upstream


def contradictions(server: ServerModel) -> tuple[str, ...]:
    """What is wrong with an entry whose single values are right."""
    found: list[str] = []
    if server.url and server.command:
        found.append('it has a "url" and a "command": keep the one it is reached by')
    if not server.url and not server.command:
        found.append('it has neither a "url" nor a "command": say how it is reached')
    if server.command and server.protocol not in ("auto", "stdio"):
        found.append(f'a "command" is spoken with over stdio, not "{server.protocol}"')
    if server.url and server.protocol == "stdio":
        found.append('a "url" is spoken with over http, sse or auto, not "stdio"')
    if server.url and not is_unresolved(server.url) and not server.allow_insecure:
        parts = rules.check_url(server.url)
        if parts.scheme == "http" and not rules.is_near(parts.hostname or ""):
            found.append(
                'its "url" is plain http to a public host, where tokens could be read on the way:'
                ' use https, or set "allow_insecure": true'
            )
    return tuple(found)


def upstream(server: ServerModel, base: Path, missing: tuple[str, ...]) -> Upstream:
    """The upstream of a sound entry. `base` is where the file is; `missing` are the references
    in this entry that stand for nothing.
    """
    working_dir = server.working_dir
    if working_dir is not None:
        working_dir = str(base / Path(working_dir).expanduser())
    return Upstream(
        name=server.name,
        transport=Transport(server.protocol),
        url=server.url or None,
        command=server.command or None,
        args=tuple(server.args),
        env=_secrets(server.env),
        headers=_secrets(server.headers),
        working_dir=working_dir,
        enabled=server.enabled,
        quarantined=server.quarantined,
        oauth=_oauth(server.oauth) if server.oauth is not None else None,
        problem="; ".join(missing) or None,
    )


def _oauth(oauth: OAuthModel) -> OAuthConfig:
    return OAuthConfig(
        client_id=oauth.client_id or None,
        client_secret=Secret(oauth.client_secret) if oauth.client_secret else None,
        scopes=tuple(oauth.scopes),
        redirect_uri=oauth.redirect_uri or None,
        client_metadata_url=oauth.client_metadata_url,
        extra_params=oauth.extra_params,
    )


def _secrets(values: Mapping[str, str]) -> Mapping[str, Secret]:
    return {name: Secret(value) for name, value in values.items()}
