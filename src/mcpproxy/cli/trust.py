"""Who may be given the API key: our own daemon, and nobody who merely sits where it would be.

Law: what cannot be told is not trusted. Everybody on the machine may bind a port or make a
directory for temporary files; the data dir's lock and this user's directories are ours.
"""

import os
import stat
import sys
from pathlib import Path

_LISTENING = "0A"


def is_private(socket: Path, data_dir: Path) -> bool:
    """Whether only this user, or whose the data dir is, could have made the socket."""
    try:
        directory = socket.parent.stat()
        owners = {os.getuid(), data_dir.stat().st_uid}
    except OSError:
        return False
    others_write = directory.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    return directory.st_uid in owners and not others_write


def is_ours(port: int) -> bool:
    """Whether every listener on this TCP port belongs to this user. Only Linux tells."""
    if sys.platform != "linux":
        return False
    users: set[int] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        try:
            lines = Path(table).read_text().splitlines()[1:]
        except OSError:
            continue
        for line in lines:
            fields = line.split()
            if fields[3] == _LISTENING and fields[1].endswith(f":{port:04X}"):
                users.add(int(fields[7]))
    return users == {os.getuid()}
