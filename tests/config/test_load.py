"""The file becomes settings, or every problem in it is told at once, by its path."""

import json
from datetime import timedelta
from pathlib import Path

import pytest

from mcpproxy.config.listen import Listen
from mcpproxy.config.load import load
from mcpproxy.config.settings import RoutingMode
from mcpproxy.core.model import OAuthConfig, Secret, Transport
from mcpproxy.core.policy import DEFAULT_POLICY
from tests.config.files import KEY, loaded, location, problem, problems, with_servers


def test_the_smallest_file_has_the_defaults(tmp_path: Path) -> None:
    settings = loaded(tmp_path, f'{{"api_key": "{KEY}"}}')
    assert settings.listen == Listen("127.0.0.1", 8080)
    assert settings.api_key == Secret(KEY)
    assert settings.require_mcp_auth is True
    assert settings.routing_mode is RoutingMode.RETRIEVE_TOOLS
    assert settings.refresh == DEFAULT_POLICY
    assert settings.upstreams == {}
    assert settings.warnings == ()


FULL = """{
  // The whole of it.
  "listen": "127.0.0.1:9999",
  "api_key": "a-key-for-tests-0123456789",
  "routing_mode": "direct",
  "require_mcp_auth": false,
  "call_tool_timeout": "2m30s",
  "trusted_hosts": ["proxy.example"],
  "logging": {"level": "debug", "max_size": 3, "log_dir": "logs"},
  "oauth_refresh": {"min_interval": 1, "backoff_base": "500ms", "token_wait": "3s"},
  "outbound": {"proxy": "http://proxy.example:3128", "ca_file": "/etc/ca.pem"},
  "mcpServers": [
    {"name": "github-mcp", "url": "https://api.example/mcp", "protocol": "streamable-http",
     "headers": {"X-Team": "a"}, "oauth": {"scopes": ["repo"], "extra_params": {"audience": "x"}}},
    {"name": "files", "command": "npx", "args": ["-y", "files"], "env": {"ROOT": "/srv"},
     "working_dir": "work", "enabled": false, "quarantined": true},
  ],
}"""


def test_every_key_arrives(tmp_path: Path) -> None:
    settings = loaded(tmp_path, FULL)
    assert str(settings.listen) == "127.0.0.1:9999"
    assert settings.routing_mode is RoutingMode.DIRECT
    assert settings.require_mcp_auth is False
    assert settings.call_timeout == timedelta(seconds=150)
    assert settings.trusted_hosts == ("proxy.example",)
    assert (settings.log.level, settings.log.max_size_mb) == ("debug", 3)
    assert settings.log.directory == tmp_path / "logs"
    assert settings.refresh.min_interval == timedelta(seconds=1)
    assert settings.refresh.backoff_base == timedelta(milliseconds=500)
    assert settings.refresh.backoff_cap == DEFAULT_POLICY.backoff_cap
    assert settings.outbound.proxy == Secret("http://proxy.example:3128")
    github, files = settings.upstreams["github-mcp"], settings.upstreams["files"]
    assert github.transport is Transport.STREAMABLE_HTTP
    assert github.headers == {"X-Team": Secret("a")}
    assert github.oauth == OAuthConfig(scopes=("repo",), extra_params={"audience": "x"})
    assert (files.command, files.args) == ("npx", ("-y", "files"))
    assert files.env == {"ROOT": Secret("/srv")}
    assert files.working_dir == str(tmp_path / "work")
    assert (files.enabled, files.quarantined) == (False, True)
    assert settings.warnings == ()


def test_servers_may_be_an_object_keyed_by_name_as_other_clients_write_them(
    tmp_path: Path,
) -> None:
    settings = loaded(
        tmp_path,
        with_servers(
            '{"a": {"type": "http", "url": "https://a.example/mcp", "disabled": true},'
            ' "b": {"command": "x", "args": null, "cwd": "/srv"}}'
        ),
    )
    assert settings.upstreams["a"].transport is Transport.HTTP
    assert settings.upstreams["a"].enabled is False
    assert settings.upstreams["b"].working_dir == "/srv"
    assert settings.warnings == ()


def test_a_file_of_the_go_project_loads(tmp_path: Path) -> None:
    settings = loaded(
        tmp_path,
        json.dumps(
            {
                "listen": ":8085",
                "data_dir": "/tmp/data",
                "api_key": "test-api-key",
                "enable_socket": True,
                "tools_limit": 15,
                "call_tool_timeout": "2m0s",
                "health_check_interval": "30s",
                "routing_mode": "retrieve_tools",
                "tls": {"enabled": False},
                "profiles": [],
                "docker_isolation": {"enabled": False},
                "logging": {"level": "info", "max_size": 10, "compress": True},
                "mcpServers": [
                    {
                        "name": "oauth-server",
                        "url": "http://127.0.0.1:9000/mcp",
                        "protocol": "streamable-http",
                        "oauth": {"scopes": ["read"], "pkce_enabled": True},
                        "enabled": True,
                        "quarantined": False,
                        "created": "2025-01-01T00:00:00Z",
                        "isolation": None,
                        "reconnect_on_use": True,
                    }
                ],
            }
        ),
    )
    assert str(settings.listen) == "127.0.0.1:8085"
    assert settings.upstreams["oauth-server"].oauth == OAuthConfig(scopes=("read",))
    assert not [line for line in settings.warnings if "unknown key" in line]
    assert "the file: no effect in this program: docker_isolation" in settings.warnings[0]


def test_unknown_keys_are_warned_about_by_their_path(tmp_path: Path) -> None:
    text = with_servers('[{"name": "a", "command": "x", "colour": 1, "oauth": {"scop": []}}]')
    settings = loaded(tmp_path, text.replace("{", '{"lsten": "x", "logging": {"lvl": 1}, ', 1))
    assert set(settings.warnings) == {
        "lsten: unknown key; it is kept and has no effect",
        "logging.lvl: unknown key; it is kept and has no effect",
        "mcpServers[0].colour: unknown key; it is kept and has no effect",
        "mcpServers[0].oauth.scop: unknown key; it is kept and has no effect",
    }


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('"listen": "8080"', 'listen: found "8080"; allowed: HOST:PORT'),
        ('"listen": "h:99999"', 'listen: found "h:99999"; allowed: HOST:PORT'),
        ('"listen": "https://h:1"', 'listen: found "https://h:1"; allowed: HOST:PORT'),
        ('"require_mcp_auth": "yes"', 'require_mcp_auth: found "yes"; allowed: true or false'),
        (
            '"routing_mode": "fast"',
            'routing_mode: found "fast"; allowed: "direct" or "retrieve_tools"',
        ),
        (
            '"call_tool_timeout": "soon"',
            'call_tool_timeout: found "soon"; allowed: a span of time such as 30 (seconds)',
        ),
        ('"logging": {"max_age": 0}', "logging.max_age: found 0; allowed: 1 or more"),
        ('"logging": {"max_age": 1.5}', "logging.max_age: found 1.5; allowed: a whole number"),
        ('"logging": []', "logging: found an array; allowed: an object {...}"),
        (
            '"logging": {"filename": "../x"}',
            'logging.filename: found "../x"; allowed: a plain file name',
        ),
        ('"mcpServers": 5', "mcpServers: allowed: an array of servers, or an object"),
        ('"mcpServers": [5]', "mcpServers[0]: found 5; allowed: an object {...}"),
        (
            '"oauth_refresh": {"refresh_fraction": 1}',
            "oauth_refresh.refresh_fraction: found 1; allowed: less than 1",
        ),
        (
            '"oauth_refresh": {"lease_ttl": 5}',
            "oauth_refresh: an attempt must fit inside its lease",
        ),
        ('"outbound": {"proxy": "socks5://u:hunter2@x"}', "outbound.proxy: found a string (not"),
        ('"tools_limit": 1, "tools_limit": 2', "tools_limit: it stands twice, again at line 1"),
        ('"database_url": "${env:DB}"', "${env:DB}: this environment variable is not set"),
    ],
)
def test_a_wrong_value_names_its_path_what_was_found_and_what_is_allowed(
    tmp_path: Path, text: str, told: str
) -> None:
    assert problem(tmp_path, f'{{"api_key": "{KEY}", {text}}}').startswith(told)


@pytest.mark.parametrize(
    ("server", "told"),
    [
        ('{"command": "x"}', "mcpServers[0].name: nothing there; allowed: a value"),
        (
            '{"name": "Git Hub", "command": "x"}',
            'mcpServers[0].name: found "Git Hub"; allowed: lower-case letters, digits, - and _, '
            'starting with a letter or digit, up to 63; try "git-hub"',
        ),
        ('{"name": "../etc", "command": "x"}', 'mcpServers[0].name: found "../etc"'),
        ('{"name": "", "command": "x"}', 'mcpServers[0].name: found ""; allowed: lower-case'),
        (
            '{"name": "a", "url": "https://x.example", "protocol": "websocket"}',
            'mcpServers[0].protocol: found "websocket"; allowed: "auto", "http", '
            '"streamable-http", "sse" or "stdio"',
        ),
        (
            '{"name": "a", "url": "https://x.example", "command": "x"}',
            'mcpServers[0]: it has a "url" and a "command"',
        ),
        ('{"name": "a"}', 'mcpServers[0]: it has neither a "url" nor a "command"'),
        (
            '{"name": "a", "command": "x", "protocol": "sse"}',
            'mcpServers[0]: a "command" is spoken with over stdio, not "sse"',
        ),
        (
            '{"name": "a", "url": "https://x.example", "protocol": "stdio"}',
            'mcpServers[0]: a "url" is spoken with over http, sse or auto',
        ),
        ('{"name": "a", "url": "ftp://x.example"}', "mcpServers[0].url: found a string (not"),
        ('{"name": "a", "url": "https://x:y/"}', "mcpServers[0].url: found a string (not"),
        ('{"name": "a", "url": "javascript:alert(1)"}', "mcpServers[0].url: found a string (n"),
        (
            '{"name": "a", "url": "http://x.example.com/mcp"}',
            'mcpServers[0]: its "url" is plain http to a public host',
        ),
        (
            '{"name": "a", "url": "https://x", "oauth": {"extra_params": {"state": "1"}}}',
            "mcpServers[0].oauth.extra_params: found an object; allowed: parameters other than",
        ),
        ('{"name": "a", "command": "x", "args": ["-p", 80]}', "mcpServers[0].args[1]: found a num"),
    ],
)
def test_a_wrong_server_names_its_path(tmp_path: Path, server: str, told: str) -> None:
    assert problem(tmp_path, with_servers(f"[{server}]")).startswith(told)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:3000/mcp",
        "http://127.0.0.1/mcp",
        "http://[::1]:1/mcp",
        "http://192.168.1.5/mcp",
        "http://nas.local/mcp",
        "http://fixture:8000/mcp",
    ],
)
def test_plain_http_is_allowed_where_it_stays_near(tmp_path: Path, url: str) -> None:
    assert loaded(tmp_path, with_servers(f'[{{"name": "a", "url": "{url}"}}]')).upstreams


def test_plain_http_to_a_public_host_is_allowed_when_asked_for(tmp_path: Path) -> None:
    server = '[{"name": "a", "url": "http://x.example.com/", "allow_insecure": true}]'
    assert loaded(tmp_path, with_servers(server)).upstreams["a"].url == "http://x.example.com/"


def test_a_name_given_twice_names_both_places(tmp_path: Path) -> None:
    text = with_servers('[{"name": "a", "command": "x"}, {"name": "a", "command": "y"}]')
    assert problem(tmp_path, text) == (
        'mcpServers[1].name: "a" is taken by mcpServers[0]; allowed: a name of its own'
    )
    text = with_servers('{"a": {"command": "x"}, "a": {"command": "y"}}')
    assert problem(tmp_path, text).startswith("mcpServers.a: it stands twice")


def test_all_problems_are_told_at_once(tmp_path: Path) -> None:
    text = """{
      "listen": 5, "trusted_hosts": "many",
      "mcpServers": [{"name": "A", "command": "x"}, {"name": "b", "protocol": "x"}]
    }"""
    assert [line.partition(":")[0] for line in problems(tmp_path, text)] == [
        "listen",
        "mcpServers[0].name",
        "mcpServers[1].protocol",
        "trusted_hosts",
    ]


def test_a_file_without_a_key_is_refused_when_nobody_gives_one(tmp_path: Path) -> None:
    assert problem(tmp_path, "{}").startswith("api_key: nothing there")
    there = location(tmp_path, "{}")._replace(api_key="from-the-environment")
    assert load(there, {}).api_key == Secret("from-the-environment")


def test_what_overrides_the_file_wins(tmp_path: Path) -> None:
    there = location(tmp_path, FULL)._replace(listen="[::1]:7", log_level="trace", api_key="k")
    settings = load(there, {})
    assert settings.listen == Listen("::1", 7)
    assert str(settings.listen) == "[::1]:7"
    assert settings.log.level == "trace"
    assert settings.api_key == Secret("k")


def test_no_secret_is_shown_by_a_problem_or_by_the_settings(tmp_path: Path) -> None:
    told = problems(
        tmp_path,
        '{"api_key": 271828, "database_url": 314159, "mcpServers": [{"name": "a", "url": '
        '"https://u:hunter2@x.example/", "headers": {"Authorization": 141421}, '
        '"oauth": {"client_secret": 161803}}]}',
    )
    shown = " ".join(told)
    for secret in ("271828", "314159", "hunter2", "141421", "161803"):
        assert secret not in shown
    settings = loaded(
        tmp_path,
        '{"api_key": "hunter2-aaaaaaaaaaaa", "database_url": "postgresql://u:hunter2@h/d", '
        '"outbound": {"proxy": "http://u:hunter2@p:1"}, "mcpServers": [{"name": "a", '
        '"url": "https://x.example/", "headers": {"A": "hunter2"}, '
        '"oauth": {"client_secret": "hunter2"}}]}',
    )
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        (r'"command": "x", "args": ["ok", "\ud800"]', "args[1]: found a lone surrogate"),
        (r'"command": "x", "args": ["a\u0000b"]', "args[0]: found a NUL character"),
        (r'"command": "x", "env": {"A": "\u0000"}', "env.A: found a NUL character"),
        (r'"command": "x", "env": {"A=B": "1"}', 'env."A=B": found "="'),
        (r'"command": "x", "env": {"\ud800": "1"}', r'env."\ud800": found a lone surrogate'),
        (r'"command": "x\udfff"', "command: found a lone surrogate"),
        (
            r'"url": "https://a.example", "headers": {"A": "b\r\nC: d"}',
            "headers.A: found a control",
        ),
        (r'"url": "https://a.example", "headers": {"A": "\u007f"}', "headers.A: found a control"),
        (r'"url": "https://a.example", "headers": {"A b": "c"}', 'headers."A b": found a name'),
        (r'"url": "https://a.example", "headers": {"": "c"}', 'headers."": found a name'),
        (r'"command": "x", "unknown": {"deep": ["\ud800"]}', "unknown.deep[0]: found a lone"),
    ],
)
def test_text_that_no_program_or_server_takes_is_refused(
    tmp_path: Path, entry: str, words: str
) -> None:
    told = problem(tmp_path, with_servers(f'[{{"name": "a", {entry}}}]'))
    assert told.startswith(f"mcpServers[0].{words}")
    assert "; allowed: " in told


def test_text_of_several_lines_is_an_argument_and_a_variable(tmp_path: Path) -> None:
    entry = r'{"name": "a", "command": "sh", "args": ["-c", "a\n\tb"], "env": {"PEM": "a\nb"}}'
    found = loaded(tmp_path, with_servers(f"[{entry}]")).upstreams["a"]
    assert found.args == ("-c", "a\n\tb")


def test_a_reference_to_text_that_no_server_takes_is_refused_without_showing_it(
    tmp_path: Path,
) -> None:
    entry = '{"name": "a", "url": "https://a.example", "headers": {"A": "${env:X}"}}'
    (told,) = problems(tmp_path, with_servers(f"[{entry}]"), {"X": "secret\r\nB: c"})
    assert "headers.A" in told
    assert "secret" not in told


@pytest.mark.parametrize(
    ("key", "value"),
    [("min_interval", 0), ("backoff_base", "0s"), ("backoff_cap", 0), ("connect_timeout", "0ms"),
     ("lease_ttl", "0s"), ("answer_timeout", 0)],
)  # fmt: skip
def test_a_time_of_refreshing_that_is_nothing_is_refused_by_its_path(
    tmp_path: Path, key: str, value: str | int
) -> None:
    text = json.dumps({"api_key": KEY, "oauth_refresh": {key: value}})
    assert problem(tmp_path, text).startswith(f"oauth_refresh.{key}: ")


def test_times_of_refreshing_that_contradict_each_other_are_refused(tmp_path: Path) -> None:
    text = json.dumps({"api_key": KEY, "oauth_refresh": {"answer_timeout": "39s"}})
    assert problem(tmp_path, text).startswith("oauth_refresh: ")


@pytest.mark.parametrize(
    "uri",
    ["http://127.0.0.1:99999/cb", "http://127.0.0.1:0/cb", "http://127.0.0.1/cb", "http://[", "cb",
     "http://example.com:8080/cb", "ftp://127.0.0.1:80/", "https://", "https://x:99999/cb"],
)  # fmt: skip
def test_a_redirect_uri_that_nobody_could_listen_for_is_refused(tmp_path: Path, uri: str) -> None:
    server = {"name": "a", "url": "https://a.example", "oauth": {"redirect_uri": uri}}
    told = problem(tmp_path, with_servers(json.dumps([server])))
    assert told.startswith("mcpServers[0].oauth.redirect_uri: found ")
    assert "http://127.0.0.1:PORT/" in told


@pytest.mark.parametrize(
    "uri",
    ["http://127.0.0.1:1/cb", "http://localhost:65535/", "http://[::1]:8080/x", "${env:MINE}",
     "https://login.example/cb"],
)  # fmt: skip
def test_a_redirect_uri_on_loopback_or_https_is_taken(tmp_path: Path, uri: str) -> None:
    server = {"name": "a", "url": "https://a.example", "oauth": {"redirect_uri": uri}}
    oauth = loaded(tmp_path, with_servers(json.dumps([server]))).upstreams["a"].oauth
    assert oauth is not None
    assert oauth.redirect_uri == uri
