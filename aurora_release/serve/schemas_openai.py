"""What the OpenAI routes take."""

import json
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


def _text(value: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError("half of a surrogate pair is not text") from None
    return value


def _arguments(value: str) -> str:
    try:
        found = json.loads(value)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ValueError("the arguments of a tool call are a JSON object")
    return _text(value)


def _unsupported(value: Any) -> None:
    if value not in (None, False, [], {}, "none", "auto", {"type": "text"}):
        raise ValueError("this server does not support it; leave it out")


Text = Annotated[str, AfterValidator(_text)]
Stop = Annotated[Text, Field(min_length=1, max_length=200)]
Unsupported = Annotated[
    Any, AfterValidator(_unsupported), Field(description="Not supported: refused unless empty.")
]
Ignored = Annotated[Any, Field(description="Taken, and without effect.")]
Seed = Annotated[int, Field(ge=-(2**63), lt=2**64)]
Name = Annotated[str, Field(pattern=r"^[a-zA-Z0-9_-]{1,64}$")]
Bias = Annotated[float, Field(ge=-100, le=100)]
TokenId = Annotated[str, Field(pattern=r"^[0-9]{1,9}$")]
Positive = Annotated[int, Field(ge=1)]


class Body(BaseModel):
    """A part of a request: unknown keys, wrong types and numbers that are none are errors."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False,
                              use_attribute_docstrings=True)  # fmt: skip


class StreamOptions(Body):
    """What a stream holds besides the answer."""

    include_usage: bool = False
    include_obfuscation: bool = False


class Common(Body):
    """What both OpenAI routes share."""

    model: Text = ""
    """A name that `/v1/models` lists; a model that is served alone answers to any."""
    n: Annotated[int, Field(ge=1, le=128)] | None = None
    """Answers to each prompt; of all prompts together 8, or as many as the server has room for."""
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    top_k: Annotated[int, Field(ge=-1)] | None = None
    """Not OpenAI's: as in vLLM."""
    min_p: Annotated[float, Field(ge=0, le=1)] | None = None
    """Not OpenAI's: as in vLLM."""
    repetition_penalty: Annotated[float, Field(ge=0.1, le=10)] | None = None
    """Not OpenAI's: as in vLLM."""
    frequency_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    presence_penalty: Annotated[float, Field(ge=-2, le=2)] | None = None
    seed: Seed | None = None
    stop: Stop | list[Stop] | None = None
    max_tokens: Positive | None = None
    logit_bias: Annotated[dict[TokenId, Bias], Field(max_length=1024)] | None = None
    user: Text | None = None
    metadata: Ignored = None
    store: Ignored = None
    service_tier: Ignored = None
    safety_identifier: Ignored = None
    prompt_cache_key: Ignored = None
    cache_salt: Text | None = None
    """Not OpenAI's: as in vLLM; what was read with another is not used again."""

    @property
    def stop_strings(self) -> tuple[str, ...]:
        """The stop strings, however they were given."""
        if self.stop is None:
            return ()
        return (self.stop,) if isinstance(self.stop, str) else tuple(self.stop)

    @property
    def usage_wanted(self) -> bool:
        """Whether a stream ends with its usage."""
        return self.stream_options is not None and self.stream_options.include_usage


class CompletionRequest(Common):
    """POST /v1/completions."""

    prompt: Text | list[Text] | list[int] | list[list[int]]
    """Text or token ids, one or several."""
    logprobs: Annotated[int, Field(ge=0, le=5)] | None = None
    max_tokens: Annotated[int, Field(ge=0)] | None = None
    """0 only with `echo`: nothing is generated."""
    best_of: Annotated[int, Field(ge=1, le=20)] | None = None
    """So many answers are made for each prompt, of which the `n` likeliest are returned."""
    echo: bool | None = None
    """Begin with the prompt, and with its tokens where `logprobs` are wanted."""
    suffix: Text | None = None
    """What comes after the answer: the model fills in the middle, if it was trained to."""


class TextPart(Body):
    """A part of a message."""

    type: Literal["text"]
    text: Text


class RefusalPart(Body):
    """A part of an earlier answer that refused."""

    type: Literal["refusal"]
    refusal: Text


class CalledFunction(Body):
    """What an earlier turn called."""

    name: Name
    arguments: Annotated[str, AfterValidator(_arguments)]


class ToolCall(BaseModel):
    """A call of an earlier turn."""

    model_config = ConfigDict(strict=True, frozen=True, use_attribute_docstrings=True)

    id: Text
    type: Literal["function"] = "function"
    function: CalledFunction


class ChatMessage(BaseModel):
    """A turn of a conversation; keys that only describe it (`name`, `refusal`) are let through."""

    model_config = ConfigDict(strict=True, frozen=True, use_attribute_docstrings=True)

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text | Annotated[list[TextPart | RefusalPart], Field(min_length=1)] | None = None
    tool_calls: Annotated[list[ToolCall], Field(max_length=128)] | None = None
    """What an assistant called; then it need not have said anything."""
    tool_call_id: Text | None = None
    """The call that a `tool` answers."""
    function_call: Unsupported = None
    audio: Unsupported = None

    @model_validator(mode="after")
    def _of_a_role(self) -> Self:
        if self.tool_calls and self.role != "assistant":
            raise ValueError("only the assistant makes tool calls")
        if self.content is None and not self.tool_calls:
            raise ValueError("a message without content must be one with `tool_calls`")
        if self.role == "tool" and self.tool_call_id is None:
            raise ValueError("a message of a tool names its `tool_call_id`")
        return self

    @property
    def text(self) -> str:
        """The content as one text."""
        if isinstance(self.content, str):
            return self.content
        parts = self.content or ()
        return "".join(part.text if isinstance(part, TextPart) else part.refusal for part in parts)


class Function(Body):
    """A function that the model may call."""

    name: Name
    description: Text | None = None
    parameters: dict[str, Any] | None = None
    """The JSON schema of its arguments."""
    strict: bool | None = None


class FunctionTool(Body):
    """A tool."""

    type: Literal["function"]
    function: Function


class NamedFunction(Body):
    """The name of a function."""

    name: Name


class NamedTool(Body):
    """The one tool that is to be called."""

    type: Literal["function"]
    function: NamedFunction


class PlainFormat(Body):
    """Any text."""

    type: Literal["text"]


class JsonFormat(Body):
    """Any JSON object."""

    type: Literal["json_object"]


class Schema(Body):
    """A JSON schema and its name."""

    name: Name
    description: Text | None = None
    schema_: Annotated[dict[str, Any] | None, Field(alias="schema")] = None
    strict: bool | None = None


class SchemaFormat(Body):
    """JSON that fits a schema."""

    type: Literal["json_schema"]
    json_schema: Schema


class ChatRequest(Common):
    """POST /v1/chat/completions."""

    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    max_completion_tokens: Positive | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Field(ge=0, le=20)] | None = None
    tools: Annotated[list[FunctionTool], Field(max_length=128)] | None = None
    tool_choice: Literal["none", "auto", "required"] | NamedTool | None = None
    parallel_tool_calls: bool | None = None
    """False: an answer that must call a tool calls one."""
    functions: Unsupported = None
    function_call: Unsupported = None
    response_format: (
        Annotated[PlainFormat | JsonFormat | SchemaFormat, Field(discriminator="type")] | None
    ) = None
    modalities: Ignored = None
    audio: Unsupported = None
    prediction: Unsupported = None
    reasoning_effort: Ignored = None
    verbosity: Ignored = None
    web_search_options: Unsupported = None


class ModerationRequest(Body):
    """POST /v1/moderations."""

    input: (
        Text
        | Annotated[list[Text], Field(min_length=1, max_length=64)]
        | Annotated[list[TextPart], Field(min_length=1, max_length=64)]
    )
    """One text or several; parts of type `text` are one text."""
    model: Text | None = None

    @property
    def texts(self) -> list[str]:
        """The texts to judge."""
        if isinstance(self.input, str):
            return [self.input]
        parts = [part for part in self.input if isinstance(part, TextPart)]
        if parts:
            return ["\n".join(part.text for part in parts)]
        return [text for text in self.input if isinstance(text, str)]
