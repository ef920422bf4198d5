"""The command line: one file a command, a thin client of the daemon.

Law: nothing heavy is imported before a command needs it; `main` alone turns errors into exit codes.
"""


def main() -> None:
    """The console script."""
    from mcpproxy.cli.program import run

    run()
