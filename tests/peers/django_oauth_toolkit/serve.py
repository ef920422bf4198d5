"""Sets the site up on its first start (tables, people, clients), then serves it with waitress."""

import os

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.peers.django_oauth_toolkit.settings")

import django

django.setup()  # models can be imported only after this

# ruff: noqa: E402

import waitress
from django.conf import settings
from django.contrib.auth.models import User
from django.core.management import call_command
from django.core.wsgi import get_wsgi_application
from oauth2_provider.models import get_application_model

from tests.peers.browser import PASSWORD

# RFC 8252: the port of a loopback redirect is the client's choice at the time of the request.
REDIRECTS = "http://127.0.0.1/callback http://127.0.0.1/oauth/callback"
PEOPLE = ("alice", "bob")


def set_up() -> None:
    if User.objects.exists():
        return
    for name in PEOPLE:
        User.objects.create_user(name, password=PASSWORD)
    Application = get_application_model()
    options = settings.OPTIONS
    Application.objects.create(
        name="Public client",
        client_id=options["public_client"],
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris=REDIRECTS,
        client_secret="",
    )
    client_id, client_secret = options["confidential_client"]
    Application.objects.create(
        name="Confidential client",
        client_id=client_id,
        client_secret=client_secret,
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris=REDIRECTS,
    )
    client_id, client_secret = options["resource_server"]
    Application.objects.create(
        name="Resource server",
        client_id=client_id,
        client_secret=client_secret,
        client_type=Application.CLIENT_CONFIDENTIAL,
        authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
    )


def main() -> None:
    call_command("migrate", run_syncdb=True, verbosity=0)
    set_up()
    waitress.serve(
        get_wsgi_application(),
        host="127.0.0.1",
        port=settings.OPTIONS["port"],
        threads=4,
        clear_untrusted_proxy_headers=True,
    )


if __name__ == "__main__":
    main()
