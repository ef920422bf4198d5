"""mcpproxy as the client of a client suite: the suite runs this once for each of its scenarios.

python -m tests.conformance.adapter URL, with the daemon's place in MCPPROXY_JUDGED. It adds the
suite's server to the configuration of that one daemon, logs in when mcpproxy says that a login is
needed, and makes the scenario's calls through `/mcp/s/NAME`. The person is a plain HTTP client that
follows redirects.

Law: what mcpproxy does not do is not done here. A failure is the suite's to see: this ends with 0.
"""

import fcntl
import json
import os
import re
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import urljoin

import httpx2

from tests.conformance.plain_client import AnsweredWithErrorError, PlainClient
from tests.peers.process import http

PLACE: Final = "MCPPROXY_JUDGED"
METADATA_URL: Final = "https://conformance-test.local/client-metadata.json"
AT_ONCE: Final = 8  # a suite starts all of its clients at once, and some checks are about time
LOGINS: Final = 3  # what a person would put up with, and the most that a suite allows
SETTLE: Final = 40.0  # seconds until a server is connected, or says what is in the way
HOPS: Final = 10
HELPED_BY_LOGIN: Final = ("login_required", "token_rejected", "rejected")
"""Causes that stand until a person does something; all others may pass by themselves."""
LOG_IN: Final = "mcpproxy auth login"  # what a caller is told when a login is what helps

Members = dict[str, Any]


class Daemon:
    """The daemon that is judged, over REST and over its configuration file."""

    def __init__(self, place: Mapping[str, str]) -> None:
        self.origin = place["origin"]
        self._config = Path(place["config"])
        self._http = http(40.0, headers={"X-API-Key": place["key"]})

    def add(self, entry: Members) -> None:
        self._edit(lambda servers: [*servers, entry])

    def remove(self, name: str) -> None:
        """Take it away and wait until it is gone: a suite waits for its connections to end."""
        self._edit(lambda servers: [entry for entry in servers if entry["name"] != name])
        end = time.monotonic() + SETTLE
        while self.get(f"/servers/{name}") and time.monotonic() < end:
            time.sleep(0.1)

    def _edit(self, change: Callable[[list[Members]], list[Members]]) -> None:
        """Edit the file as an editor does; other adapters do so as well."""
        with self._config.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            config = json.loads(self._config.read_text())
            config["mcpServers"] = change(config["mcpServers"])
            fresh = self._config.with_suffix(".new")
            fresh.write_text(json.dumps(config, indent=2))
            fresh.chmod(0o600)
            fresh.replace(self._config)

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Wait until fewer than AT_ONCE adapters are at work."""
        while True:
            for number in range(AT_ONCE):
                with self._config.with_suffix(f".turn{number}").open("w") as lock:
                    try:
                        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    except BlockingIOError:
                        continue
                    yield
                    return
            time.sleep(0.1)

    def get(self, path: str) -> Members | None:
        answer = self._http.get(f"{self.origin}/api/v1{path}")
        data: Members | None = answer.json()["data"] if answer.status_code == 200 else None
        return data

    def settled(self, name: str) -> Members:
        """The server once it is connected or wants something of a person."""
        end = time.monotonic() + SETTLE
        found: Members | None = None
        while time.monotonic() < end:
            found = self.get(f"/servers/{name}")
            if found and (
                found["status"] == "connected" or found["health"]["cause"] in HELPED_BY_LOGIN
            ):
                return found
            time.sleep(0.05)
        return found or {"status": "unknown", "health": {"action": ""}}

    def log_in(self, name: str) -> str:
        """A login, the person saying yes to everything; how it ended."""
        begun = self._http.post(f"{self.origin}/api/v1/servers/{name}/login", json={})
        if begun.status_code >= 300:
            return begun.text
        flow = begun.json()["data"]
        if flow["auth_url"]:
            follow(flow["auth_url"])
        ended = self.get(f"/logins/{flow['flow_id']}?wait=20") or {}
        return f"{ended.get('outcome')}: {ended.get('message')}"


def follow(url: str) -> None:
    """Go where a browser goes."""
    with http(20.0, follow_redirects=False) as browser:
        for _ in range(HOPS):
            reply = browser.get(url)
            if not reply.is_redirect:
                return
            url = urljoin(url, reply.headers["location"])


# --- what each scenario wants ---------------------------------------------------------------------


def list_everything(client: PlainClient, context: Members) -> None:
    for tool in client.listed("tools"):
        client.call(tool["name"], example(tool))


def add_numbers(client: PlainClient, context: Members) -> None:
    client.listed("tools")
    client.call("add_numbers", {"a": 5, "b": 3})


def all_methods(client: PlainClient, context: Members) -> None:
    list_everything(client, context)
    for resource in client.listed("resources"):
        client.request("resources/read", {"uri": resource["uri"]})
    for prompt in client.listed("prompts"):
        client.request("prompts/get", {"name": prompt["name"]})


def calls_of_context(client: PlainClient, context: Members) -> None:
    client.listed("tools")
    for wanted in context["toolCalls"]:
        client.call(wanted["name"], wanted["arguments"])


def echo_schema(client: PlainClient, context: Members) -> None:
    tools = {tool["name"]: tool for tool in client.listed("tools")}
    schema = tools["json_schema_2020_12_tool"]["inputSchema"]
    client.call("json_schema_echo", {"schema": schema})


def example(tool: Members) -> Members:
    """Arguments for a tool: something of each type that it requires."""
    schema = tool.get("inputSchema") or {}
    usual: Members = {"boolean": True, "integer": 1, "number": 1, "array": [], "object": {}}
    return {
        name: usual.get(schema.get("properties", {}).get(name, {}).get("type"), "words")
        for name in schema.get("required", [])
    }


SCENARIOS: Final[Mapping[str, Callable[[PlainClient, Members], None]]] = {
    "tools_call": add_numbers,
    "http-standard-headers": all_methods,
    "http-custom-headers": calls_of_context,
    "json-schema-2020-12-preservation": echo_schema,
}
"""All others list the tools and call each."""


def entry_of(name: str, scenario: str, url: str, context: Members) -> Members:
    """The server as a person would configure it for what they know of it."""
    oauth: Members = {}
    if "client_id" in context:
        oauth["client_id"] = context["client_id"]
    if "client_secret" in context:
        oauth["client_secret"] = context["client_secret"]
    if "private_key_pem" in context:
        oauth["private_key"] = context["private_key_pem"]
        oauth["signing_alg"] = context["signing_algorithm"]
    if "issuer" in context:
        oauth["issuer"] = context["issuer"]
    if "client-credentials" in scenario:
        oauth["grant_type"] = "client_credentials"
    if scenario == "auth/basic-cimd":
        oauth["client_metadata_url"] = METADATA_URL
    return {"name": name, "url": url, **({"oauth": oauth} if oauth else {})}


def perform(daemon: Daemon, name: str, scenario: str, context: Members) -> None:
    """The scenario's calls, with a login before each try that needs one."""
    script = SCENARIOS.get(scenario, list_everything)
    logins = 0
    while logins < LOGINS:
        server = daemon.settled(name)
        print(f"{server['status']}, {server['health']}")
        if server["health"].get("cause") in HELPED_BY_LOGIN:
            print("login:", daemon.log_in(name))
            logins += 1
            continue
        if server["status"] != "connected":
            return
        try:
            with PlainClient(f"{daemon.origin}/mcp/s/{name}") as client:
                script(client, context)
            told = client.told
        except AnsweredWithErrorError as error:
            told = json.dumps(error.error)
        print("told:", told)
        if LOG_IN not in told:
            return
        print("login:", daemon.log_in(name))
        logins += 1


def main() -> None:
    url = sys.argv[-1]
    scenario = os.environ["MCP_CONFORMANCE_SCENARIO"]
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT") or "{}")
    daemon = Daemon(json.loads(os.environ[PLACE]))
    name = re.sub(r"[^a-z0-9-]+", "-", f"{scenario}-{os.getpid()}".lower())
    with daemon.turn():
        try:
            daemon.add(entry_of(name, scenario, url, context))
            perform(daemon, name, scenario, context)
        except (httpx2.HTTPError, AnsweredWithErrorError) as error:
            print(f"{type(error).__name__}: {error}")
        finally:
            daemon.remove(name)


if __name__ == "__main__":
    main()
