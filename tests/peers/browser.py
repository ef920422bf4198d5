"""A person at a real browser: opens a login page, signs in, consents, and lands where it leads.

As a program it can be the `$BROWSER` of a command under test:
`python -m tests.peers.browser {oidc|django} USER URL`.
"""

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from playwright.async_api import Browser, Page, Route, async_playwright

PASSWORD = "correct horse battery staple"
STEP = 15_000  # milliseconds for one page to come; they take 0.1 s on an idle machine

CANDIDATES = ("/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome")
FLAGS = [
    "--no-sandbox",  # the tests may run as root, in a container
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@dataclass(frozen=True, slots=True)
class Landing:
    """Where the login ended: the address bar and the text on the page."""

    url: str
    text: str


def executable() -> str:
    named = os.environ.get("MCPPROXY_TEST_BROWSER")
    for candidate in (named, *CANDIDATES):
        if candidate and Path(candidate).exists():
            return candidate
    raise FileNotFoundError("no browser: run `sudo apt-get install chromium`")


@asynccontextmanager
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium with a profile of its own."""
    async with async_playwright() as playwright:
        launched = await playwright.chromium.launch(executable_path=executable(), args=FLAGS)
        try:
            yield launched
        finally:
            await launched.close()


async def _only_loopback(route: Route) -> None:
    # The providers' pages name web fonts; nothing here may leave the machine, nor wait for it.
    host = urlsplit(route.request.url).hostname
    if host in ("127.0.0.1", "localhost", "::1"):
        await route.continue_()
    else:
        await route.abort()


@asynccontextmanager
async def page() -> AsyncIterator[Page]:
    """A page in a fresh browser: no cookies, no cache, nothing but this machine reachable."""
    async with browser() as launched:
        context = await launched.new_context()
        await context.route("**/*", _only_loopback)
        opened = await context.new_page()
        opened.set_default_timeout(STEP)
        yield opened


async def sign_in_oidc(opened: Page, page_url: str, user: str) -> Landing:
    """oidc-provider's pages: a login form, then a consent form, each only if it is shown."""
    await opened.goto(page_url)
    return await _sign_in_and_consent(opened, user)


async def approve_device(opened: Page, verification_uri_complete: str, user: str) -> Landing:
    """oidc-provider's device pages: is this the code you see, then the usual ones."""
    await opened.goto(verification_uri_complete)
    confirm = "button[form='op.deviceConfirmForm']:not([name=abort])"
    await opened.wait_for_selector(confirm)  # the first page sends itself on by script
    await _submit(opened, confirm)
    return await _sign_in_and_consent(opened, user)


async def _sign_in_and_consent(opened: Page, user: str) -> Landing:
    if await opened.locator("input[name=login]").count():
        await opened.fill("input[name=login]", user)
        await opened.fill("input[name=password]", PASSWORD)
        await _submit(opened, "button[type=submit]")
    if await opened.locator("input[name=prompt][value=consent]").count():
        await _submit(opened, "button[type=submit]")
    return await _landing(opened)


async def sign_in_django(opened: Page, page_url: str, user: str) -> Landing:
    """django-oauth-toolkit's pages: Django's login form, then the toolkit's consent form."""
    await opened.goto(page_url)
    if await opened.locator("input[name=username]").count():
        await opened.fill("input[name=username]", user)
        await opened.fill("input[name=password]", PASSWORD)
        await _submit(opened, "[type=submit]")
    if await opened.locator("#authorizationForm").count():
        await _submit(opened, "#authorizationForm [name=allow]")
    return await _landing(opened)


async def _submit(opened: Page, selector: str) -> None:
    async with opened.expect_navigation(wait_until="load"):
        await opened.click(selector)


async def _landing(opened: Page) -> Landing:
    return Landing(opened.url, await opened.inner_text("body"))


async def log_in_oidc(page_url: str, user: str = "alice") -> Landing:
    """Open `page_url` in a fresh browser and do all that oidc-provider asks of `user`."""
    async with page() as opened:
        return await sign_in_oidc(opened, page_url, user)


async def log_in_django(page_url: str, user: str = "alice") -> Landing:
    """Open `page_url` in a fresh browser and do all that the Django site asks of `user`."""
    async with page() as opened:
        return await sign_in_django(opened, page_url, user)


async def approve_device_oidc(verification_uri_complete: str, user: str = "alice") -> Landing:
    """Open the device page in a fresh browser and let the waiting device in as `user`."""
    async with page() as opened:
        return await approve_device(opened, verification_uri_complete, user)


PEOPLE: dict[str, Callable[[str, str], Awaitable[Landing]]] = {
    "oidc": log_in_oidc,
    "django": log_in_django,
}


def browser_command(provider: str, user: str = "alice") -> str:
    """A value for `$BROWSER` with which `webbrowser.open(url)` logs `user` in."""
    return f"{sys.executable} -m tests.peers.browser {provider} {user} %s"


async def _main(provider: str, user: str, url: str) -> None:
    landing = await PEOPLE[provider](url, user)
    print(landing.url)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:4]))
