"""mcp-server-time, the reference server in Python: two tools over standard input and output."""

import sys


def stdio_command() -> list[str]:
    """The command line of the server."""
    return [sys.executable, "-m", "mcp_server_time", "--local-timezone=UTC"]
