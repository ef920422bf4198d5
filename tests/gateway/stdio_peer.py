"""The SDK server of `peers` as a program that speaks over stdin and stdout."""

from tests.gateway.peers import make_server

if __name__ == "__main__":
    make_server("stdio-peer").run("stdio")
