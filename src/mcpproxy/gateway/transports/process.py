"""Child processes on each platform: their groups, their end, and the environment they get."""

import asyncio
import os
import signal
import sys
import time
from typing import Final

if sys.platform == "win32":
    import subprocess

    CREATION_FLAGS: Final = subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW
else:
    CREATION_FLAGS: Final = 0

_ASK: Final = 0
_POLL_SECONDS: Final = 0.05

# What a program needs to find its files, speak the user's language and get through the user's
# proxy. Anything else, a key above all, is given by name in the server's `env` or not at all.
_SAFE_NAMES: Final = frozenset(
    {
        "ALL_PROXY", "HOME", "HTTPS_PROXY", "HTTP_PROXY", "LANG", "LANGUAGE", "LOGNAME",
        "NODE_EXTRA_CA_CERTS", "NO_PROXY", "PATH", "REQUESTS_CA_BUNDLE", "SHELL", "SSL_CERT_DIR",
        "SSL_CERT_FILE", "TEMP", "TERM", "TMP", "TMPDIR", "TZ", "USER", "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_RUNTIME_DIR", "XDG_STATE_HOME",
        # Windows
        "APPDATA", "COMSPEC", "HOMEDRIVE", "HOMEPATH", "LOCALAPPDATA", "NUMBER_OF_PROCESSORS",
        "OS", "PATHEXT", "PROCESSOR_ARCHITECTURE", "PROGRAMDATA", "PROGRAMFILES",
        "PROGRAMFILES(X86)", "PROGRAMW6432", "SYSTEMDRIVE", "SYSTEMROOT", "USERNAME",
        "USERPROFILE", "WINDIR",
    }
)  # fmt: skip


def safe_environment() -> dict[str, str]:
    """The part of our environment that any child may see."""
    return {
        name: value
        for name, value in os.environ.items()
        if (name.upper() in _SAFE_NAMES or name.startswith("LC_"))
        # A bash function exported under a safe name is code, not a value.
        and not value.startswith("()")
    }


def terminate(group: int) -> None:
    """Ask a process group to end. On Windows its guard's job ends it instead."""
    if sys.platform != "win32":
        _signal(group, signal.SIGTERM)


def kill(group: int) -> None:
    """End what is left of a process group."""
    if sys.platform != "win32":
        _signal(group, signal.SIGKILL)
    else:
        try:
            os.kill(group, signal.SIGTERM)  # TerminateProcess, in spite of the name
        except OSError:
            return


async def end_group(group: int, patience: float) -> None:
    """End what a leader left behind: SIGTERM, and SIGKILL after `patience` seconds."""
    if sys.platform == "win32":
        return  # its job object does
    if not _signal(group, signal.SIGTERM):
        return
    deadline = time.monotonic() + patience
    # The end of a group that is not our own child has no event to wait for.
    while _signal(group, _ASK) and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(_POLL_SECONDS)
    _signal(group, signal.SIGKILL)


def _signal(group: int, number: int) -> bool:
    """Whether anything of the group was there to get the signal (0 only asks)."""
    if sys.platform != "win32":
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            return False
    return True
