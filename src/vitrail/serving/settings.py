"""What a server allows."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field, model_validator

from vitrail.data.decoding import MAX_PIXELS
from vitrail.data.fetching.addresses import Hosts, Networks

AGENT = "vitrail/0.1 (a picture that somebody asks about)"


class Limits(BaseModel):
    """What one request may ask for, and how many may be here at once.

    ``queue``: requests that are here at a time, those being answered included. ``body``: bytes of a request, which
    must arrive within ``patience`` seconds. ``images``, ``pixels``: pictures of a request, and pixels of one.
    ``max_tokens``: of one answer; ``choices``: answers of a request (``n`` times prompts). ``top_logprobs``: likely
    tokens told at each place. ``stop``: stop texts. ``together``: answers made at once (1: one after the other), whose
    prompts and answers may come to ``cache_tokens`` (None: what fits into the memory that is free when it starts).
    ``inputs``: texts of a request for embeddings.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    queue: int = Field(default=64, ge=1)
    body: int = Field(default=32 * 2**20, ge=1)
    patience: float = Field(default=30.0, gt=0)
    images: int = Field(default=64, ge=0)
    pixels: int = Field(default=MAX_PIXELS, ge=1)
    max_tokens: int = Field(default=4096, ge=1)
    choices: int = Field(default=64, ge=1)
    top_logprobs: int = Field(default=20, ge=0)
    stop: int = Field(default=16, ge=0)
    together: int = Field(default=32, ge=1)
    cache_tokens: int | None = Field(default=None, ge=1)
    inputs: int = Field(default=2048, ge=1)


class Fetching(BaseModel):
    """How pictures are fetched that a request names by address.

    ``max_seconds``: until all of one request are here, redirects and waiting included. ``max_bytes`` of one (together
    they may have as many as a body); ``max_redirects`` of one; ``together``: fetched at a time, of one host a quarter.
    ``ports``: none for all. ``allow_hosts``: these hosts alone, ``*.example.org`` for all below one (none: every public
    one). ``allow_networks``: networks that are not public and may be asked all the same, as ``10.1.0.0/16``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    max_seconds: float = Field(default=10.0, gt=0, allow_inf_nan=False)
    max_bytes: int = Field(default=10 * 2**20, ge=1)
    max_redirects: int = Field(default=3, ge=0)
    together: int = Field(default=64, ge=1)
    ports: tuple[int, ...] = (80, 443)
    allow_hosts: tuple[str, ...] = ()
    allow_networks: tuple[str, ...] = ()
    user_agent: str = Field(default=AGENT, min_length=1, pattern=r"^[\x20-\x7e]+$")

    @model_validator(mode="after")
    def _names_are_read(self) -> Fetching:
        Hosts(self.allow_hosts)
        Networks(self.allow_networks)
        return self


class Serving(BaseModel):
    """A server: the name under which the model is served, limits, the key that clients must show (None: none).

    ``hosts``: names by which it may be addressed (None: any); a web page that makes a browser ask under a name of its
    own is refused. ``page``: whether ``/`` is a page to talk to the model in a browser. ``fetching``: how pictures are
    fetched that a request names by address (None: they are refused, and nothing is fetched).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    limits: Limits = Limits()
    key: str | None = Field(default=None, min_length=1, repr=False)
    hosts: tuple[str, ...] | None = None
    page: bool = True
    fetching: Fetching | None = None
