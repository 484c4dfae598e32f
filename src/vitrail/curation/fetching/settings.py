"""What may be set of fetching."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from vitrail.data.decoding import MAX_PIXELS
from vitrail.storage.cache import key

AGENT = "vitrail/0.1 (pictures of web documents)"


class FetchSettings(BaseModel):
    """How politely, and how much at most.

    ``user_agent``: who asks; its first word is looked up in robots.txt. Say there how to reach you. ``per_second``:
    requests to one host; ``hosts``: how many hosts side by side; ``retries`` with pauses from ``backoff`` seconds on;
    ``max_wait``: the longest pause; ``give_up``: failures of a host in a row. ``max_seconds`` of a request,
    ``max_bytes`` of its body and ``max_pixels`` of the picture; ``max_redirects``. ``ports``: none for all.
    ``allow_networks``: networks that are not public and may be asked all the same, as ``10.1.0.0/16``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    user_agent: str = Field(default=AGENT, min_length=1, pattern=r"^[\x20-\x7e]+$")
    per_second: float = Field(default=1.0, gt=0)
    hosts: int = Field(default=16, ge=1, le=256)
    retries: int = Field(default=3, ge=0)
    backoff: float = Field(default=1.0, ge=0)
    max_wait: float = Field(default=60.0, ge=0)
    give_up: int = Field(default=10, ge=1)
    max_seconds: float = Field(default=30.0, gt=0)
    max_bytes: int = Field(default=20_000_000, ge=1)
    max_pixels: int = Field(default=MAX_PIXELS, ge=1)
    max_redirects: int = Field(default=5, ge=0)
    ports: tuple[int, ...] = (80, 443, 8000, 8080, 8443)
    allow_networks: tuple[str, ...] = ()

    def terms(self) -> str:
        """A hash of all that may make an address fail for good."""
        return key("terms of fetching", self.model_dump(mode="json", exclude={"per_second", "hosts"}))
