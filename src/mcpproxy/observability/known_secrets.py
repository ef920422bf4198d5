"""Which secrets there are to be recognised, so that no log ever shows one."""

from collections.abc import Iterator

from mcpproxy.core.model import Grant, Secret, Upstream


def configured_secrets(upstream: Upstream) -> Iterator[Secret]:
    """What a person configured for a server to know or to be sent."""
    yield from upstream.headers.values()
    yield from upstream.env.values()
    if upstream.oauth is not None:
        if upstream.oauth.client_secret is not None:
            yield upstream.oauth.client_secret
        yield from _key_lines(upstream.oauth.private_key)


def grant_secrets(grant: Grant) -> Iterator[Secret]:
    """What a provider issued for a login."""
    for secret in (
        grant.tokens.access_token,
        grant.tokens.refresh_token,
        grant.client.client_secret,
        grant.client.registration_token,
    ):
        if secret is not None:
            yield secret
    yield from _key_lines(grant.client.private_key)


def _key_lines(key: Secret | None) -> Iterator[Secret]:
    """A key in PEM form is written a line at a time, and a log has it a line at a time."""
    for line in key.reveal().splitlines() if key else ():
        if "-----" not in line:
            yield Secret(line.strip())
