"""What reaches a log: one line a record, no control characters, no secrets."""

import io
import json
import logging
import os
import stat
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import structlog

from mcpproxy.core.model import OAuthConfig, Secret, Upstream
from mcpproxy.observability.known_secrets import configured_secrets
from mcpproxy.observability.logs import LEVELS, LogFormat, LogSettings, configure_logging
from mcpproxy.observability.redaction import MAX_LEARNED, Redactor
from tests.peers import machine

OPAQUE = "canary0123456789abcdefABCDEF"
JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJjYW5hcnkifQ.c2lnbmF0dXJlY2FuYXJ5"
FORMS = {
    "bearer header": f"Authorization: Bearer {OPAQUE}",
    "basic header": f"authorization: Basic {OPAQUE}",
    "api key header": f"X-API-Key: {OPAQUE}",
    "cookie": f"Set-Cookie: {OPAQUE}",
    "json access": json.dumps({"access_token": OPAQUE, "expires_in": 1}),
    "json refresh": json.dumps({"refresh_token": OPAQUE}),
    "python repr": repr({"refresh_token": OPAQUE}),
    "form": f"grant_type=refresh_token&refresh_token={OPAQUE}&client_secret={OPAQUE}",
    "code in url": f"GET http://127.0.0.1:1/cb?code={OPAQUE}&state={OPAQUE}",
    "key in url": f"http://127.0.0.1/api?apikey={OPAQUE}",
    "verifier": f"code_verifier={OPAQUE}",
    "assertion": f"client_assertion={OPAQUE}",
    "password": f"password: {OPAQUE}",
    "registration": json.dumps({"registration_access_token": OPAQUE}),
    "jwt": f"got {JWT} here",
    "github": f"gho_{OPAQUE}",
    "google": f"ya29.{OPAQUE}",
    "slack": f"xoxb-{OPAQUE}",
}


@pytest.fixture
def terminal() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    level, handlers = root.level, list(root.handlers)
    yield io.StringIO()
    for handler in [each for each in root.handlers if each not in handlers]:
        root.removeHandler(handler)
        handler.close()
    root.setLevel(level)
    structlog.reset_defaults()


def log_to(
    terminal: io.StringIO, directory: Path, *, redactor: Redactor | None = None,
    level: str = "trace", file_format: LogFormat = LogFormat.TEXT,
) -> Path:  # fmt: skip
    settings = LogSettings(level, directory, file_format=file_format)
    configure_logging(settings, redactor or Redactor(), terminal=terminal)
    return directory / "main.log"


@pytest.mark.parametrize("form", FORMS)
def test_no_form_of_a_secret_is_written_at_any_level(
    terminal: io.StringIO, tmp_path: Path, form: str
) -> None:
    file = log_to(terminal, tmp_path / "logs")
    text = FORMS[form]
    logger = structlog.stdlib.get_logger("test").bind(server="one")
    for level in LEVELS.values():
        logging.getLogger("library").log(level, "sent %s", text)
    logger.debug(text, body=text, headers={"x": text})
    try:
        raise ValueError(text)
    except ValueError:
        logger.exception("failed")
        logging.getLogger("library").exception("failed")
    for written in (terminal.getvalue(), file.read_text()):
        assert written.count("\n") == 8
        assert OPAQUE not in written
        assert JWT not in written
        assert "[redacted]" in written


def test_a_value_that_was_learned_is_redacted_wherever_it_stands(
    terminal: io.StringIO, tmp_path: Path
) -> None:
    redactor = Redactor()
    redactor.learn(Secret(OPAQUE))
    log_to(terminal, tmp_path, redactor=redactor)
    forms = (
        OPAQUE,
        f"x {OPAQUE}.",
        f"k={OPAQUE}",
        f"('{OPAQUE}',)",
        f"/v1/{OPAQUE}/x",
        f"-{OPAQUE}-",
    )
    for text in forms:
        logging.getLogger("library").warning("%s", text)
    assert OPAQUE not in terminal.getvalue()
    assert terminal.getvalue().count("[redacted]") == len(forms)


def test_a_private_key_is_redacted_whole_or_cut_off() -> None:
    key = "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\nabc=\n-----END EC PRIVATE KEY-----"
    for text in (f"read {key}\nthen", f"read {key[:45]}"):
        shown = Redactor().text(text)
        assert shown.startswith("read [redacted]")
        assert "MHc" not in shown
    assert Redactor().text(f"{key} and more").endswith(" and more")


def test_a_private_key_is_redacted_a_line_at_a_time_too() -> None:
    key = machine.pem(machine.ec_key())
    oauth = OAuthConfig(client_id="c", private_key=Secret(key))
    redactor = Redactor()
    redactor.learn(*configured_secrets(Upstream("one", url="https://one.example", oauth=oauth)))
    for line in key.splitlines()[1:-1]:
        assert redactor.text(f"stderr: {line}") == "stderr: [redacted]"


def test_a_field_named_private_key_is_redacted_whatever_it_holds() -> None:
    body = machine.pem(machine.ec_key()).splitlines()[1]
    assert Redactor().field("private_key", body[:20]) == "[redacted]"
    assert body not in Redactor().text(f'{{"private_key": "{body}"}}')
    for words in (
        "oauth.private_key: this is no key",
        "private_key_file: /keys/of-the-reports.pem",
    ):
        assert Redactor().text(words) == words


def test_an_empty_value_is_nowhere() -> None:
    redactor = Redactor()
    redactor.learn(Secret(""), Secret(OPAQUE))
    for words in ("https://mcp.example.com//mcp/", "a-word-that-ends-in=", "==============="):
        assert redactor.text(words) == words


def test_thousands_of_secrets_are_remembered_and_the_oldest_forgotten_first(
    terminal: io.StringIO, tmp_path: Path
) -> None:
    redactor = Redactor()
    redactor.learn(*(Secret(f"learned-value-{n:06}") for n in range(MAX_LEARNED + 10)))
    assert redactor.text("learned-value-000009") == "learned-value-000009"
    assert redactor.text("learned-value-000010") == "[redacted]"
    assert "learned-value" not in repr(vars(redactor))


def test_fields_named_like_secrets_are_redacted_whatever_they_hold(
    terminal: io.StringIO, tmp_path: Path
) -> None:
    log_to(terminal, tmp_path)
    structlog.stdlib.get_logger("t").info(
        "x", token="short", client_secret="s3", my_password="p", api_key="k", expires=5
    )
    written = terminal.getvalue()
    assert written.count("[redacted]") == 4
    assert "expires=5" in written


def test_a_secret_object_shows_its_fingerprint_only(terminal: io.StringIO, tmp_path: Path) -> None:
    log_to(terminal, tmp_path)
    secret = Secret(OPAQUE)
    structlog.stdlib.get_logger("t").info("x", value=secret)
    assert f"Secret(#{secret.fingerprint})" in terminal.getvalue()


@pytest.mark.parametrize(
    "hostile", ["\x1b[2J", "\x9b31m", "a\nlevel=error fake", "\r", "\u202e", "\u200b"]
)
def test_a_value_stays_on_its_line_and_shows_no_control_character(
    terminal: io.StringIO, tmp_path: Path, hostile: str
) -> None:
    file = log_to(terminal, tmp_path)
    structlog.stdlib.get_logger("t").info(f"m {hostile}", value=hostile)
    for written in (terminal.getvalue(), file.read_text()):
        assert written.count("\n") == 1
        assert hostile not in written
        assert all(ord(char) >= 32 for char in written.rstrip("\n"))


def test_json_lines_are_json(terminal: io.StringIO, tmp_path: Path) -> None:
    file = log_to(terminal, tmp_path, file_format=LogFormat.JSON)
    structlog.stdlib.get_logger("room").warning("it happened", server="a b", n=3)
    found = json.loads(file.read_text())
    assert found["event"] == "it happened"
    assert (found["level"], found["server"], found["n"]) == ("warning", "a b", 3)
    assert found["logger"] == "room"


def test_the_level_decides_and_libraries_that_print_headers_stay_quiet(
    terminal: io.StringIO, tmp_path: Path
) -> None:
    log_to(terminal, tmp_path, level="info")
    logging.getLogger("room").debug("not this")
    logging.getLogger("room").info("but this")
    log_to(terminal, tmp_path, level="trace")
    logging.getLogger("room").log(5, "traced")
    for library in ("httpx2", "aiohttp.client", "uvicorn.access"):
        logging.getLogger(library).debug("headers")
    written = terminal.getvalue()
    assert "not this" not in written
    assert "headers" not in written
    assert "but this" in written
    assert "TRACE   traced" in written


def test_configuring_twice_does_not_write_twice(terminal: io.StringIO, tmp_path: Path) -> None:
    log_to(terminal, tmp_path)
    file = log_to(terminal, tmp_path)
    logging.getLogger("room").info("once")
    assert terminal.getvalue().count("once") == file.read_text().count("once") == 1


def test_log_files_are_private_whatever_the_umask(terminal: io.StringIO, tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        directory = tmp_path / "logs"
        directory.mkdir(mode=0o777)
        (directory / "main.log").touch(mode=0o666)
        file = log_to(terminal, directory)
        logging.getLogger("room").info("x")
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(directory.stat().st_mode) == 0o700


def test_the_file_is_rotated_at_its_bound(terminal: io.StringIO, tmp_path: Path) -> None:
    settings = LogSettings("info", tmp_path, max_bytes=2000, backups=2)
    configure_logging(settings, Redactor(), terminal=terminal)
    for number in range(100):
        logging.getLogger("room").info("line %d %s", number, "x" * 50)
    files = sorted(path.name for path in tmp_path.iterdir())
    assert files == ["main.log", "main.log.1", "main.log.2"]
    assert all(path.stat().st_size <= 2000 for path in tmp_path.iterdir())
    assert all(stat.S_IMODE(path.stat().st_mode) == 0o600 for path in tmp_path.iterdir())


def test_the_terminal_stays_quiet_when_that_is_asked_for(
    terminal: io.StringIO, tmp_path: Path
) -> None:
    settings = LogSettings("info", tmp_path, console=False)
    configure_logging(settings, Redactor(), terminal=terminal)
    logging.getLogger("x").error("said")
    assert terminal.getvalue() == ""
    assert "said" in (tmp_path / "main.log").read_text()


def test_rotated_files_are_kept_for_their_days_and_no_longer(
    terminal: io.StringIO, tmp_path: Path
) -> None:
    days = {"main.log.1": 1, "main.log.2": 31, "main.log.3": 29, "other.log.1": 31}
    for name, age in days.items():
        (tmp_path / name).write_text("old")
        then = time.time() - age * 86400
        os.utime(tmp_path / name, (then, then))
    settings = LogSettings("info", tmp_path, max_age=timedelta(days=30))
    configure_logging(settings, Redactor(), terminal=terminal)
    logging.getLogger("x").error("said")
    kept = {path.name for path in tmp_path.iterdir()}
    assert kept == {"main.log", "main.log.1", "main.log.3", "other.log.1"}
