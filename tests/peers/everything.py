"""The reference "everything" server of the protocol's authors, over each of its transports."""

from pathlib import Path

from tests.peers.process import Process, answers, free_port, node, node_package

PROGRAM = "@modelcontextprotocol/server-everything/dist/index.js"


def stdio_command() -> list[str]:
    """The command line of the server over standard input and output."""
    return [node(), node_package(PROGRAM), "stdio"]


class EverythingServer(Process):
    """The server over HTTP: `url` is its endpoint. transport: "streamableHttp" or "sse"."""

    def __init__(
        self, log_dir: Path, *, transport: str = "streamableHttp", port: int | None = None
    ) -> None:
        self.port = port or free_port()
        origin = f"http://127.0.0.1:{self.port}"
        self.url = f"{origin}/{'sse' if transport == 'sse' else 'mcp'}"
        super().__init__(
            f"everything-{transport}",
            [node(), node_package(PROGRAM), transport],
            log_dir=log_dir,
            env={"PORT": str(self.port)},
            ready=lambda: answers(f"{origin}/no-such-page"),
        )
