"""Where the daemon's Unix socket is.

Law: the command line and the daemon come to the same path from the same data dir, and neither
loads a web framework for it.
"""

import os
from pathlib import Path
from typing import Final

MAX_SOCKET_PATH: Final = 100
"""Linux takes 107 bytes, macOS 103."""


def socket_path(data_dir: Path) -> Path:
    """The daemon's Unix socket. A data dir whose path is too long for one gets a directory of
    its own for temporary files, named after the data dir.
    """
    path = data_dir / "mcpproxy.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    import hashlib
    import tempfile

    digest = hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]
    owner = os.getuid() if hasattr(os, "getuid") else "user"
    return Path(tempfile.gettempdir()) / f"mcpproxy-{owner}" / f"{digest}.sock"
