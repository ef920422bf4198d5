"""An MCP server over stdio that tells what it was started with: arguments, environment, directory.

`command()` gives its command line. Tools: environment (JSON), crash (ends the process), pid, noise.
"""

import json
import os
import sys


def command() -> list[str]:
    """The command line of the server."""
    return [sys.executable, "-m", "tests.peers.environment"]


def main() -> None:
    from mcp.server.mcpserver import MCPServer

    server = MCPServer(name="environment")

    @server.tool()
    def environment() -> str:
        """The arguments, the environment and the working directory, as JSON."""
        return json.dumps({"argv": sys.argv[1:], "env": dict(os.environ), "cwd": os.getcwd()})

    @server.tool()
    def pid() -> int:
        """The number of this process."""
        return os.getpid()

    @server.tool()
    def noise(line: str) -> str:
        """Write a line to standard error."""
        print(line, file=sys.stderr, flush=True)
        return line

    @server.tool()
    def crash(code: int = 70) -> str:
        """End at once, without an answer."""
        os._exit(code)

    server.run()


if __name__ == "__main__":
    main()
