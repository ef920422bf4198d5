"""What the operating system knows of processes and boots: enough to tell the living from the dead.

Law: a process is called gone only on proof; whoever cannot be asked about counts as running.
"""

import contextlib
import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Final

PS_TIMEOUT_S: Final = 2.0
"""`ps` of one pid takes milliseconds; past this the answer is 'cannot tell'."""


@cache
def boot_id() -> str:
    """Names this boot of the machine; "" where the system has no such name."""
    if sys.platform == "linux":
        return _read("/proc/sys/kernel/random/boot_id")
    if sys.platform == "darwin":
        return _output("/usr/sbin/sysctl", "-n", "kern.bootsessionuuid")
    return ""


@cache
def pid_space() -> str:
    """Names the set of pids we can see: a container's pid says nothing outside of it."""
    with contextlib.suppress(OSError):
        return str(os.stat("/proc/self/ns/pid").st_ino)
    return ""


def started(pid: int) -> str | None:
    """A word for when process `pid` began, so that a recycled pid is not taken for it.

    None: there is no such process. "": it runs, its start is unknown.
    """
    if sys.platform == "linux":
        stat = _read(f"/proc/{pid}/stat")
        if stat:
            # The name in parentheses may hold anything; the fields after it are numbered from 3.
            state, *fields = stat.rpartition(")")[2].split()
            return None if state in "ZX" else fields[22 - 4]
    if sys.platform == "win32":
        return _started_on_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return "" if sys.platform == "linux" else _output("ps", "-o", "lstart=", "-p", str(pid))


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""


def _output(*command: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - fixed programs, a number for an argument
            command, capture_output=True, text=True, timeout=PS_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return " ".join(done.stdout.split())


if sys.platform == "win32":
    import ctypes
    from ctypes import wintypes

    _QUERY_LIMITED_INFORMATION: Final = 0x1000
    _STILL_ACTIVE: Final = 259
    _INVALID_PARAMETER: Final = 87

    def _started_on_windows(pid: int) -> str | None:
        kernel = ctypes.WinDLL("kernel32", use_last_error=True)
        kernel.OpenProcess.restype = wintypes.HANDLE
        handle = kernel.OpenProcess(_QUERY_LIMITED_INFORMATION, False, pid)
        if not handle:
            return None if ctypes.get_last_error() == _INVALID_PARAMETER else ""
        try:
            code = wintypes.DWORD()
            times = [wintypes.FILETIME() for _ in range(4)]
            kernel.GetExitCodeProcess(wintypes.HANDLE(handle), ctypes.byref(code))
            if code.value != _STILL_ACTIVE:
                return None
            kernel.GetProcessTimes(wintypes.HANDLE(handle), *map(ctypes.byref, times))
            created = times[0]
            return str((created.dwHighDateTime << 32) | created.dwLowDateTime)
        finally:
            kernel.CloseHandle(wintypes.HANDLE(handle))
