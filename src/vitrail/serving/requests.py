"""The bodies of OpenAI's requests, as far as they are answered here.

A field that would change the answer and is not supported is refused unless it has its neutral value; fields that never
change an answer (``user``, ``metadata``) are taken and left alone.
"""

from __future__ import annotations

import json
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from vitrail.data.readers.problems import shown
from vitrail.serving.errors import Refused, printable
from vitrail.settings.faults import NOTHING, flatten, inner_error

M = TypeVar("M", bound=BaseModel)

WITHOUT_EFFECT = ("user", "store", "metadata", "service_tier", "safety_identifier", "prompt_cache_key")
"""Taken, and without effect on an answer."""
NEUTRAL: dict[str, tuple[Any, ...]] = {
    "frequency_penalty": (0,),
    "presence_penalty": (0,),
    "logit_bias": ({},),
    "response_format": ({"type": "text"},),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "modalities": (["text"],),
    "best_of": (1,),
    "suffix": ("",),
    "parallel_tool_calls": (True, False),
}
"""Not supported: these values, with which they change nothing, are let pass, and so is null."""


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class TextPart(_Part):
    """Text of a message."""

    type: Literal["text"]
    text: str


class Address(_Part):
    """A picture: a data URL, or its http(s) address where the server fetches pictures.

    ``detail`` is for OpenAI's own models; a model's own plan decides here.
    """

    url: str
    detail: Literal["auto", "low", "high"] | None = None


class ImagePart(_Part):
    """A picture of a message."""

    type: Literal["image_url"]
    image_url: Address


class Function(_Part):
    """A function that is called: ``arguments`` are JSON text."""

    name: str = Field(min_length=1, max_length=256)
    arguments: str = "{}"


class Call(_Part):
    """A call of a tool in an assistant's turn."""

    id: str
    type: Literal["function"] = "function"
    function: Function


class SaidMessage(_Part):
    """One turn. ``developer`` is OpenAI's newer word for ``system``; ``name`` is not shown to the model.

    The last fields are those of an answer that is handed back as it came.
    """

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[Annotated[TextPart | ImagePart, Field(discriminator="type")]] | None = None
    name: str | None = None
    tool_calls: list[Call] | None = None
    tool_call_id: str | None = None
    refusal: None = None
    annotations: list[Any] | None = Field(default=None, max_length=0)
    audio: None = None
    function_call: None = None

    @model_validator(mode="after")
    def _says_something(self) -> SaidMessage:
        if self.tool_calls and self.role != "assistant":
            raise inner_error(
                ("tool_calls",), f"only the assistant calls tools, and this is the {self.role}'s turn"
            )
        if self.tool_call_id is not None and self.role != "tool":
            raise inner_error(("tool_call_id",), f"goes with a tool's turn, and this is the {self.role}'s")
        if self.content is None and not self.tool_calls:
            raise inner_error(("content",), "is missing; give a text")
        return self


class Described(_Part):
    """A function that may be called; ``parameters`` are a JSON schema."""

    name: str = Field(pattern=r"^[a-zA-Z0-9_.-]{1,64}$")
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: Literal[False] | None = None


class Tool(_Part):
    """A tool that an answer may call."""

    type: Literal["function"]
    function: Described


class StreamOptions(_Part):
    """``include_usage``: the last piece of a stream tells the tokens."""

    include_usage: bool = False
    include_obfuscation: bool | None = None


class Sampled(BaseModel):
    """What both kinds of request say of an answer's making; ``top_k`` and ``repetition_penalty`` as vLLM has them."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=False)

    model: str
    temperature: float | None = Field(default=None, ge=0, le=100, allow_inf_nan=False)
    top_p: float | None = Field(default=None, gt=0, le=1, allow_inf_nan=False)
    top_k: int | None = Field(default=None, ge=-1, le=2**31)
    repetition_penalty: float | None = Field(default=None, gt=0, le=100, allow_inf_nan=False)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**63)
    stop: str | list[str] | None = None
    n: int | None = Field(default=None, ge=1)
    stream: bool | None = None
    stream_options: StreamOptions | None = None

    @model_validator(mode="before")
    @classmethod
    def _only_what_has_effect(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        for name, neutral in NEUTRAL.items():
            given = value.get(name)
            if name not in cls.model_fields and given is not None and given not in neutral:
                raise inner_error((name,), "is not supported here; leave it out")
        dropped = (*WITHOUT_EFFECT, *(name for name in NEUTRAL if name not in cls.model_fields))
        return {name: given for name, given in value.items() if name not in dropped}

    @field_validator("stop")
    @classmethod
    def _stop_texts(cls, stop: str | list[str] | None) -> str | list[str] | None:
        if stop is not None and "" in ([stop] if isinstance(stop, str) else stop):
            raise ValueError("an empty text would end every answer at once; remove it")
        return stop

    @property
    def stops(self) -> tuple[str, ...]:
        """The stop texts."""
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop or ())


class ChatRequest(Sampled):
    """``POST /v1/chat/completions``. ``methods``: names of methods of inference that this server offers."""

    messages: list[SaidMessage] = Field(min_length=1)
    max_tokens: int | None = Field(default=None, ge=1)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0)
    tools: list[Tool] | None = None
    tool_choice: Literal["none", "auto"] | None = None
    methods: list[str] | None = Field(default=None, max_length=64)

    @property
    def offered(self) -> list[dict[str, Any]]:
        """The tools that the model is shown, as its template takes them."""
        if self.tool_choice == "none":
            return []
        return [one.model_dump(exclude_none=True) for one in self.tools or ()]

    @property
    def speaks_of_tools(self) -> bool:
        """Whether tools have a part in the conversation."""
        return any(one.tool_calls or one.role == "tool" for one in self.messages) or bool(self.offered)

    @model_validator(mode="after")
    def _goes_together(self) -> ChatRequest:
        if self.top_logprobs is not None and not self.logprobs:
            raise inner_error(
                ("top_logprobs",), "has no effect without logprobs: true; add it, or leave it out"
            )
        if (
            None not in (self.max_tokens, self.max_completion_tokens)
            and self.max_tokens != self.max_completion_tokens
        ):
            raise inner_error(("max_tokens",), "differs from max_completion_tokens, its newer name; give one")
        return self


class CompletionRequest(Sampled):
    """``POST /v1/completions``: a text, or its tokens, is continued. ``logprobs``: how many likely tokens to tell."""

    prompt: str | list[str] | list[int] | list[list[int]]
    max_tokens: int | None = Field(default=None, ge=0)
    echo: bool | None = None
    logprobs: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _goes_together(self) -> CompletionRequest:
        if self.prompt == []:
            raise inner_error(("prompt",), "is an empty list; give a text")
        if self.max_tokens == 0 and not self.echo:
            raise inner_error(("max_tokens",), "is 0, so there is no answer; raise it, or set echo: true")
        if self.echo and self.stream:
            raise inner_error(("echo",), "does not go with stream; leave one out")
        return self

    @property
    def prompts(self) -> list[str | list[int]]:
        """Each prompt: a text, or tokens."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if isinstance(self.prompt[0], int):
            return [list(self.prompt)]  # type: ignore[arg-type]
        return list(self.prompt)  # type: ignore[arg-type]


class EmbeddingRequest(BaseModel):
    """``POST /v1/embeddings``: texts, or, as vLLM has it, ``messages`` with one picture or one text."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    model: str
    input: str | list[str] | None = None
    messages: list[SaidMessage] | None = Field(default=None, min_length=1)
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(default=None, ge=1)
    user: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_tokens(cls, value: Any) -> Any:
        given = value.get("input") if isinstance(value, dict) else None
        first = given[0] if isinstance(given, list) and given else None
        if isinstance(first, int | list):
            raise inner_error(
                ("input",), "holds tokens; give texts: another tokenizer's tokens are other words"
            )
        return value

    @model_validator(mode="after")
    def _one_kind(self) -> EmbeddingRequest:
        if (self.input is None) == (self.messages is None):
            raise inner_error(("input",), "give a text here, or messages with one picture: one of the two")
        if self.input == []:
            raise inner_error(("input",), "is an empty list; give a text")
        return self

    @property
    def texts(self) -> list[str]:
        """The texts to embed."""
        return [self.input] if isinstance(self.input, str) else list(self.input or ())


def parsed(kind: type[M], body: bytes) -> M:
    """A request's body. :class:`Refused` (400) for what is no JSON, or no such request: the field and the remedy."""
    try:
        raw = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        said = "it is nested too deeply" if isinstance(error, RecursionError) else printable(str(error))[:200]
        raise Refused(
            400, f"the body is not JSON ({said}); send one JSON object", code="invalid_json"
        ) from None
    if not isinstance(raw, dict):
        raise Refused(400, f"the body must be a JSON object, but it is {printable(shown(raw))}")
    try:
        return kind.model_validate(raw)
    except ValidationError as error:
        path, message, value = flatten(error, kind, raw)[0]
    except RecursionError:
        raise Refused(400, "the body is nested too deeply; send a plain request") from None
    name = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in path).lstrip(".")
    given = "" if value is NOTHING else f" (it is {shown(value)})"
    raise Refused(
        400, printable(f"{name}: {message}{given}" if name else f"{message}{given}"), param=printable(name)
    )


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no JSON number")
