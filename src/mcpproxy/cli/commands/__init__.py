"""One file a command; `mcpproxy.cli.program.COMMANDS` names them all."""
