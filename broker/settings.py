"""Every setting, typed, validated at start, read from the environment in two places only (the two ``main`` modules).

Prefix ``REJOINDER_``. Durations are seconds, sizes bytes. ``rejoinder config`` prints them with their source.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

_DEFAULT_ROUTES = {"gpt-*": "openai", "o1*": "openai", "o3*": "openai", "o4*": "openai", "claude-*": "anthropic"}


class ProviderConfig(BaseModel):
    """``[providers.NAME]`` in the TOML file: a further OpenAI-compatible upstream (Gemini, vLLM, Ollama …)."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: Literal["openai", "openai-responses"] = Field(
        default="openai", description="What it speaks: /chat/completions, or /responses"
    )
    base_url: str
    api_key_env: str | None = Field(default=None, description="The variable that holds the key; unset = no key is sent")
    models: list[str] = Field(default_factory=list[str], description="Names shown in GET /v1/models")
    can_continue: bool = Field(default=False, description="The server honours continue_final_message (vLLM)")
    takes_reasoning: bool = Field(
        default=True, description="What the model thought goes back to it as reasoning_content; Groq refuses that"
    )
    background: bool = Field(
        default=False, description="kind openai-responses: answers are made in the background (ADR 0016)"
    )


class Settings(BaseSettings):
    """The settings of every process. Raises ``pydantic.ValidationError`` naming what does not hold."""

    model_config = SettingsConfigDict(env_prefix="REJOINDER_", frozen=True, extra="ignore", populate_by_name=True)

    redis_url: str = Field(default="redis://127.0.0.1:6379/0", description="The log: redis://, rediss:// or unix://")
    queue_url: str | None = Field(default=None, description="The job queue; default: the server of the log")
    key_prefix: str = Field(
        default="rejoinder", pattern=r"^[A-Za-z0-9_.:-]{1,64}$", description="Begins every Redis key"
    )
    api_keys: Annotated[dict[str, SecretStr], NoDecode] = Field(
        default_factory=dict[str, SecretStr], description="tenant:key,tenant2:key2; unset = open, on loopback only"
    )
    lease_s: float = Field(default=10.0, ge=0.5, le=600, description="How long a silent worker keeps its generation")
    heartbeat_s: float = Field(default=15.0, gt=0, le=600, description="Silence on a stream before a heartbeat")
    retention_s: int = Field(default=3600, ge=1, le=30 * 86400, description="How long a log stays after its end")
    max_log_bytes: int = Field(default=8 * 2**20, ge=1024, description="Text one generation may hold")
    max_body_bytes: int = Field(default=4 * 2**20, ge=1024, description="Body one request may have")
    max_queue: int = Field(
        default=10_000, ge=1, description="Generations that may wait or run; past that 503 queue_full"
    )
    max_jobs: int = Field(default=1000, ge=1, description="Generations one worker runs at once")
    max_attempts: int = Field(
        default=3, ge=1, description="Workers a generation may lose before it fails as worker_lost"
    )
    max_retries: int = Field(default=5, ge=0, description="Retries of a refusing provider before the first token")
    stall_s: float = Field(default=120.0, gt=0, description="Silence of a provider that counts as a stall")
    connect_s: float = Field(default=10.0, gt=0, description="Time to connect to a provider")
    drain_delay_s: float = Field(default=0.0, ge=0, description="How long a node serves on, unready, after SIGTERM")
    worker_drain_s: float = Field(
        default=25.0, ge=0, description="How long a worker lets generations finish after SIGTERM"
    )
    wait_replicas: int = Field(
        default=0, ge=0, le=10, description="Replicas that must have a generation's end before it counts as kept (WAIT)"
    )
    wait_aof: bool = Field(
        default=False, description="A generation's end must be on the server's disk before it counts as kept (WAITAOF)"
    )
    wait_s: float = Field(default=1.0, gt=0, le=4, description="How long to wait for either of them")
    retry_join_s: float = Field(
        default=30.0,
        ge=0,
        le=3600,
        description="How long after its end an SDK's retry still gets its generation; 0 = retries are new submits",
    )
    hold_s: float = Field(default=30.0, ge=0, description="How long a stream request waits for Redis to come back")
    send_timeout_s: float = Field(
        default=30.0, gt=0, description="How long a socket may take nothing before it is broken off"
    )
    ws_max_subscriptions: int = Field(default=256, ge=1, description="Generations that one WebSocket may read at once")
    rate_limit: str | None = Field(
        default=None, pattern=r"^[1-9][0-9]*/(second|minute|hour)$", description="Submits per tenant, e.g. 60/minute"
    )
    cors_origins: Annotated[list[str], NoDecode] = Field(
        default_factory=list[str], description="Origins that browsers may call from, comma-separated; * = any"
    )
    live: Literal["direct", "plain", "poll"] = Field(
        default="direct",
        description="How live entries travel: direct = fast path, plain = redis-py and ASGI, poll = no notices",
    )
    page_cache_bytes: int = Field(default=64 * 2**20, ge=0, description="Encoded pages of logs a node keeps; 0 = none")
    log_format: Literal["text", "json"] = Field(default="text", description="Form of the log lines")
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least level that is logged"
    )
    node_name: str | None = Field(default=None, description="Sent as X-Rejoinder-Node; default: host and pid")
    config: Path | None = Field(default=None, description="TOML file with [providers.NAME] and [routes] tables")
    openai_api_key: SecretStr | None = Field(
        default=None, validation_alias="OPENAI_API_KEY", description="OpenAI's key"
    )
    openai_base_url: str | None = Field(
        default=None, validation_alias="OPENAI_BASE_URL", description="OpenAI's base URL"
    )
    anthropic_api_key: SecretStr | None = Field(
        default=None, validation_alias="ANTHROPIC_API_KEY", description="Anthropic's key"
    )
    anthropic_base_url: str | None = Field(
        default=None, validation_alias="ANTHROPIC_BASE_URL", description="Anthropic's base URL"
    )

    @field_validator("api_keys", mode="before")
    @classmethod
    def _parse_keys(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        keys: dict[str, str] = {}
        for pair in filter(None, (part.strip() for part in value.split(","))):
            tenant, colon, key = pair.partition(":")
            if not colon or not tenant or not key:
                raise ValueError("expected tenant:key,tenant2:key2")
            if tenant in keys:
                raise ValueError(f"tenant {tenant!r} stands twice")
            keys[tenant] = key
        return keys

    @field_validator("cors_origins", mode="before")
    @classmethod
    def _parse_origins(cls, value: object) -> object:
        return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value

    @field_validator("redis_url", "queue_url")
    @classmethod
    def _known_scheme(cls, value: str | None) -> str | None:
        if value is not None and not value.startswith(("redis://", "rediss://", "unix://")):
            raise ValueError("expected redis://, rediss:// or unix://")
        return value

    @model_validator(mode="after")
    def _file_is_whole(self) -> Self:
        self.file()
        return self

    def file(self) -> FileConfig:
        """The TOML file's tables; empty where no file is named. Raises ``ValueError`` for a file that is not whole."""
        if self.config is None:
            return FileConfig()
        try:
            return FileConfig.model_validate(tomllib.loads(self.config.read_text()))
        except (OSError, tomllib.TOMLDecodeError, ValidationError) as error:
            raise ValueError(f"{self.config}: {error}") from error


class FileConfig(BaseModel):
    """What the TOML file may hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    providers: dict[str, ProviderConfig] = Field(default_factory=dict[str, ProviderConfig])
    routes: dict[str, str] = Field(
        default_factory=lambda: dict(_DEFAULT_ROUTES), description="Glob of a bare model name -> provider"
    )
