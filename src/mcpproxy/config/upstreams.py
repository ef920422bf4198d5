"""A server's entry in the file, as the upstream the rest of the program knows.

Law: exactly one way to reach a server; what contradicts itself is refused, never guessed at.
"""

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from mcpproxy.config import rules
from mcpproxy.config.keyfile import check_key, key_path, read_key
from mcpproxy.config.references import is_unresolved
from mcpproxy.config.schema import OAuthModel, ServerModel
from mcpproxy.core.model import (
    AssertionAudience,
    GrantType,
    OAuthConfig,
    Secret,
    Transport,
    Upstream,
)


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
    if server.oauth is not None:
        found.extend(_oauth_contradictions(server.oauth))
    return tuple(found)


def _oauth_contradictions(oauth: OAuthModel) -> Iterator[str]:
    keys = [name for name in ("private_key", "private_key_file") if getattr(oauth, name)]
    if len(keys) > 1:
        yield 'its "oauth" has a "private_key" and a "private_key_file": keep one'
    if keys and oauth.client_secret:
        yield f'its "oauth" has a "client_secret" and a "{keys[0]}": keep what the provider wants'
    if keys and not oauth.client_id:
        yield f'its "oauth" has a "{keys[0]}" but no "client_id" that it belongs to'
    if oauth.grant_type == "client_credentials":
        if not oauth.client_id:
            yield 'client credentials need a "client_id" in "oauth"'
        if not oauth.client_secret and not keys:
            yield 'client credentials need a "client_secret" or a "private_key" in "oauth"'


def upstream(server: ServerModel, base: Path, missing: tuple[str, ...]) -> Upstream:
    """The upstream of a sound entry. `base` is where the file is; `missing` are the references
    in this entry that stand for nothing.
    """
    oauth = server.oauth
    key, trouble = (None, None) if oauth is None else _private_key(oauth, base)
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
        oauth=None if oauth is None else _oauth(oauth, key),
        problem="; ".join((*missing, *([trouble] if trouble else ()))) or None,
    )


def key_file(server: ServerModel, base: Path) -> Path | None:
    """The file that this server's key is to be read from."""
    named = server.oauth.private_key_file if server.oauth else None
    with suppress(ValueError):
        if named and not is_unresolved(named):
            return key_path(named, base)
    return None


def _private_key(oauth: OAuthModel, base: Path) -> tuple[Secret | None, str | None]:
    """The key that proves the client, or why it cannot."""
    try:
        if oauth.private_key_file and not is_unresolved(oauth.private_key_file):
            where = "oauth.private_key_file"
            return Secret(read_key(key_path(oauth.private_key_file, base))), None
        if oauth.private_key and not is_unresolved(oauth.private_key):
            where = "oauth.private_key"
            return Secret(check_key(oauth.private_key)), None
    except ValueError as error:
        return None, f"{where}: {error}"
    return None, None


def _oauth(oauth: OAuthModel, key: Secret | None) -> OAuthConfig:
    return OAuthConfig(
        client_id=oauth.client_id or None,
        client_secret=Secret(oauth.client_secret) if oauth.client_secret else None,
        scopes=tuple(oauth.scopes),
        redirect_uri=oauth.redirect_uri or None,
        client_metadata_url=oauth.client_metadata_url,
        extra_params=oauth.extra_params,
        grant_type=GrantType(oauth.grant_type),
        private_key=key,
        key_id=oauth.key_id or None,
        signing_alg=oauth.signing_alg,
        assertion_audience=AssertionAudience(oauth.assertion_audience),
        issuer=oauth.issuer or None,
    )


def _secrets(values: Mapping[str, str]) -> Mapping[str, Secret]:
    return {name: Secret(value) for name, value in values.items()}
