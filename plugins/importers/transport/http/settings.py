"""The settings that every HTTP source has, beside its own."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from importers.core.source import SourceConfig

RATE = r"^[1-9]\d{0,6}/[1-9]?\d{0,4}(s|min|h|d)$"
RATE_LIMIT = """How many calls in which time, for this account by all workers together (with REDIS_URL; in one process
without it)."""


class HttpConfig(SourceConfig):
    """How hard to ask, how long to wait, and whom to trust."""

    rate_limit: str | None = Field(
        None,
        pattern=RATE,
        description=RATE_LIMIT,
        examples=["100/30s", "600/min"],
    )
    concurrency: int = Field(4, ge=1, le=32, description="How many calls are under way at once, where pages allow it.")
    retry_attempts: int = Field(4, ge=1, le=20, description="How often one call is tried before the task fails.")
    max_wait: float = Field(
        60,
        ge=0,
        le=900,
        description="How many seconds a worker waits for the rate limit or as the system tells it. What takes longer "
        "ends the task, which Airflow starts again when it is time.",
    )
    # an answer is personal data that no policy has seen, and no erasure reaches it
    cache_ttl: int = Field(
        0,
        ge=0,
        le=86_400,
        description="For how many seconds an answer is good enough to be read again from Redis, a day at most; 0: "
        "never. What is kept there has been through no policy, and no erasure reaches it.",
    )
    connect_timeout: float = Field(10, gt=0, description="Seconds until the connection stands.")
    read_timeout: float = Field(30, gt=0, description="Seconds between two pieces of an answer.")
    call_timeout: float = Field(300, gt=0, description="Seconds until an answer is complete.")
    max_body_mb: int = Field(64, ge=1, le=4096, description="An answer that is larger, unpacked, is refused.")
    tls_minimum: Literal["1.2", "1.3"] = Field("1.2", description="The oldest version of TLS that is spoken.")
    tls_pins: tuple[str, ...] = Field(
        (),
        description="SHA-256 of public keys (base64, as in RFC 7469), one of which the system must have. By default "
        "any that a trusted certificate vouches for.",
    )
