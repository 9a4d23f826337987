"""What the routes answer, for the OpenAPI page."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict


class Shown(BaseModel):
    """A part of a reply; it may hold more than is listed."""

    model_config = ConfigDict(extra="allow")


class Usage(Shown):
    """What a reply cost."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


class _Reply(Shown):
    id: str
    created: int
    model: str
    system_fingerprint: str
    usage: Usage


class TextChoice(Shown):
    """One continuation."""

    index: int
    text: str
    logprobs: dict[str, list[Any]] | None
    finish_reason: Literal["stop", "length", "content_filter"]


class Completion(_Reply):
    """The reply of /v1/completions."""

    object: Literal["text_completion"]
    choices: list[TextChoice]


class CalledTool(Shown):
    """A call of a tool."""

    id: str
    type: Literal["function"]
    function: dict[Literal["name", "arguments"], str]


class AssistantMessage(Shown):
    """What the assistant said."""

    role: Literal["assistant"]
    content: str | None
    refusal: str | None
    reasoning_content: str = ""
    """There only where the model reasoned."""
    tool_calls: list[CalledTool] = []
    """There only where tools are called."""


class ChatChoice(Shown):
    """One answer."""

    index: int
    message: AssistantMessage
    logprobs: dict[str, Any] | None
    finish_reason: Literal["stop", "length", "tool_calls", "content_filter"]


class ChatCompletion(_Reply):
    """The reply of /v1/chat/completions."""

    object: Literal["chat.completion"]
    choices: list[ChatChoice]


class Model(Shown):
    """The model that is served."""

    id: str
    object: Literal["model"]
    created: int
    owned_by: str
    max_model_len: int


class Models(Shown):
    """The models that are served."""

    object: Literal["list"]
    data: list[Model]


class Moderated(Shown):
    """What the filter found in one text."""

    flagged: bool
    categories: dict[str, bool]
    category_scores: dict[str, float]
    category_applied_input_types: dict[str, list[str]]


class Moderation(Shown):
    """The reply of /v1/moderations."""

    id: str
    model: str
    results: list[Moderated]


class Fault(Shown):
    """What was wrong, as OpenAI says it."""

    message: str
    type: str
    param: str | None
    code: str | None


class OpenAIError(Shown):
    """An error below /v1."""

    error: Fault


class ListedToken(Shown):
    """A token and where it stands in the text."""

    id: int
    text: str
    start: int
    stop: int


class Templated(Shown):
    """A conversation as the model reads it."""

    tokenize_response: list[ListedToken]
    templated_text: str


class Blocked(Shown):
    """What the filter found, in a prompt or an answer."""

    blocked: Literal[True]
    category: str | None


class Details(Shown):
    """How an answer came about; of a blocked one always there."""

    finish_reason: Literal["length", "eos_token", "stop_sequence"]
    generated_tokens: int
    seed: int | None
    input_length: int
    safety: Blocked | None = None


class Generated(Shown):
    """The reply of /generate."""

    generated_text: str
    details: Details | None = None


class Info(Shown):
    """The model and the limits."""

    model_id: str
    model_sha: str
    max_input_tokens: int
    max_total_tokens: int
    version: str


class TGIError(Shown):
    """An error elsewhere."""

    error: str
    error_type: str


_WRONG: dict[int | str, str] = {
    401: "The API key is missing or wrong.",
    408: "The body did not come in time.",
    413: "The body is too large.",
    429: "The server is busy, or a limit of the key is reached; see Retry-After.",
    504: "The request took longer than this server allows.",
}

_STREAM: dict[str, Any] = {"text/event-stream": {}}


def of_openai(model: Any, streams: bool = False) -> dict[int | str, dict[str, Any]]:
    """Return the responses of a route below /v1."""
    wrong = _WRONG | {
        400: "The request is wrong; `param` says where.",
        503: "The engine or the filter does not run, or fails; try again later.",
        "4XX": "A wrong address.",
    }
    return _responses(model, streams, OpenAIError, wrong)


def of_tgi(model: Any, streams: bool = False) -> dict[int | str, dict[str, Any]]:
    """Return the responses of a route of TGI."""
    wrong = _WRONG | {
        400: "What came is no HTTP.",
        422: "The request is wrong, or its body cannot be read.",
        424: "The engine does not run, or fails; try again later.",
    }
    return _responses(model, streams, TGIError, wrong)


def _responses(
    model: Any, streams: bool, error: Any, wrong: dict[int | str, str]
) -> dict[int | str, dict[str, Any]]:
    right: dict[str, Any] = {"model": model} if model is not None else {}
    if streams:
        right["content"] = _STREAM
    errors = {
        status: {"model": error, "description": said}
        for status, said in sorted(wrong.items(), key=lambda each: str(each[0]))
    }
    return {200: right, **errors}
