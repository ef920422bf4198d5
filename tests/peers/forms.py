"""A person without a browser: follows redirects, keeps cookies, fills the providers' forms in.

Ten times cheaper than Chromium, for tests in which a login is only the beginning. The pages are
the same real ones; what only a browser can show (scripts, policies) is for tests/peers/browser.py.
"""

from dataclasses import dataclass, field
from html.parser import HTMLParser
from urllib.parse import urljoin, urlsplit

from tests.peers.browser import PASSWORD, Landing
from tests.peers.process import http

MAX_HOPS = 20  # both providers need fewer than ten


@dataclass
class Form:
    action: str
    fields: dict[str, str] = field(default_factory=dict)


class FormReader(HTMLParser):
    """The first form of a page with its fields; of several buttons the affirmative one."""

    def __init__(self) -> None:
        super().__init__()
        self.form: Form | None = None
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        if tag == "form" and self.form is None and found.get("method", "").lower() == "post":
            self.form = Form(found.get("action", ""))
        elif tag == "input" and self.form is not None and "name" in found:
            self.form.fields.setdefault(found["name"], found.get("value", ""))

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def log_in_by_forms(
    page_url: str, user: str = "alice", *, unreachable: str | None = None
) -> Landing:
    """Open `page_url`, do all that either provider asks of `user`, and say where that led.

    `unreachable` is a path that this browser cannot open: then the address stays in its bar.
    """
    answers = {"login": user, "username": user, "password": PASSWORD}
    with http(10.0, follow_redirects=False) as client:
        response = client.get(page_url)
        for _ in range(MAX_HOPS):
            if response.is_redirect:
                target = urljoin(str(response.url), response.headers["location"])
                if unreachable is not None and urlsplit(target).path == unreachable:
                    return Landing(target, "")
                response = client.get(target)
                continue
            page = FormReader()
            page.feed(response.text)
            if page.form is None:
                return Landing(str(response.url), "".join(page.text))
            filled = {name: answers.get(name, value) for name, value in page.form.fields.items()}
            action = urljoin(str(response.url), page.form.action)
            response = client.post(action, data=filled, headers={"Referer": str(response.url)})
    raise AssertionError(f"no end of pages after {MAX_HOPS} hops, at {response.url}")
