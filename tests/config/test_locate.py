"""Flags before environment before file before defaults."""

import subprocess
import sys
from pathlib import Path

import pytest

from mcpproxy.config.locate import Flags, locate, reach
from mcpproxy.core.errors import ConfigError


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_without_anything_all_is_in_the_home_directory(home: Path) -> None:
    found = reach(Flags(), {})
    assert found.location.config_path == home / ".mcpproxy" / "mcp_config.json"
    assert found.location.data_dir == home / ".mcpproxy"
    assert (found.listen, found.api_key, found.problem) == ("127.0.0.1:8080", None, None)
    assert found.location.listen is None


def test_a_data_directory_holds_its_own_configuration(tmp_path: Path) -> None:
    for found in (
        locate(Flags(data_dir=str(tmp_path / "d")), {"MCPPROXY_DATA_DIR": "/elsewhere"}),
        locate(Flags(), {"MCPPROXY_DATA_DIR": str(tmp_path / "d")}),
    ):
        assert found.config_path == tmp_path / "d" / "mcp_config.json"
        assert found.data_dir == tmp_path / "d"


def test_the_file_names_what_flags_and_environment_leave_open(tmp_path: Path, home: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text('{"listen": "127.0.0.1:1", "api_key": "in-file", "data_dir": "vault"}')
    found = reach(Flags(config=str(path)), {})
    assert (found.listen, found.api_key) == ("127.0.0.1:1", "in-file")
    assert found.location.data_dir == tmp_path / "vault"
    environ = {
        "MCPPROXY_CONFIG": str(path),
        "MCPPROXY_LISTEN": "127.0.0.1:2",
        "MCPPROXY_API_KEY": "in-env",
        "MCPPROXY_LOG_LEVEL": "WARN",
    }
    found = reach(Flags(data_dir="~/mine"), environ)
    assert (found.listen, found.api_key) == ("127.0.0.1:2", "in-env")
    assert found.location == (path, home / "mine", "127.0.0.1:2", "in-env", "warn")
    assert reach(Flags(listen="127.0.0.1:3"), environ).listen == "127.0.0.1:3"


def test_comments_in_the_file_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text('{ // mine\n "listen": "127.0.0.1:1", }')
    assert reach(Flags(config=str(path)), {}).listen == "127.0.0.1:1"


@pytest.mark.parametrize("text", ["{", "[]", '{"listen": 5, "data_dir": [], "api_key": null}'])
def test_a_broken_file_keeps_no_command_from_starting(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.json"
    path.write_text(text)
    found = reach(Flags(config=str(path)), {})
    assert found.listen == "127.0.0.1:8080"
    assert (found.problem is not None) == (text == "{")


def test_a_key_kept_in_the_environment_is_followed(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_text('{"api_key": "${env:KEY}"}')
    assert reach(Flags(config=str(path)), {"KEY": "k"}).api_key == "k"
    assert reach(Flags(config=str(path)), {}).api_key is None


def test_an_unknown_log_level_is_refused() -> None:
    with pytest.raises(ConfigError, match='"loud"'):
        locate(Flags(log_level="loud"), {})


def test_a_command_that_locates_loads_neither_pydantic_nor_asyncio() -> None:
    probe = (
        "import sys; from mcpproxy.config.locate import Flags, reach; reach(Flags(), {});"
        "print(sorted({'pydantic', 'asyncio', 'msgspec', 'ssl'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
