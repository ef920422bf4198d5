"""The parts of the configuration file that control tools and calls: bounds and profiles."""

from typing import Literal

from pydantic import Field, field_validator

from mcpproxy.config import rules
from mcpproxy.config.model import Model, Wait

Approval = Literal["off", "changed", "all"]


class ConcurrencyModel(Model):
    """How many calls go at once and how many wait beside them."""

    max_concurrent_requests: int | None = Field(
        default=None, ge=0, description="Most calls at once; `0`: any number; default 256"
    )
    queue_size: int | None = Field(
        default=None, ge=0, description="Most calls that wait; default 1024"
    )
    queue_timeout: Wait | None = Field(
        default=None, description="Longest wait of one call; default 30 s"
    )


class ProfileToolsModel(Model):
    """Tools as `server:tool`, with `*` for anything."""

    allow: list[str] | None = Field(default=None, description="Only these; default: all")
    deny: list[str] = Field(default=[], description="Not these; wins over `allow`")

    @field_validator("allow", "deny")
    @classmethod
    def _patterns(cls, value: list[str] | None) -> list[str] | None:
        return None if value is None else rules.check_profile_patterns(value)


class ProfileModel(Model):
    """A named subset of servers and tools, at `/mcp/p/NAME`."""

    name: str = Field(description=f"Name: {rules.NAME_RULE}")
    title: str | None = Field(default=None, description="For people")
    description: str | None = Field(default=None, description="For people")
    servers: list[str] | None = Field(
        default=None, description="Only these servers; default: all; `[]`: none"
    )
    tools: ProfileToolsModel = Field(
        default_factory=ProfileToolsModel, description="Only some of their tools"
    )
    max_tier: Literal["read", "write", "destructive"] | None = Field(
        default=None, description="Strongest effect that is let through; default: any"
    )
    routing_mode: Literal["direct", "retrieve_tools"] | None = Field(
        default=None, description="How it shows the tools; default: as /mcp does"
    )

    @field_validator("name")
    @classmethod
    def _name(cls, value: str) -> str:
        return rules.check_name(value)
