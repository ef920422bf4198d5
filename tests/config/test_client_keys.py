"""Clients that prove themselves in the configuration: keys, their files, and what contradicts."""

import json
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from mcpproxy.config.load import load
from mcpproxy.config.locate import Flags, locate
from mcpproxy.core.errors import ConfigError
from mcpproxy.core.model import AssertionAudience, GrantType, OAuthConfig, Secret, Upstream
from tests.config.files import loaded, problem, with_servers
from tests.peers import machine

KEY = machine.pem(machine.ec_key())
URL = "https://api.example/mcp"


def server(**oauth: object) -> str:
    return with_servers(json.dumps([{"name": "api", "url": URL, "oauth": oauth}]))


def upstream(directory: Path, environ: dict[str, str] | None = None, **oauth: object) -> Upstream:
    return loaded(directory, server(**oauth), environ).upstreams["api"]


def config(found: Upstream) -> OAuthConfig:
    assert found.oauth is not None
    assert found.problem is None
    return found.oauth


def test_a_key_in_the_file_beside_the_configuration_is_read(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    (tmp_path / "keys" / "api.pem").write_text(KEY)
    found = config(upstream(tmp_path, client_id="c", private_key_file="keys/api.pem"))
    assert found.private_key == Secret(KEY)
    assert found.grant_type is GrantType.AUTHORIZATION_CODE


def test_everything_about_a_key_arrives(tmp_path: Path) -> None:
    found = config(
        upstream(
            tmp_path,
            client_id="c",
            private_key=KEY,
            key_id="k1",
            signing_alg="ES256",
            assertion_audience="endpoint",
            grant_type="client_credentials",
        )
    )
    assert (found.key_id, found.signing_alg) == ("k1", "ES256")
    assert found.assertion_audience is AssertionAudience.ENDPOINT
    assert found.grant_type is GrantType.CLIENT_CREDENTIALS


@pytest.mark.parametrize("text", [KEY, KEY.replace("\n", "\\n")])
def test_a_key_may_come_from_the_environment_with_its_lines_or_without(
    tmp_path: Path, text: str
) -> None:
    found = upstream(tmp_path, {"KEY": text}, client_id="c", private_key="${env:KEY}")
    assert config(found).private_key == Secret(KEY)


def test_a_reference_that_is_missing_is_the_only_complaint(tmp_path: Path) -> None:
    found = upstream(
        tmp_path, {}, client_id="c", private_key="${env:KEY}", grant_type="client_credentials"
    )
    assert found.problem == "${env:KEY}: this environment variable is not set"


PUBLIC = "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQ\n-----END PUBLIC KEY-----\n"
OPENSSH = "-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n-----END OPENSSH PRIVATE KEY-----\n"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("hello", "no key in PEM form"),
        ("", "no key in PEM form"),
        (b"\xff\xfe", "no key in PEM form"),
        (PUBLIC, "not a private key"),
        (OPENSSH, "ssh-keygen -p -m PKCS8"),
        (machine.pem(machine.ec_key(), "secret"), "without a passphrase"),
    ],
)
def test_a_file_that_is_no_such_key_is_named_and_misconfigures_its_server_alone(
    tmp_path: Path, text: str | bytes, told: str
) -> None:
    path = tmp_path / "api.pem"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    found = upstream(tmp_path, client_id="c", private_key_file="api.pem")
    assert found.problem is not None
    assert found.problem.startswith(f"oauth.private_key_file: {path}: ")
    assert told in found.problem


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    found = upstream(tmp_path, client_id="c", private_key_file="api.pem")
    path = tmp_path / "api.pem"
    assert found.problem == f"oauth.private_key_file: {path}: No such file or directory"


def test_a_pipe_in_place_of_a_key_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "api.pem")
    found = upstream(tmp_path, client_id="c", private_key_file="api.pem")
    assert found.problem is not None
    assert "no regular file" in found.problem


def test_a_pipe_in_place_of_the_configuration_is_refused_and_not_waited_for(
    tmp_path: Path,
) -> None:
    pipe = tmp_path / "pipe.json"
    os.mkfifo(pipe)
    with pytest.raises(ConfigError, match="no regular file"):
        load(locate(Flags(config=str(pipe), data_dir=str(tmp_path)), {}), {})


def test_a_pipe_in_place_of_certificates_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ca.pem")
    text = with_servers('[], "outbound": {"ca_file": "ca.pem"}')
    assert "no regular file" in problem(tmp_path, text)
    assert loaded(tmp_path, text.replace("ca.pem", "none.pem")).outbound.ca_file is not None


@pytest.mark.parametrize(
    ("of_file", "of_directory", "is_said"),
    [(0o644, 0o755, True), (0o640, 0o755, False), (0o644, 0o750, False)],
)
def test_a_key_that_every_user_can_read_is_taken_and_said(
    of_file: int, of_directory: int, is_said: bool
) -> None:
    with TemporaryDirectory() as made:
        directory = Path(made)
        key = directory / "api.pem"
        key.write_text(KEY)
        key.chmod(of_file)
        directory.chmod(of_directory)
        settings = loaded(directory, server(client_id="c", private_key_file="api.pem"))
        assert config(settings.upstreams["api"]).private_key == Secret(KEY)
        said = [each for each in settings.warnings if "every user" in each]
        assert bool(said) is is_said
        assert all("private_key_file" in each and f"chmod 600 {key}" in each for each in said)


BARE = "".join(KEY.splitlines()[1:-1])


@pytest.mark.parametrize(
    "text",
    [KEY, KEY.replace("\n", "\\n"), KEY.replace("\n", " "), BARE, f"secret/{'x' * 256}"],
    ids=["lines", "escaped", "one line", "bare", "too long"],
)
@pytest.mark.parametrize("way", ["file", "environment"])
def test_a_key_in_the_place_of_its_path_is_not_shown(tmp_path: Path, text: str, way: str) -> None:
    written = text if way == "file" else "${env:KEY}"
    found = upstream(tmp_path, {"KEY": text}, client_id="c", private_key_file=written)
    assert found.problem == (
        "oauth.private_key_file: this is the key itself: put it into `oauth.private_key`"
    )


@pytest.mark.parametrize("key", ["signing_alg", "grant_type", "assertion_audience"])
def test_a_key_in_the_place_of_a_word_is_not_shown(tmp_path: Path, key: str) -> None:
    line = problem(tmp_path, server(client_id="c", **{key: KEY}))
    assert f"oauth.{key}: found a string (not shown); allowed: " in line


def test_a_wrong_key_in_the_configuration_is_named_by_its_path_and_not_shown(
    tmp_path: Path,
) -> None:
    found = upstream(tmp_path, client_id="c", private_key="sesame-open")
    assert found.problem is not None
    assert found.problem.startswith("oauth.private_key: ")
    assert "sesame" not in found.problem


@pytest.mark.parametrize(
    ("oauth", "told"),
    [
        ({"grant_type": "client_credentials", "client_secret": "s"}, 'need a "client_id"'),
        (
            {"grant_type": "client_credentials", "client_id": "c"},
            'need a "client_secret" or a "private_key"',
        ),
        ({"client_id": "c", "private_key": KEY, "private_key_file": "x"}, "keep one"),
        ({"client_id": "c", "private_key": KEY, "client_secret": "s"}, "what the provider wants"),
        ({"private_key": KEY}, 'no "client_id"'),
    ],
)
def test_what_contradicts_itself_is_refused(
    tmp_path: Path, oauth: dict[str, object], told: str
) -> None:
    line = problem(tmp_path, server(**oauth))
    assert line.startswith("mcpServers[0]: ")
    assert told in line
    assert "BEGIN" not in line


@pytest.mark.parametrize(
    ("key", "value"),
    [("grant_type", "password"), ("signing_alg", "HS256"), ("assertion_audience", "everybody")],
)
def test_a_word_that_is_not_one_of_those_allowed_is_refused(
    tmp_path: Path, key: str, value: str
) -> None:
    line = problem(tmp_path, server(client_id="c", **{key: value}))
    assert line.startswith(f"mcpServers[0].oauth.{key}: ")
