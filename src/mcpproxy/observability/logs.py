"""Logging of the whole process: structlog through stdlib logging, to the terminal and to a file.

Law: one record is one line, free of control characters and of secrets, whoever wrote it.
Libraries that print headers or URLs when they are talkative never get below their safe level.
"""

import json
import logging
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from mcpproxy.core.text import escape_unsafe, shorten
from mcpproxy.observability.files import BACKUPS, MAX_BYTES, PrivateFileHandler
from mcpproxy.observability.redaction import Redactor

TRACE: Final = 5
LEVELS: Final[Mapping[str, int]] = {
    "trace": TRACE,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "error": logging.ERROR,
}
MAX_VALUE: Final = 8192
"""Characters of one value: a long traceback fits, a body that slipped in does not."""

_SAFE_LEVELS: Final[Mapping[str, int]] = {
    "httpx2": logging.WARNING,
    "httpcore2": logging.WARNING,
    "aiohttp": logging.WARNING,
    "uvicorn": logging.WARNING,
    "uvicorn.access": logging.CRITICAL,
    "asyncio": logging.WARNING,
    "keyring": logging.WARNING,
}
_COLOURS: Final[Mapping[str, str]] = {
    "trace": "\x1b[2m",
    "debug": "\x1b[2m",
    "info": "\x1b[32m",
    "warning": "\x1b[33m",
    "error": "\x1b[31m",
    "critical": "\x1b[31;1m",
}
_HANDLER_NAME: Final = "mcpproxy"


class LogFormat(StrEnum):
    """How a line of the log file looks; the terminal always gets the readable one."""

    TEXT = "text"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class LogSettings:
    """`level` is a key of LEVELS; `directory` None writes no file, `max_age` None
    keeps them all.
    """

    level: str = "info"
    directory: Path | None = None
    filename: str = "main.log"
    max_bytes: int = MAX_BYTES
    backups: int = BACKUPS
    file_format: LogFormat = LogFormat.TEXT
    max_age: timedelta | None = None
    console: bool = True


def configure_logging(
    settings: LogSettings, redactor: Redactor, *, terminal: TextIO | None = None
) -> None:
    """Route everything that is logged in this process. May be called again: a reload."""
    level = LEVELS[settings.level]
    logging.addLevelName(TRACE, "TRACE")
    handlers: list[logging.Handler] = []
    if settings.console:
        stream = terminal if terminal is not None else sys.stderr
        console = logging.StreamHandler(stream)
        console.setFormatter(_formatter(redactor, _TextRenderer(colour=wants_colour(stream))))
        handlers.append(console)
    if settings.directory is not None:
        file = PrivateFileHandler(
            settings.directory / settings.filename,
            max_bytes=settings.max_bytes,
            backups=settings.backups,
            max_age=settings.max_age,
        )
        as_json = settings.file_format is LogFormat.JSON
        renderer = _render_json if as_json else _TextRenderer(colour=False)
        file.setFormatter(_formatter(redactor, renderer))
        handlers.append(file)
    _replace_handlers(handlers, level)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )


def wants_colour(stream: TextIO) -> bool:
    """Only on a terminal, and only if nobody asked for none (https://no-color.org)."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def _replace_handlers(handlers: list[logging.Handler], level: int) -> None:
    root = logging.getLogger()
    for old in [handler for handler in root.handlers if handler.get_name() == _HANDLER_NAME]:
        root.removeHandler(old)
        old.close()
    for handler in handlers:
        handler.set_name(_HANDLER_NAME)
        root.addHandler(handler)
    root.setLevel(level)
    for name, safe in _SAFE_LEVELS.items():
        logging.getLogger(name).setLevel(max(safe, level))
    logging.captureWarnings(True)


class _TextRenderer:
    """`TIME LEVEL message key=value …`; values with spaces are quoted."""

    def __init__(self, *, colour: bool) -> None:
        self._colour = colour

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> str:
        time, level, message = event.pop("time"), event.pop("level"), event.pop("event")
        word = f"{level.upper():<7}"
        if self._colour:
            word = f"{_COLOURS.get(level, '')}{word}\x1b[0m"
        fields = " ".join(f"{name}={_quoted(value)}" for name, value in event.items())
        return f"{time} {word} {message} {fields}".rstrip()


def _render_json(_logger: WrappedLogger, _method: str, event: EventDict) -> str:
    head = {name: event.pop(name) for name in ("time", "level", "event")}
    return json.dumps({**head, **event}, ensure_ascii=False, default=str)


def _quoted(value: object) -> str:
    text = str(value)
    return text if text and not any(char in text for char in ' "=') else json.dumps(text)


def _formatter(redactor: Redactor, renderer: Processor) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        processors=[
            _take_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
            structlog.processors.format_exc_info,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _Sanitizer(redactor),
            renderer,
        ],
    )


def _take_level(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The record knows its level whichever way it was written."""
    event["level"] = event["_record"].levelname.lower()
    return event


class _Sanitizer:
    """Redacts, escapes and shortens every value, and puts the event's fields in order."""

    def __init__(self, redactor: Redactor) -> None:
        self._redactor = redactor

    def __call__(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {
            escape_unsafe(str(name)): self._value(str(name), value) for name, value in event.items()
        }

    def _value(self, name: str, value: object) -> object:
        value = self._redactor.field(name, value)
        if isinstance(value, bool | int | float) or value is None:
            return value
        return shorten(escape_unsafe(str(value)), MAX_VALUE)
