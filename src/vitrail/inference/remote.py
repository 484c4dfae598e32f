"""Answers from an address that speaks OpenAI's chat completions: a server of one's own (vLLM, llama.cpp, Ollama,
SGLang), or a provider.

Nothing is asked twice: each answer is kept on disk under a hash of address, model, and the whole request, so a loop
that was killed and goes on pays once. Requests are retried with growing waits where trying again can help, or after
the wait that the address asks for (``Retry-After``); at most ``concurrency`` run at a time, and a budget of requests
and tokens is never exceeded by more than those under way. A chat that the address refuses for what it is (too long,
too large, a picture that it cannot read), or never answers while it answers others, is told apart from what would stop
every chat: a wrong key, an unknown model, a server that is down.

The two packages that could stand here (``openai``, ``httpx``) would bring the one POST that is left after retries,
cache, budget and concurrency, which have to be the loop's own; Python's ``urllib`` makes it, proxies included.
"""

from __future__ import annotations

import base64
import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from vitrail.data.records import Chat, Image, Message, Text
from vitrail.inference.generation import GenerationSettings, Reply
from vitrail.inference.remote_failures import (
    BROKEN,
    OF_THE_ACCOUNT,
    RETRIED,
    AddressDown,
    NoAnswer,
    Refused,
    TryAgain,
    broken,
    failure,
)
from vitrail.storage import atomic
from vitrail.storage.cache import default_root, key
from vitrail.storage.log import JsonlLog

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
    each time. ``failures_in_a_row``: so many chats without an answer after all their tries, and none answered between
    them, say that the address is at fault and not the chats. ``max_requests`` and ``max_tokens``: the budget (None:
    none). ``extra``: further fields of the request.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())

    base_url: str = Field(pattern=r"^https?://\S+$")
    model: str = Field(min_length=1)
    key_variable: str | None = None
    timeout: float = Field(default=120.0, gt=0)
    retries: int = Field(default=5, ge=0)
    wait: float = Field(default=1.0, gt=0)
    concurrency: int = Field(default=4, ge=1)
    failures_in_a_row: int = Field(default=8, ge=1)
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

    ``failed``: the address did not refuse it, but gave no answer after all tries while it answered others; the
    ``status`` is then None where the connection broke, or where no answer could be read.
    """

    reason: str
    status: int | None = None
    failed: bool = False


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
        self._under_way = self._answered = self._in_a_row = 0
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

        ValueError for what would stop every chat alike: key, model, settings, the budget, or (:class:`AddressDown`) a
        server that is down.
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
        except Refused as refused:
            return Refusal(f"{self.name} refused it with HTTP {refused.status}: {refused}", refused.status)
        except NoAnswer as none:
            return Refusal(f"{self.name} {none}", none.status, failed=True)

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
            before = self._answered
            for attempt in range(self.settings.retries + 1):
                try:
                    answer = self._post(body)
                    tokens, kept = _read(answer)
                    return kept
                except TryAgain as failed:
                    self._require_patience(failed)
                    if attempt == self.settings.retries or self._given_up.is_set():
                        raise self._at_an_end(failed, attempt + 1, before) from None
                    before = self._answered
                    self._sleep(failed.wait or min(self.settings.wait * 2**attempt, LONGEST_WAIT))
            raise AssertionError("the last attempt returns or raises")
        finally:
            self._settle(tokens)

    def _require_patience(self, failed: TryAgain) -> None:
        if failed.wait is not None and failed.wait > LONGEST_ASKED_WAIT:
            raise ValueError(
                f"{self.name} asks to wait {failed.wait:,.0f} s: {failed}; go on then: nothing that was "
                "answered is asked again"
            )

    def _at_an_end(self, failed: TryAgain, tries: int, before: int) -> Exception:
        """What it means that a chat got no answer: the chat's own failure, or the address's.

        ``before``: how many chats had been answered when its last try but one had failed.
        """
        said = f"did not answer after {tries} {'try' if tries == 1 else 'tries'}: {failed}"
        later = "nothing that was answered is asked again"
        if failed.status == OF_THE_ACCOUNT or self._given_up.is_set():
            return ValueError(f"{self.name} {said}; look at the address, or go on later: {later}")
        with self._lock:
            self._in_a_row += 1
            in_a_row, alive = self._in_a_row, self._answered > before
        if in_a_row >= self.settings.failures_in_a_row:
            return AddressDown(
                f"{self.name} answered none of {in_a_row} chats in a row; the last one: {said}; look at the address "
                f"and go on later ({later}), or allow more failures in a row if it is the chats"
            )
        why = None if alive else self._down()
        if why is not None:
            return AddressDown(
                f"{self.name} {said}; {self.settings.base_url.rstrip('/')}/models fails as well ({why}): look at the "
                f"address, or go on later: {later}"
            )
        return NoAnswer(said, failed.status)

    def _down(self) -> str | None:
        """Why the server seems to be down: its list of models cannot be had either. None where it answers anything."""
        request = urllib.request.Request(
            f"{self.settings.base_url.rstrip('/')}/models", headers=self._headers()
        )
        try:
            with urllib.request.urlopen(request, timeout=self.settings.timeout):
                return None
        except urllib.error.HTTPError as error:
            error.close()
            return f"HTTP {error.code}" if error.code in RETRIED else None
        except BROKEN as error:
            return str(broken(error))

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
            self._answered, self._in_a_row = self._answered + 1, 0
            self.spent.requests += 1
            self.spent.tokens += tokens
            if self._ledger is not None:
                with JsonlLog(self._ledger) as log:
                    log.append({"request": self.spent.requests, "tokens": tokens})

    def _headers(self) -> dict[str, str]:
        """ValueError for a key that is not set."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        if self.settings.key_variable is not None:
            secret = os.environ.get(self.settings.key_variable)
            if not secret:
                raise ValueError(f"key_variable: the environment has no {self.settings.key_variable}; set it")
            headers["Authorization"] = f"Bearer {secret}"
        return headers

    def _post(self, body: Mapping[str, Any]) -> Any:
        request = urllib.request.Request(
            f"{self.settings.base_url.rstrip('/')}/chat/completions",
            data=json.dumps(body, ensure_ascii=False).encode(),
            headers=self._headers(),
            method="POST",
        )
        try:
            with urllib.request.urlopen(request, timeout=self.settings.timeout) as answer:
                raw = answer.read()
        except urllib.error.HTTPError as error:
            raise failure(self.name, error, body) from None
        except BROKEN as error:
            raise broken(error) from None
        try:
            return json.loads(raw)
        except (ValueError, RecursionError):
            raise TryAgain("the answer is no JSON") from None


def _read(answer: Any) -> tuple[int, dict[str, Any]]:
    """Tokens, and what is kept of an answer."""
    try:
        choice = answer["choices"][0]
        text = choice["message"]["content"]
        if not isinstance(text, (str, type(None))):
            raise TypeError
    except (KeyError, IndexError, TypeError):
        said = json.dumps(answer)[:200]
        raise TryAgain(f"the answer has no text in choices[0].message.content: {said}") from None
    usage = answer.get("usage")
    tokens = usage.get("total_tokens") if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) else 0, {
        "text": (text or "").strip(),
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
