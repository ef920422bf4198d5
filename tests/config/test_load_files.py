"""References in a file, and files that cannot be read: one clear problem, nothing else breaks."""

import contextlib
import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mcpproxy.config.load import load, read_settings
from mcpproxy.config.locate import Location
from mcpproxy.config.references import References
from mcpproxy.config.schema import FileModel
from mcpproxy.core.errors import ConfigError, NotPermitted
from mcpproxy.core.model import Secret
from tests.config.files import location, problems, with_servers

# --- references -----------------------------------------------------------------------------


def test_references_are_replaced_wherever_they_stand(tmp_path: Path) -> None:
    text = with_servers(
        '[{"name": "a", "url": "https://${env:HOST}/mcp", "headers": '
        '{"Authorization": "Bearer ${env:TOKEN}"}, "oauth": {"client_secret": "${keyring:cs}"}}]'
    )
    settings = load(
        location(tmp_path, text),
        {"HOST": "x.example", "TOKEN": "t0k"},
        keyring={"cs": "sealed"}.__getitem__,
    )
    upstream = settings.upstreams["a"]
    assert upstream.url == "https://x.example/mcp"
    assert upstream.headers == {"Authorization": Secret("Bearer t0k")}
    assert upstream.oauth
    assert upstream.oauth.client_secret == Secret("sealed")
    assert upstream.problem is None


def test_a_missing_secret_concerns_its_server_alone(tmp_path: Path) -> None:
    def locked(name: str) -> str:
        raise LookupError("the keyring is locked")

    text = with_servers(
        '[{"name": "a", "url": "https://${env:GONE}/", "headers": {"A": "${keyring:b}"}},'
        ' {"name": "b", "command": "x"}]'
    )
    settings = load(location(tmp_path, text), {}, keyring=locked)
    assert settings.upstreams["a"].problem == (
        "${env:GONE}: this environment variable is not set; ${keyring:b}: the keyring is locked"
    )
    assert settings.upstreams["b"].problem is None


def test_a_url_made_by_a_reference_is_checked_like_any_other(tmp_path: Path) -> None:
    text = with_servers('[{"name": "a", "url": "${env:URL}"}]')
    (told,) = problems(tmp_path, text, {"URL": "https://u:hunter2@x.example/"})
    assert told.startswith("mcpServers[0].url: found a string (not shown); allowed: a URL without")


# --- files ----------------------------------------------------------------------------------


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="does not exist") as caught:
        load(location(tmp_path), {})
    assert caught.value.next_step


def test_a_directory_in_the_files_place_says_so(tmp_path: Path) -> None:
    (tmp_path / "mcp_config.json").mkdir()
    with pytest.raises(ConfigError, match="directory"):
        load(location(tmp_path), {})


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\xff\xfe{}", "is not UTF-8 text"),
        (b"[1]", "must hold one object"),
        (b"[" * 5_000_000, "larger than 4 MiB"),
        (b'{"a": }', "line 1, column 7"),
    ],
)
def test_a_file_that_is_no_configuration_says_why(tmp_path: Path, data: bytes, told: str) -> None:
    (tmp_path / "mcp_config.json").write_bytes(data)
    with pytest.raises(ConfigError, match=told):
        load(location(tmp_path), {})


def test_a_byte_order_mark_does_no_harm(tmp_path: Path) -> None:
    text = with_servers('[{"name": "a", "url": "https://x.example/mcp"}]')
    (tmp_path / "mcp_config.json").write_bytes(b"\xef\xbb\xbf" + text.encode())
    assert load(location(tmp_path), {}).upstreams


_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 99999)
    | st.floats()
    | st.text(max_size=12)
    | st.sampled_from(["https://x.example", "30s", "127.0.0.1:1", "${env:X}", "direct", "1e999h"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "url", "command", "headers", "oauth", "x"]), inner
        )
    ),
    max_leaves=8,
)
_KEYS = st.sampled_from(["zzz", *FileModel.model_fields])


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(st.dictionaries(_KEYS, _VALUES, max_size=6))
def test_no_file_makes_the_loader_fail_otherwise(tree: dict[str, object]) -> None:
    there = Location(Path("/nowhere/mcp_config.json"), Path("/nowhere/data"))
    with contextlib.suppress(ConfigError):
        read_settings(json.dumps(tree), there, References({}, keyring=lambda name: "v"))


def test_an_unreadable_file_is_a_matter_of_permission(tmp_path: Path) -> None:
    class Denied(type(tmp_path)):  # type: ignore[misc]
        def __fspath__(self) -> str:
            raise PermissionError(13, "Permission denied")

    with pytest.raises(NotPermitted) as caught:
        load(Location(Denied(tmp_path / "x"), tmp_path), {})
    assert caught.value.exit_code == 5
