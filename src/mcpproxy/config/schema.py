"""The configuration file as it is written: every key, its type and its meaning.

Law: strict types; a key we do not know is kept and warned about; the file's words stay the
file's, `load` turns them into settings. The reference page is made from this.
"""

import re
from datetime import timedelta
from typing import Final, Literal

from pydantic import Field, field_validator

from mcpproxy.config import rules
from mcpproxy.config.listen import parse_listen
from mcpproxy.config.model import Count, Duration, Model, Wait
from mcpproxy.config.references import is_unresolved
from mcpproxy.config.schema_control import (
    Approval,
    ConcurrencyModel,
    ProfileModel,
    ProfileToolsModel,
)


class OAuthModel(Model):
    """What the provider does not tell by itself."""

    client_id: str | None = Field(default=None, description="Client that was registered by hand")
    client_secret: str | None = Field(default=None, description="Its secret, best as a reference")
    issuer: str | None = Field(
        default=None,
        description="The only provider that the client is for; default: the one the server names",
    )
    scopes: list[str] = Field(
        default=[], description="Scopes to ask for instead of the advertised ones"
    )
    redirect_uri: str | None = Field(
        default=None, description="Fixed redirect URI, where the provider wants one registered"
    )
    client_metadata_url: str | None = Field(
        default=None, description="Where our client metadata document is published (CIMD)"
    )
    extra_params: dict[str, str] = Field(
        default={}, description="Added to the authorization request"
    )
    grant_type: Literal["authorization_code", "device_code", "client_credentials"] = Field(
        default="authorization_code",
        description="How tokens are come by: a person in a browser, a person at another device, "
        "or nobody: the client's own secret or key",
    )
    private_key: str | None = Field(
        default=None,
        description="Key in PEM form that proves the client (private_key_jwt), best as a reference",
    )
    private_key_file: str | None = Field(
        default=None, description="File that holds it; a path beside the configuration file"
    )
    key_id: str | None = Field(
        default=None, description="The key's name at the provider (`kid`), where it wants one"
    )
    signing_alg: (
        Literal[
            "ES256",
            "ES384",
            "ES512",
            "RS256",
            "RS384",
            "RS512",
            "PS256",
            "PS384",
            "PS512",
            "EdDSA",
        ]
        | None
    ) = Field(default=None, description="How it signs; default: the usual way for such a key")
    assertion_audience: Literal["issuer", "endpoint"] = Field(
        default="issuer",
        description="Whom the signature names as its reader: the issuer, or the URL it is sent to "
        "(Microsoft Entra and Okta want that)",
    )

    @field_validator("extra_params")
    @classmethod
    def _extra_params(cls, value: dict[str, str]) -> dict[str, str]:
        return rules.check_extra_params(value)

    @field_validator("redirect_uri")
    @classmethod
    def _redirect_uri(cls, value: str | None) -> str | None:
        return rules.check_redirect_uri(value) if value and not is_unresolved(value) else value

    @field_validator("client_metadata_url", "issuer")
    @classmethod
    def _is_url(cls, value: str | None) -> str | None:
        if value is not None and not is_unresolved(value):
            rules.check_url(value)
        return value


class ServerModel(ConcurrencyModel):
    """One upstream MCP server."""

    name: str = Field(description=f"Name: {rules.NAME_RULE}")
    url: str | None = Field(
        default=None, description="Where the server is, if it is reached by HTTP"
    )
    command: str | None = Field(
        default=None, description="What starts it, if it is a local process"
    )
    args: list[str] = Field(default=[], description="Arguments of the command")
    env: dict[str, str] = Field(default={}, description="Environment of the command")
    working_dir: str | None = Field(default=None, description="Where the command runs")
    headers: dict[str, str] = Field(default={}, description="Sent with every request to the URL")
    protocol: Literal["auto", "http", "streamable-http", "sse", "stdio"] = Field(
        default="auto", description="How to speak with it"
    )
    enabled: bool = Field(default=True, description="Whether it is connected to")
    quarantined: bool = Field(default=False, description="Whether it waits for approval")
    enabled_tools: list[str] | None = Field(
        default=None, description="Only these tools, `*` for anything; default: all; `[]`: none"
    )
    disabled_tools: list[str] = Field(
        default=[], description="Not these tools, `*` for anything; wins over `enabled_tools`"
    )
    tool_approval: Approval | None = Field(
        default=None, description="Which definitions wait for approval; default: the file's own"
    )
    call_tool_timeout: Wait | None = Field(
        default=None,
        description="Longest call, or request for another thing; default: the file's own",
    )
    tool_timeouts: dict[str, Wait] = Field(
        default={}, description="Longest call by tool, `*` for anything; the first match counts"
    )
    allow_insecure: bool = Field(default=False, description="Allow http:// to a public host")
    oauth: OAuthModel | None = Field(
        default=None, description="OAuth details; `{}` for all discovered"
    )

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        return rules.check_name(value)

    @field_validator("url")
    @classmethod
    def _url(cls, value: str | None) -> str | None:
        if value and not is_unresolved(value):
            rules.check_url(value)
        return value

    @field_validator("enabled_tools", "disabled_tools")
    @classmethod
    def _patterns(cls, value: list[str] | None) -> list[str] | None:
        return None if value is None else rules.check_patterns(value)

    @field_validator("tool_timeouts")
    @classmethod
    def _timeouts(cls, value: dict[str, timedelta]) -> dict[str, timedelta]:
        rules.check_patterns(list(value))
        return value


class LoggingModel(Model):
    """Logs and their rotation."""

    level: Literal["trace", "debug", "info", "warn", "error"] = Field(
        default="info", description="Least severe level that is logged"
    )
    enable_file: bool = Field(default=True, description="Write log files")
    enable_console: bool = Field(default=True, description="Log to the terminal")
    log_dir: str | None = Field(default=None, description="Directory of the log files")
    filename: str = Field(default="main.log", description="Name of the main log file")
    max_size: Count = Field(default=10, description="Megabytes after which a file is rotated")
    max_backups: Count = Field(default=5, description="Rotated files that are kept")
    max_age: Count = Field(default=30, description="Days for which they are kept")
    json_format: bool = Field(default=False, description="Log files in JSON")

    @field_validator("filename")
    @classmethod
    def _filename(cls, value: str) -> str:
        if not value or any(sign in value for sign in "/\\\0") or value.startswith("."):
            raise ValueError("a plain file name, without a directory")
        return value


class RefreshModel(Model):
    """When tokens are refreshed. The defaults suit every known provider; tests go faster."""

    backoff_base: Wait | None = Field(default=None, description="First wait after a failure")
    backoff_cap: Wait | None = Field(default=None, description="Longest wait after failures")
    min_interval: Wait | None = Field(default=None, description="Least time between two attempts")
    refresh_fraction: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        strict=False,
        description="Part of a token's life after which it is due",
    )
    confirm_after: Duration | None = Field(default=None, description="When a refusal is confirmed")
    probe_after: Duration | None = Field(default=None, description="When it is asked a last time")
    connect_timeout: Wait | None = Field(default=None, description="Longest wait for a connection")
    answer_timeout: Wait | None = Field(default=None, description="Longest wait for an answer")
    lease_ttl: Wait | None = Field(default=None, description="Life of the lease of an attempt")
    token_wait: Duration | None = Field(
        default=None, description="How long a call waits for a refresh"
    )
    retry_after_cap: Duration | None = Field(
        default=None, description="Longest Retry-After that is obeyed"
    )
    keep_alive: Wait | None = Field(
        default=None, description="Longest time that a login goes without a refresh"
    )
    pace: float | None = Field(
        default=None, gt=0, strict=False, description="Most attempts a second at one provider"
    )
    burst: int | None = Field(
        default=None, ge=1, description="Attempts at one provider that the pace does not hold back"
    )
    in_flight: int | None = Field(
        default=None, ge=1, description="Most attempts at once at one provider"
    )


class OutboundModel(Model):
    """How the program reaches the world; what is left out comes from the environment."""

    proxy: str | None = Field(default=None, description="HTTP proxy for all that goes out")
    no_proxy: list[str] = Field(default=[], description="Hosts that are reached directly")
    ca_file: str | None = Field(
        default=None, description="PEM file of additional certificate authorities"
    )

    @field_validator("proxy")
    @classmethod
    def _proxy(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("http://", "https://")):
            raise ValueError("a proxy such as http://proxy.example:3128")
        return value


class FileModel(Model):
    """The file as a whole."""

    listen: str = Field(default="127.0.0.1:8080", description="Address the daemon listens on")
    data_dir: str | None = Field(default=None, description="Where logins and logs are kept")
    api_key: str | None = Field(
        default=None, description="Key of every caller; made on the first run"
    )
    require_mcp_auth: bool = Field(default=True, description="Whether /mcp asks for the key")
    routing_mode: Literal["direct", "retrieve_tools"] = Field(
        default="retrieve_tools", description="How /mcp shows the tools"
    )
    tools_limit: Count = Field(
        default=10, description="Tools in an answer of retrieve_tools, unless it asks for another"
    )
    tool_response_limit: int = Field(
        default=20_000,
        ge=0,
        description="Characters of a result in mode retrieve_tools, before the rest is kept for "
        "read_cache; `0`: any number",
    )
    database_url: str | None = Field(
        default=None, description="Where logins are stored; default embedded"
    )
    key_source: Literal["file", "keyring", "env"] = Field(
        default="file", description="Where the key that seals the logins is kept"
    )
    mcpServers: list[ServerModel] = Field(default=[], description="The upstream servers")
    call_tool_timeout: Wait = Field(
        default=timedelta(minutes=2),
        description="Longest call of a tool, or request for another thing",
    )
    init_timeout: Wait = Field(
        default=timedelta(seconds=30), description="Longest connection set-up"
    )
    max_concurrent_requests: int | None = Field(
        default=None, ge=0, description="Most calls at once in all; `0`: any number; default 1024"
    )
    queue_size: int | None = Field(
        default=None, ge=0, description="Most calls that wait for that; default 4096"
    )
    queue_timeout: Wait | None = Field(
        default=None, description="Longest wait of one call for that; default 30 s"
    )
    server_concurrency_defaults: ConcurrencyModel = Field(
        default_factory=ConcurrencyModel, description="For servers that do not say it themselves"
    )
    tool_approval: Approval = Field(
        default="changed",
        description="Which tool definitions wait for approval: none, those that change after they "
        "were first seen, or new ones too",
    )
    quarantine_enabled: bool = Field(
        default=False, description="Whether servers that a program adds wait for approval"
    )
    profiles: list[ProfileModel] = Field(
        default=[], description="Named subsets, each at an endpoint of its own"
    )
    activity_enabled: bool = Field(default=True, description="Keep a log of the calls")
    activity_arguments: bool = Field(
        default=False, description="Keep the arguments of calls too, without known secrets"
    )
    activity_retention_days: Count = Field(
        default=90, description="Days for which a call stays in the log"
    )
    activity_max_records: Count = Field(default=100_000, description="Most calls in the log")
    activity_max_size_mb: Count = Field(default=256, description="Most megabytes of the log")
    trusted_hosts: list[str] = Field(
        default=[], description="Further Host headers that are accepted"
    )
    logging: LoggingModel = Field(default_factory=LoggingModel, description="Logs")
    oauth_refresh: RefreshModel = Field(
        default_factory=RefreshModel, description="Refreshing of tokens"
    )
    outbound: OutboundModel = Field(
        default_factory=OutboundModel, description="Proxies and certificates"
    )

    @field_validator("listen")
    @classmethod
    def _listen(cls, value: str) -> str:
        parse_listen(value)
        return value


KNOWN_WITHOUT_EFFECT: Final[dict[type[Model], re.Pattern[str]]] = {
    FileModel: re.compile(
        r"\$schema|activity_.*|allow_server_.*|check_server_repo|code_execution_.*|debug_search"
        r"|disable_management|docker_.*|enable_.*|environment|features|health_check_interval"
        r"|http_.*|intent_declaration|oauth_expiry_warning_hours|observability"
        r"|read_only_mode|registries|sensitive_data_detection|telemetry|tls"
        r"|tokenizer|tool_.*|top_k|tray_.*"
    ),
    ServerModel: re.compile(
        r"created|updated|.*_tools|expose_prompts|health_check_interval|init_timeout|isolation"
        r"|launcher_wait_timeout|reconnect_on_use|tool_discovery_interval|trust_mode"
    ),
    ProfileModel: re.compile("unannotated|code_execution|management_tools|switchable_to"),
    ProfileToolsModel: re.compile("classify"),
    OAuthModel: re.compile("pkce_enabled"),
    LoggingModel: re.compile("compress"),
}
"""Keys of the Go project's files that load here and do nothing: named in one quiet line."""

ALIASES: Final[dict[str, str]] = {"transport": "protocol", "type": "protocol", "cwd": "working_dir"}
"""Other clients' words for our keys of a server."""
