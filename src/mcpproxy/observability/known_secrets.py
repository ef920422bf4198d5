"""Which secrets there are to be recognised, so that no log ever shows one."""

from collections.abc import Iterator

from mcpproxy.core.model import Grant, Secret, Upstream


def configured_secrets(upstream: Upstream) -> Iterator[Secret]:
    """What a person configured for a server to know or to be sent."""
    yield from upstream.headers.values()
    yield from upstream.env.values()
    if upstream.oauth is not None:
        for secret in (upstream.oauth.client_secret, upstream.oauth.private_key):
            if secret is not None:
                yield secret


def grant_secrets(grant: Grant) -> Iterator[Secret]:
    """What a provider issued for a login."""
    for secret in (
        grant.tokens.access_token,
        grant.tokens.refresh_token,
        grant.client.client_secret,
        grant.client.registration_token,
        grant.client.private_key,
    ):
        if secret is not None:
            yield secret
