"""What a server has done, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)

SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300)
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/models", "/health", "/metrics")


class Metrics:
    """Counters of one server. ``running`` and ``waiting``: requests being answered, and those with the ones in line."""

    media_type = CONTENT_TYPE_LATEST

    def __init__(self, model: str, running: Callable[[], int], waiting: Callable[[], int]) -> None:
        self._registry = CollectorRegistry()
        options: dict[str, Any] = {"registry": self._registry, "namespace": "vitrail"}
        self._requests = Counter(
            "requests", "Requests answered or refused, by path and status.", ("path", "status"), **options
        )
        self._seconds = Histogram(
            "request_seconds",
            "From a request's head to the end of its answer.",
            ("path",),
            buckets=SECONDS,
            **options,
        )
        self._first = Histogram(
            "time_to_first_token_seconds",
            "From the line to an answer's first piece.",
            buckets=SECONDS,
            **options,
        )
        self._prompts = Counter("prompt_tokens", "Tokens of prompts.", **options)
        self._made = Counter("generation_tokens", "Tokens of answers.", **options)
        self._fetched = Counter(
            "pictures_fetched", "Pictures asked for by address, by whether they came.", ("came",), **options
        )
        Gauge("requests_running", "Requests being answered.", **options).set_function(running)
        Gauge("requests_waiting", "Requests in line.", **options).set_function(lambda: waiting() - running())
        Gauge("model_info", "The model's name.", ("model",), **options).labels(model).set(1)

    def requested(self, path: str, status: int, seconds: float) -> None:
        """A request has ended; 499: its client hung up."""
        known = path if path in PATHS else "other"
        self._requests.labels(known, str(status)).inc()
        self._seconds.labels(known).observe(seconds)

    def answered(self, prompt: int, made: int, first: float | None = None) -> None:
        """Tokens of an order's prompts and answers; the seconds until its first piece."""
        self._prompts.inc(prompt)
        self._made.inc(made)
        if first is not None:
            self._first.observe(first)

    def fetched(self, came: bool) -> None:
        """A picture was asked for by address."""
        self._fetched.labels("yes" if came else "no").inc()

    def text(self) -> bytes:
        """All of it."""
        return generate_latest(self._registry)
