"""The bridge as a program: `python -m tests.gateway.bridge_program PORT_FILE`.

The file holds the daemon's port; while it is empty there is no daemon.
"""

import asyncio
import sys
from pathlib import Path

from mcpproxy.gateway.bridge import Bridge
from mcpproxy.gateway.local_http import Daemon
from tests.gateway.world import KEY


def main() -> None:
    where = Path(sys.argv[1])

    def find() -> Daemon | None:
        port = where.read_text()
        return Daemon("127.0.0.1", int(port), KEY) if port else None

    asyncio.run(Bridge(find, sys.stdin.buffer, sys.stdout.buffer).run())


if __name__ == "__main__":
    main()
