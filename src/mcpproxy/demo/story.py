"""The story that `mcpproxy demo` tells: a login, refreshes, an outage, a kill -9, a restart.

Law: nothing is said that was not seen. Each claim is read from the daemon, or counted by the
provider; when one does not hold, the demo says so and fails.
"""

import tempfile
import time
import webbrowser
from collections.abc import Callable
from enum import Enum, auto
from pathlib import Path
from typing import Final

from mcpproxy.demo.stage import Stage, StageFailure
from mcpproxy.demo.tokens import LIFE_S

POLL_S: Final = 0.25
LOGIN_S: Final = 300.0
Tell = Callable[[str], None]


class Clicker(Enum):
    """Who clicks "Allow" on the provider's page."""

    DEMO = auto()
    PERSON = auto()


class Story:
    """One telling of it. `tell` prints a line at once."""

    def __init__(self, stage: Stage, tell: Tell) -> None:
        self._stage = stage
        self._tell = tell
        self._began = time.monotonic()

    def run(self, clicker: Clicker) -> None:
        """Raises StageFailure when something did not go as it must."""
        self._chapter("Starting mcpproxy, with one server behind a login")
        ready = self._stage.start_daemon()
        self._say(f"ready in {ready:.1f} s (pid {self._stage.pid})")
        self._wait("login required", "the server to ask for its login")
        self._show()
        self._login(clicker)
        self._refresh()
        self._outage()
        self._crash()
        self._end()

    def _login(self, clicker: Clicker) -> None:
        self._chapter("Logging in: once")
        flow = self._stage.rest("POST", "/servers/demo/login")
        url = str(flow["auth_url"])
        self._say(f"open {url}")
        if clicker is Clicker.DEMO:
            self._say('(the demo clicks "Allow" for you; --browser lets you do it)')
            self._stage.allow(url)
        else:
            webbrowser.open(url)
        self._wait("Token refresh scheduled", "the login", LOGIN_S)
        self._show()
        self._call()

    def _refresh(self) -> None:
        self._chapter(f"Access tokens live {LIFE_S} s here; they are renewed at 80 % of that")
        self._until_refreshes(2)
        self._show()
        self._call()

    def _outage(self) -> None:
        self._chapter("The provider goes down: every refresh is answered with 503")
        self._stage.outage("on")
        self._wait("Refresh retry", "the first refused refresh")
        self._show()
        self._say("and calls go on, while the access token lives:")
        self._call()
        self._wait("Refresh retry 2", "the second refused refresh")
        self._show()
        self._say("the provider is back; nobody needs to do anything:")
        self._stage.outage("off")
        self._wait("Token refresh scheduled", "the next retry")
        self._show()

    def _crash(self) -> None:
        self._chapter("kill -9, and nobody home until the access token is dead")
        self._stage.kill_daemon()
        for left in range(LIFE_S, 0, -5):
            self._say(f"{left} s ...")
            time.sleep(min(5, left))
        began = time.monotonic()
        self._stage.start_daemon()
        self._wait("Token refresh scheduled", "the restarted daemon to reconnect")
        self._say(
            f"reconnected {time.monotonic() - began:.1f} s after the restart, without a login"
        )
        self._show()
        self._call()

    def _end(self) -> None:
        truth = self._stage.truth()
        self._chapter("What the provider counted")
        self._say(f"logins {truth['logins']}, refreshes {truth['refreshes']}")
        self._say(f"refreshes refused during the outage {truth['refused']}")
        if truth["logins"] != 1:
            raise StageFailure(f"expected one login, the provider counted {truth['logins']}")
        took = time.monotonic() - self._began
        self._tell(f"\nLogged in once. ({took:.0f} s)  Now your own servers: mcpproxy serve")

    # --- the narrator's tools -----------------------------------------------------------------

    def _chapter(self, title: str) -> None:
        self._tell(f"\n== {title}")

    def _say(self, text: str) -> None:
        self._tell(f"   {text}")

    def _show(self) -> None:
        self._tell("   $ mcpproxy upstream list")
        for line in self._stage.command("upstream", "list").splitlines():
            self._tell(f"   {line}")

    def _call(self) -> None:
        body = {"server": "demo", "tool": "whoami", "arguments": {}}
        answer = self._stage.rest("POST", "/tools/call", body)
        result = answer["result"]
        content = result.get("content") if isinstance(result, dict) else None
        text = content[0]["text"] if content else result
        self._say(f"tools/call whoami -> {text}")

    def _line(self) -> str:
        found = self._stage.rest("GET", "/servers")["servers"]
        return str(found[0]["health"]["line"]) if isinstance(found, list) and found else ""

    def _wait(self, words: str, what: str, limit: float = 4 * LIFE_S) -> None:
        self._until(lambda: words in self._line(), what, limit)

    def _until_refreshes(self, count: int) -> None:
        said = self._stage.truth()["refreshes"]
        goal = said + count

        def reached() -> bool:
            nonlocal said
            now = self._stage.truth()["refreshes"]
            if now > said:
                self._say(f"refresh {now}: a new access token, a new refresh token")
            said = now
            return now >= goal

        self._until(reached, f"{count} refreshes", 4 * LIFE_S)

    def _until(self, reached: Callable[[], bool], what: str, limit: float) -> None:
        deadline = time.monotonic() + limit
        while not reached():
            if time.monotonic() > deadline:
                raise StageFailure(f"waited {limit:g} s for {what}; last seen: {self._line()}")
            time.sleep(POLL_S)


def tell_story(clicker: Clicker, tell: Tell) -> None:
    """The whole demo, in a directory that is gone afterwards. Raises StageFailure."""
    with (
        tempfile.TemporaryDirectory(prefix="mcpproxy-demo-") as directory,
        Stage(Path(directory)) as stage,
    ):
        Story(stage, tell).run(clicker)
