"""The daemon as a process: settings, the data dir's lock, logs, signals, the event loop.

Law: the data dir is ours before anything in it is opened; SIGTERM stops in order, once.
"""

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import structlog

from mcpproxy.app import App, log_directory
from mcpproxy.config.edit import ConfigFile
from mcpproxy.config.load import load
from mcpproxy.config.locate import Flags, Location, locate
from mcpproxy.config.settings import Settings
from mcpproxy.core.model import Secret
from mcpproxy.observability.logs import LogFormat, LogSettings, configure_logging
from mcpproxy.observability.redaction import Redactor
from mcpproxy.storage.files import private_directory
from mcpproxy.storage.ownership import Ownership, claim

_log = structlog.get_logger("mcpproxy")


@dataclass(frozen=True, slots=True)
class Announcement:
    """What `serve` tells the person who started it. The key is for their terminal alone."""

    endpoint: str
    api_key: Secret
    config_path: Path


Announce = Callable[[Announcement], None]


def run(flags: Flags, announce: Announce) -> None:
    """Run the daemon until it is told to stop. Raises McpproxyError with its exit code."""
    environ = os.environ
    location = locate(flags, environ)
    ConfigFile(location, environ).prepare()
    settings = load(location, environ)
    _take_name()
    private_directory(settings.data_dir)
    ownership = claim(settings.data_dir)
    try:
        redactor = Redactor()
        redactor.learn(settings.api_key)
        configure_logging(_log_settings(settings), redactor)
        for warning in settings.warnings:
            _log.warning("configuration", warning=warning)
        _run_loop(_serve(location, settings, ownership, redactor, announce))
    finally:
        ownership.release()


def _take_name() -> None:
    """`pkill mcpproxy` finds the daemon by its name on Linux, also where that would be python's."""
    with suppress(OSError):
        Path("/proc/self/comm").write_text("mcpproxy")


def _run_loop(main: Coroutine[Any, Any, None]) -> None:
    """On uvloop where there is one."""
    if sys.platform == "win32":
        asyncio.run(main)
        return
    import uvloop

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main)


async def _serve(
    location: Location,
    settings: Settings,
    ownership: Ownership,
    redactor: Redactor,
    announce: Announce,
) -> None:
    stopping = asyncio.Event()
    _on_signals(stopping.set)
    app = App(location, settings, redactor)
    try:
        await app.start(ownership)
        _calm_collector()
        announce(Announcement(app.endpoint, settings.api_key, settings.config_path))
        await stopping.wait()
        _log.info("stopping")
    finally:
        await app.stop()


def _calm_collector() -> None:
    """What has been built lives as long as we do: look for garbage only in what came later, and
    less often. A call leaves none behind; looking cost a tenth of its work.
    """
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)


def _log_settings(settings: Settings) -> LogSettings:
    log = settings.log
    return LogSettings(
        level=log.level.value,
        directory=log_directory(settings) if log.enable_file else None,
        filename=log.filename,
        max_bytes=log.max_size_mb * 1024 * 1024,
        backups=log.max_backups,
        max_age=timedelta(days=log.max_age_days),
        console=log.enable_console,
        file_format=LogFormat.JSON if log.json_format else LogFormat.TEXT,
    )


def _on_signals(stop: Callable[[], None]) -> None:
    """The first SIGINT or SIGTERM stops in order; a second SIGINT ends at once."""
    if sys.platform == "win32":
        signal.signal(signal.SIGINT, lambda *_: stop())
        return
    loop = asyncio.get_running_loop()

    def interrupted() -> None:
        stop()
        loop.remove_signal_handler(signal.SIGINT)

    loop.add_signal_handler(signal.SIGTERM, stop)
    loop.add_signal_handler(signal.SIGINT, interrupted)
