"""`python -m mcpproxy`."""

from mcpproxy.cli import main

if __name__ == "__main__":
    main()
