"""The rules of mcpproxy, pure: no clock, no tasks, no input or output, no randomness."""
