"""Writes the reference pages that the code itself can tell: `python -m docs.generate`.

Law: a generated page holds nothing that the code does not say. `tests/docs` compares every page
with what this makes, so that a change of the code without its page fails.
"""

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from importlib import import_module
from pathlib import Path
from typing import Final, get_args

import click

from docs.conformance_page import conformance
from docs.metrics_page import metrics
from docs.providers_page import providers
from mcpproxy.cli.program import COMMANDS, GROUPS, global_options
from mcpproxy.config import reference
from mcpproxy.core import errors, notices
from mcpproxy.core.causes import CAUSES
from mcpproxy.core.errors import McpproxyError
from mcpproxy.core.ledger import LedgerLine, Outcome
from mcpproxy.web.rest.table import ENDPOINTS, OPENAPI_PATH

DOCS: Final = Path(__file__).parent
MADE: Final = "<!-- Made by `make docs` from the code. Edit the code, not this page. -->"

SOURCE: Final = DOCS.parent / "src" / "mcpproxy"
READ_AS: Final = {
    "call_tool_timeout": ".call_timeout",
    "init_timeout": ".connect_timeout",
    "logging.enable_console": ".enable_console",
    "logging.max_age": ".max_age_days",
    "tools_limit": ".tools_limit",
    "tool_response_limit": ".response_limit",
    "trusted_hosts": ".trusted_hosts",
}
"""Settings by their key in the file, and how the code that obeys them reads them."""


def configuration() -> str:
    return "\n".join(
        (
            "# Configuration",
            "",
            "The file is `mcp_config.json` in the data directory, or the one that `--config`",
            "names. It is JSON with comments and trailing commas. `mcp_config.json` in",
            "`~/.mcpproxy` is the default. How to use it: [add servers](../how-to/add-servers.md).",
            "",
            "- A key that nobody knows is kept, has no effect and is warned about at the start.",
            "- A wrong value stops the load. The message names its path, what was found and what",
            "  is allowed. A daemon that runs goes on with what it had.",
            "- A time is a number of seconds, or text such as `30s`, `2m`, `1h30m`.",
            "- `${env:NAME}` and `${keyring:NAME}` stand for a value that is elsewhere.",
            "- `mcpServers` is an array, or an object keyed by name as other clients write it.",
            "- `transport` and `type` mean `protocol`, `cwd` means `working_dir`, and",
            "  `disabled` is the opposite of `enabled`.",
            "- Edits take effect within two seconds. A new `api_key` too: what was opened with",
            "  the old one is cut. `data_dir`, `listen`,",
            "  `database_url`, `key_source`, `logging`, `oauth_refresh`, `outbound`,",
            "  `routing_mode`, `call_tool_timeout`, `init_timeout`, `tools_limit` and",
            "  `tool_response_limit` are read at the start only;",
            "  the log says when a restart is needed.",
            *_idle(),
            "",
            "Flags win over the environment, the environment over the file:",
            "",
            "| variable | same as |",
            "|---|---|",
            "| `MCPPROXY_CONFIG` | `--config` |",
            "| `MCPPROXY_DATA_DIR` | `--data-dir`, `data_dir` |",
            "| `MCPPROXY_LISTEN` | `--listen`, `listen` |",
            "| `MCPPROXY_LOG_LEVEL` | `--log-level`, `logging.level` |",
            "| `MCPPROXY_API_KEY` | `api_key` |",
            "| `MCPPROXY_OUTPUT` | `--output` |",
            "| `MCPPROXY_KEY_FILE` | the key file, where `key_source` is `env` |",
            "",
            reference.page().rstrip(),
        )
    )


def _idle() -> Iterator[str]:
    """The settings that nothing outside of `config` reads: a page that kept quiet would promise."""
    files = [path for path in SOURCE.rglob("*.py") if path.parent.name != "config"]
    text = "\n".join(path.read_text(encoding="utf-8") for path in files)
    idle = [f"`{key}`" for key, use in READ_AS.items() if use not in text]
    if idle:
        yield f"- These are read and checked, and have no effect yet: {', '.join(idle)}."


def commands() -> str:
    lines = [
        "# Commands",
        "",
        "`mcpproxy COMMAND`, or `python -m mcpproxy COMMAND`. `--help` after any command tells",
        "the same as this page. [Exit codes](exit-codes.md) are the same for all commands.",
        "",
        "## Options that every command takes",
        "",
        *_options(global_options(), click.Context(click.Command("mcpproxy"))),
        "",
        "They may stand before or after the command's name. `-o json` prints JSON, also of errors.",
        "`NO_COLOR` turns colours off.",
    ]
    for path in COMMANDS:
        group = path.partition(" ")[0]
        if group in GROUPS and f"## mcpproxy {group}" not in lines:
            lines += ["", f"## mcpproxy {group}", "", GROUPS[group]]
        lines += ["", *_command(path)]
    return "\n".join(lines)


def _command(path: str) -> Iterator[str]:
    module = import_module(f"mcpproxy.cli.commands.{COMMANDS[path]}")
    command: click.Command = module.command
    context = click.Context(command, info_name=f"mcpproxy {path}")
    own = [each for each in command.params if not (each.name or "").startswith("global_")]
    pieces = [piece for each in own for piece in each.get_usage_pieces(context)]
    usage = " ".join(["mcpproxy", path, *pieces])
    depth = "###" if " " in path else "##"
    options = _options([each for each in own if isinstance(each, click.Option)], context)
    yield from (f"{depth} mcpproxy {path}", "", (command.help or "").strip(), "")
    yield from ("```text", usage, "```")
    if options:
        yield from ("", *options)


def _options(options: list[click.Option], context: click.Context) -> list[str]:
    records = [record for each in options if (record := each.get_help_record(context))]
    if not records:
        return []
    rows = [f"| `{_cell(names)}` | {_cell(text)} |" for names, text in records]
    return ["| option | meaning |", "|---|---|", *rows]


def rest() -> str:
    rows = [f"| {row.method} | `{row.path}` | {row.summary} |" for row in ENDPOINTS]
    return "\n".join(
        (
            "# REST",
            "",
            "Everything under `/api/v1`. The whole contract, with types, is served as OpenAPI at",
            f"`{OPENAPI_PATH}`. Events are on [`/events`](events.md).",
            "",
            "- Callers send the API key as `X-API-Key: KEY` or `Authorization: Bearer KEY`, never",
            "  in a URL. The Unix socket in the data directory needs none: only its owner can open",
            "  it, and the peer's user is checked.",
            '- A success is `{"success": true, "data": …}`, a failure is',
            '  `{"success": false, "error": …, "code": …, "next_step": …, "request_id": …}`.',
            "- `X-Request-Id` is taken over when it is harmless, else made, and always answered.",
            "- A body has to be `application/json`, of at most 4 MiB. GET changes nothing.",
            "",
            "| method | path | what it does |",
            "|---|---|---|",
            *rows,
            "",
            "Outside of `/api/v1`:",
            "",
            "| path | what it is | needs the key |",
            "|---|---|---|",
            "| `/mcp`, `/mcp/…` | [the MCP endpoint](mcp-endpoint.md) | yes |",
            "| `/events` | [server-sent events](events.md) | yes |",
            "| `/metrics` | [Prometheus metrics](metrics.md) | not from loopback |",
            "| `/healthz`, `/livez` | 200 while the process answers | no |",
            "| `/readyz` | 200 once the store is open and the endpoint is served, else 503 | no |",
            "| `/` | a page that says that it runs | yes |",
        )
    )


def causes() -> str:
    rows = [
        f"| `{each.name}` | {each.level.value} | {_cell(each.line)} | {_cell(each.summary)} "
        f"| {_cell(each.detail)} | {each.action.value} |"
        for each in CAUSES
    ]
    return "\n".join(
        (
            "# Health causes",
            "",
            "Every server shows one cause, the same on the command line, in REST, in events and in",
            "MCP errors. The first cause in this table that applies hides those below it.",
            "",
            "`{in}` is what remains until the next attempt, `{at}` its time (RFC 3339, UTC),",
            "`{clock}` its local time of day (with the date on another day), `{until}` the one the",
            "provider named, `{n}` a count, `{error}` the reason, `{tools}` the number of tools,",
            "`{held}` how many wait.",
            "",
            "`mcpproxy upstream list` prints `level (line)`. REST has all columns in `health`.",
            "",
            "| cause | level | line | summary | detail | action |",
            "|---|---|---|---|---|---|",
            *rows,
        )
    )


def exit_codes() -> str:
    meanings = (
        (0, "done"),
        (1, "failed"),
        (2, "wrong use, or a port is taken"),
        (3, "the store is locked, or another daemon owns the data directory"),
        (4, "the configuration cannot be loaded"),
        (5, "a file or directory is not ours to use"),
        (10, "not ready yet; it comes by itself"),
        (11, "blocked; a person must act, such as log in"),
        (12, "there is no server of that name"),
        (130, "interrupted"),
    )
    kinds = sorted(_family(McpproxyError), key=lambda kind: (kind.exit_code, kind.code))
    return "\n".join(
        (
            "# Exit codes and errors",
            "",
            "| exit code | meaning |",
            "|---|---|",
            *(f"| {code} | {meaning} |" for code, meaning in meanings),
            "",
            "Every error has a message, a next step and a `code` for programs. REST answers with",
            "the HTTP status; with `-o json` a command prints the same as JSON.",
            "",
            "| code | exit code | HTTP status |",
            "|---|---|---|",
            *(f"| `{kind.code}` | {kind.exit_code} | {kind.http_status} |" for kind in kinds),
        )
    )


def _family(root: type[McpproxyError]) -> Iterator[type[McpproxyError]]:
    """Every class of the tree that has a code of its own, as `core.errors` defines it."""
    if root.__module__ == errors.__name__:
        if "code" in vars(root):
            yield root
        for kind in root.__subclasses__():
            yield from _family(kind)


def events() -> str:
    kinds = [kind for kind in get_args(notices.Notice) if isinstance(kind, type)]
    rows = [
        f"| `{kind.NAME}` | {', '.join(f'`{field.name}`' for field in fields(kind))} "
        f"| {_meaning(kind)} |"
        for kind in sorted(kinds, key=lambda kind: kind.NAME)
    ]
    return "\n".join(
        (
            "# Events",
            "",
            "`GET /events` is a stream of server-sent events. Each has an id. A client that comes",
            "back with `Last-Event-ID` gets what it missed; where that is not kept any more it",
            "gets `stream.reset` and reads the state anew. A comment is sent every 15 s.",
            "",
            "| event | fields | meaning |",
            "|---|---|---|",
            *rows,
            "",
            "Times are RFC 3339 in UTC, durations are seconds. The `line` of `oauth.ledger` has",
            f"{', '.join(f'`{field.name}`' for field in fields(LedgerLine))}; `outcome` is one of",
            f"{', '.join(f'`{outcome.value}`' for outcome in Outcome)}.",
        )
    )


def _meaning(kind: type) -> str:
    doc = inspect.getdoc(kind) or ""
    return "" if doc.startswith(kind.__name__ + "(") else _cell(" ".join(doc.split()))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


PAGES: Final[Mapping[str, Callable[[], str]]] = {
    "reference/configuration.md": configuration,
    "reference/commands.md": commands,
    "reference/rest.md": rest,
    "reference/health-causes.md": causes,
    "reference/exit-codes.md": exit_codes,
    "reference/metrics.md": metrics,
    "reference/events.md": events,
    "reference/conformance.md": conformance,
    "explanation/providers.md": providers,
}


def page(name: str) -> str:
    """The whole text of one generated page."""
    title, _, rest = PAGES[name]().strip().partition("\n")
    return f"{title}\n\n{MADE}\n{rest}\n"


if __name__ == "__main__":
    for name in PAGES:
        (DOCS / name).write_text(page(name), encoding="utf-8")
