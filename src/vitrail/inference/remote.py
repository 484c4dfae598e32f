"""Answers from an address that speaks OpenAI's chat completions: a server of one's own (vLLM, llama.cpp, Ollama,
SGLang), or a provider.

Nothing is asked twice: each answer is kept on disk under a hash of address, model, and the whole request, so a loop
that was killed and goes on pays once. Requests are retried with growing waits where trying again can help, or after
the wait that the address asks for (``Retry-After``); at most ``concurrency`` run at a time, and a budget of requests
and tokens is never exceeded by more than those under way. A chat that the address refuses for what it is (too long,
too large, a picture that it cannot read) is told apart from what would stop every chat: a wrong key, an unknown model.

The two packages that could stand here (``openai``, ``httpx``) would bring the one POST that is left after retries,
cache, budget and concurrency, which have to be the loop's own; Python's ``urllib`` makes it, proxies included.
"""

from __future__ import annotations

import base64
import json
import math
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from vitrail.data.records import Chat, Image, Message, Text
from vitrail.inference.generation import GenerationSettings, Reply
from vitrail.storage import atomic
from vitrail.storage.cache import default_root, key
from vitrail.storage.log import JsonlLog

RETRIED = (408, 409, 425, 429, 500, 502, 503, 504, 529)
"""Status codes after which the same request may succeed."""
STOPS = (401, 402, 403, 404, 405, 407, 410)
"""Status codes that speak of key, account, address or model; any other 4xx is about the one request."""
STOPPING = (
    "insufficient_quota",
    "invalid_api_key",
    "model_not_found",
    "unknown_parameter",
    "unsupported_parameter",
    "unsupported_value",
)
"""Codes in an error's body that say the same under whatever status."""
OF_A_CHAT = ("messages", "max_tokens")
"""Fields of a request that can be wrong for one chat and right for the next; the others are the same for all."""
LONGEST_WAIT = 60.0
"""Seconds between two tries where the address says nothing."""
LONGEST_ASKED_WAIT = 600.0
"""Seconds that an address may ask to wait; for longer the caller is told to go on later."""


class BudgetSpent(ValueError):
    """The budget of requests or tokens is used up. What was answered is kept; a larger budget goes on there."""


class RemoteSettings(BaseModel):
    """Where and how to ask.

    ``base_url``: ends in ``/v1`` usually; ``model``: its name there. ``key_variable``: the environment variable that
    holds the key (a key itself never stands in a file). ``retries`` follow a failure after ``wait`` seconds, doubled
    each time. ``max_requests`` and ``max_tokens``: the budget (None: none). ``extra``: further fields of the request.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    base_url: str = Field(pattern=r"^https?://\S+$")
    model: str = Field(min_length=1)
    key_variable: str | None = None
    timeout: float = Field(default=120.0, gt=0)
    retries: int = Field(default=5, ge=0)
    wait: float = Field(default=1.0, gt=0)
    concurrency: int = Field(default=4, ge=1)
    max_requests: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    extra: dict[str, Any] = Field(default_factory=dict)


@dataclass
class Spent:
    """What was asked for: requests that were answered, and their tokens of prompt and answer."""

    requests: int = 0
    tokens: int = 0


@dataclass(frozen=True)
class Refusal:
    """A chat that cannot be answered for what it is: the ``reason``, and the HTTP ``status`` of the address; None
    where it could not even be sent (a picture that is missing, a content that the protocol does not have).
    """

    reason: str
    status: int | None = None


class RemoteAnswerer:
    """See the module. ``cache`` is the folder of answers (default: in the user's cache); ``ledger`` a log of what was
    spent, so that a budget holds over several starts; ``sleep`` is for tests.
    """

    def __init__(
        self,
        settings: RemoteSettings,
        *,
        cache: Path | str | None = None,
        ledger: Path | str | None = None,
        sleep: Callable[[float], Any] | None = None,
    ) -> None:
        self.settings = settings
        self._cache = Path(cache) if cache is not None else default_root() / "answers"
        self._given_up = threading.Event()
        self._sleep = self._given_up.wait if sleep is None else sleep
        self._lock = threading.Lock()
        self._ledger = Path(ledger) if ledger is not None else None
        self._under_way = 0
        rows = JsonlLog(self._ledger).read() if self._ledger is not None else []
        self.spent = Spent(len(rows), sum(int(row["tokens"]) for row in rows))

    @property
    def name(self) -> str:
        """The model at its address."""
        return f"{self.settings.model} at {self.settings.base_url}"

    def ask(
        self, chats: Sequence[Chat], settings: GenerationSettings | None = None, *, root: Path | None = None
    ) -> list[Reply]:
        """Answers in order; those that are kept cost nothing.

        ValueError where the address refuses a request or cannot be reached; :class:`BudgetSpent` at the budget's end.
        What was answered until then is kept.
        """
        found: list[Reply] = []
        for one in self.ask_each(chats, settings, root=root):
            if isinstance(one, Refusal):
                raise ValueError(one.reason)
            found.append(one)
        return found

    def ask_each(
        self, chats: Sequence[Chat], settings: GenerationSettings | None = None, *, root: Path | None = None
    ) -> list[Reply | Refusal]:
        """As :meth:`ask`, with a :class:`Refusal` in the place of a chat that cannot be answered for what it is.

        ValueError for what would stop every chat alike: key, model, settings, no connection, the budget.
        """
        fields = self._fields(settings or GenerationSettings())
        self._given_up.clear()
        with ThreadPoolExecutor(self.settings.concurrency, thread_name_prefix="vitrail-ask") as pool:
            pending = [pool.submit(self._asked, chat, fields, root) for chat in chats]
            try:
                done, _ = wait(pending, return_when=FIRST_EXCEPTION)
                for one in done:
                    one.result()  # raises what stops all
                return [one.result() for one in pending]
            except BaseException:
                self._given_up.set()  # who waits to try again need not
                pool.shutdown(wait=True, cancel_futures=True)
                raise

    def _asked(self, chat: Chat, fields: Mapping[str, Any], root: Path | None) -> Reply | Refusal:
        try:
            messages = [_message(message, root) for message in chat.messages]
        except (ValueError, OSError) as error:
            return Refusal(" ".join(str(error).split()))
        try:
            return self._answer({"model": self.settings.model, "messages": messages, **fields})
        except _Refused as refused:
            return Refusal(f"{self.name} refused it with HTTP {refused.status}: {refused}", refused.status)

    def _fields(self, settings: GenerationSettings) -> dict[str, Any]:
        """What stands beside the messages. ValueError for settings that the protocol does not have."""
        if settings.num_beams != 1 or settings.top_k or settings.repetition_penalty != 1.0:
            raise ValueError(
                "num_beams, top_k and repetition_penalty are not part of chat completions; leave them out, or give "
                "them as the address calls them in 'extra'"
            )
        sampling = {"top_p": settings.top_p, "seed": settings.seed} if settings.temperature else {}
        return {
            "max_tokens": settings.max_new_tokens,
            "temperature": settings.temperature,
            **sampling,
            **self.settings.extra,
        }

    def _answer(self, body: Mapping[str, Any]) -> Reply:
        name = key("chat/completions", self.settings.base_url.rstrip("/"), dict(body))
        path = self._cache / name[:2] / f"{name}.json"
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
        else:
            kept = self._ask(body)
            atomic.write_json(path, kept)
        return Reply(kept["text"], (), kept["finished"])

    def _ask(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """One answer over the network, counted."""
        self._reserve()
        tokens: int | None = None
        try:
            for attempt in range(self.settings.retries + 1):
                try:
                    answer = self._post(body)
                    tokens, kept = _read(answer)
                    return kept
                except _TryAgain as failure:
                    if failure.wait is not None and failure.wait > LONGEST_ASKED_WAIT:
                        raise ValueError(
                            f"{self.name} asks to wait {failure.wait:,.0f} s: {failure}; go on then: nothing that was "
                            "answered is asked again"
                        ) from None
                    if attempt == self.settings.retries or self._given_up.is_set():
                        raise ValueError(
                            f"{self.name} did not answer after {attempt + 1} tries: {failure}; look at the address, or "
                            "go on later: nothing that was answered is asked again"
                        ) from None
                    self._sleep(failure.wait or min(self.settings.wait * 2**attempt, LONGEST_WAIT))
            raise AssertionError("the last attempt returns or raises")
        finally:
            self._settle(tokens)

    def _reserve(self) -> None:
        with self._lock:
            settings, spent = self.settings, self.spent
            if (
                settings.max_requests is not None
                and spent.requests + self._under_way >= settings.max_requests
            ):
                raise BudgetSpent(
                    f"{self.name}: the budget of {settings.max_requests:,} requests is spent; raise it"
                )
            if settings.max_tokens is not None and spent.tokens >= settings.max_tokens:
                raise BudgetSpent(
                    f"{self.name}: the budget of {settings.max_tokens:,} tokens is spent; raise it"
                )
            self._under_way += 1

    def _settle(self, tokens: int | None) -> None:
        with self._lock:
            self._under_way -= 1
            if tokens is None:
                return
            self.spent.requests += 1
            self.spent.tokens += tokens
            if self._ledger is not None:
                with JsonlLog(self._ledger) as log:
                    log.append({"request": self.spent.requests, "tokens": tokens})

    def _post(self, body: Mapping[str, Any]) -> Any:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.settings.key_variable is not None:
            secret = os.environ.get(self.settings.key_variable)
            if not secret:
                raise ValueError(f"key_variable: the environment has no {self.settings.key_variable}; set it")
            headers["Authorization"] = f"Bearer {secret}"
        request = urllib.request.Request(
            f"{self.settings.base_url.rstrip('/')}/chat/completions",
            data=json.dumps(body, ensure_ascii=False).encode(),
            headers=headers,
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=self.settings.timeout) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise self._failure(error, body) from None
        except (urllib.error.URLError, TimeoutError, ConnectionError, OSError) as error:
            raise _TryAgain(str(getattr(error, "reason", error))) from None
        except json.JSONDecodeError:
            raise _TryAgain("the answer is no JSON") from None

    def _failure(self, error: urllib.error.HTTPError, body: Mapping[str, Any]) -> Exception:
        """What an error's status and body mean: try again, refuse this one chat, or stop."""
        said = error.read().decode("utf-8", "replace")
        told = _told(said)
        message = " ".join(str(told.get("message") or said).split())[:300]
        code, field = told.get("code"), str(told.get("param") or "")
        about_the_chat = field.startswith("messages")
        if code in STOPPING and not about_the_chat:
            pass
        elif error.code in RETRIED:
            return _TryAgain(f"HTTP {error.code}: {message}", _seconds(error.headers.get("Retry-After")))
        elif (
            400 <= error.code < 500 and error.code not in STOPS and (field not in body or field in OF_A_CHAT)
        ):
            return _Refused(error.code, message)
        return ValueError(f"{self.name} refused a request with HTTP {error.code}: {message}")


class _Refused(Exception):
    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class _TryAgain(Exception):
    def __init__(self, why: str, wait: float | None = None) -> None:
        super().__init__(why)
        self.wait = wait


def _told(said: str) -> dict[str, Any]:
    """The error in an answer's body: OpenAI's form, or the same fields at the top; nothing where it has neither."""
    try:
        found = json.loads(said)
    except ValueError:
        return {}
    inner = found.get("error", found) if isinstance(found, dict) else None
    return inner if isinstance(inner, dict) else {}


def _seconds(text: str | None) -> float | None:
    """The wait of ``Retry-After``: seconds, or a date. None where it is neither."""
    if text is None:
        return None
    try:
        seconds = float(text)
        return max(seconds, 0.0) if math.isfinite(seconds) else None
    except ValueError:
        pass  # a date, then
    try:
        until = parsedate_to_datetime(text)
    except ValueError:
        return None
    until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
    return max((until - datetime.now(UTC)).total_seconds(), 0.0)


def _read(answer: Any) -> tuple[int, dict[str, Any]]:
    """Tokens, and what is kept of an answer."""
    try:
        choice = answer["choices"][0]
        text = choice["message"]["content"] or ""
    except (KeyError, IndexError, TypeError):
        raise _TryAgain(f"the answer has no choices[0].message.content: {json.dumps(answer)[:200]}") from None
    usage = answer.get("usage") or {}
    return int(usage.get("total_tokens") or 0), {
        "text": str(text).strip(),
        "finished": choice.get("finish_reason") != "length",
    }


def _message(message: Message, root: Path | None) -> dict[str, Any]:
    parts: list[dict[str, Any]] = []
    for part in message.content:
        if isinstance(part, Text):
            parts.append({"type": "text", "text": part.text})
        elif isinstance(part, Image):
            parts.append({"type": "image_url", "image_url": {"url": part.url or _data_url(part.read(root))}})
        else:
            raise ValueError(f"a {part.type} cannot be sent to an address; only texts and pictures can")
    if all(part["type"] == "text" for part in parts):
        return {"role": message.role, "content": "".join(part["text"] for part in parts)}
    return {"role": message.role, "content": parts}


_SIGNATURES = ((b"\x89PNG", "png"), (b"\xff\xd8", "jpeg"), (b"GIF8", "gif"), (b"RIFF", "webp"))


def _data_url(raw: bytes) -> str:
    kind = next((name for begin, name in _SIGNATURES if raw.startswith(begin)), None)
    if kind is None:
        raise ValueError("a picture is no PNG, JPEG, GIF or WebP, which addresses take; convert it")
    return f"data:image/{kind};base64,{base64.b64encode(raw).decode('ascii')}"
