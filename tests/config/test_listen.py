"""One form of address everywhere."""

import pytest

from mcpproxy.config.listen import Listen, parse_listen, read_listen
from mcpproxy.core.errors import UsageError


@pytest.mark.parametrize(
    ("text", "listen"),
    [
        ("127.0.0.1:8080", Listen("127.0.0.1", 8080)),
        ("localhost:1", Listen("localhost", 1)),
        ("[::1]:8080", Listen("::1", 8080)),
        (":8081", Listen("127.0.0.1", 8081)),
        (" 127.0.0.1:0 ", Listen("127.0.0.1", 0)),
    ],
)
def test_addresses_are_read_in_the_forms_people_write(text: str, listen: Listen) -> None:
    assert parse_listen(text) == listen


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "127.0.0.1",
        "h:70000",
        "h:-1",
        "::1:80",
        "h:8o",
        "h:²",
        "8082",
        "h:" + "9" * 5000,
        "[h:1",
        "a b:1",
        "http://h:1",
        "[::1]",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="HOST:PORT"):
        parse_listen(text)
    with pytest.raises(UsageError, match="not an address"):
        read_listen(text)
