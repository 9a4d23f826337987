"""The seam between the routes and whatever generates."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, Self

Ending = Literal["eos", "stop", "length"]
"""Why an engine ended: the model's own end, a stop string, or the token limit."""


class EngineError(Exception):
    """The engine failed or was stopped; the request can be sent again later."""

    def __init__(self, message: str, retry_after: int = 1):
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds."""


class Overloaded(EngineError):
    """The queue is full; nothing was started."""


class Unsuitable(EngineError):
    """The request cannot be done (its schema does not compile); to send it again is no use."""


@dataclass(frozen=True)
class GenerationRequest:
    """One prompt and how it is to be continued."""

    prompt: tuple[int, ...]
    """Token ids, at least one."""
    max_new_tokens: int
    temperature: float = 0.0
    """0 takes the likeliest token."""
    top_p: float = 1.0
    top_k: int = 0
    """0 leaves all tokens in."""
    typical_p: float = 1.0
    """Keeps the tokens nearest to the expected surprise (Meister et al. 2022); 1 keeps all."""
    min_p: float = 0.0
    """Drops tokens less likely than this share of the likeliest one (Nguyen et al. 2024)."""
    repetition_penalty: float = 1.0
    """Divides the scores of tokens in prompt and answer (Keskar et al. 2019)."""
    frequency_penalty: float = 0.0
    """Subtracted once for each time a token stands in the answer."""
    presence_penalty: float = 0.0
    """Subtracted where a token stands in the answer."""
    seed: int | None = None
    """The same seed gives the same answer, whoever else is served; None is random."""
    logit_bias: tuple[tuple[int, float], ...] = ()
    """Added to the scores of single tokens: (token id, bias)."""
    json_schema: str | None = None
    """The answer is JSON that fits this schema, which is JSON text itself."""
    regex: str | None = None
    """The answer matches this regular expression as a whole; never together with a schema."""
    stop: tuple[str, ...] = ()
    include_stop: bool = False
    """Leave the stop string in the text (TGI) or out of it (OpenAI)."""
    top_logprobs: int = 0
    """How many of the likeliest tokens are named beside each chosen one."""
    prompt_logprobs: bool = False
    """Score the tokens of the prompt too."""
    owner: str = ""
    """Whose prompt it is, by the name of the key: what was read for one owner is reused for no
    other, or the time to the first token would tell what others asked."""
    trace: tuple[tuple[str, str], ...] = ()
    """Headers of W3C Trace Context, for servers that are asked in turn."""


@dataclass(frozen=True)
class Token:
    """A generated token; logprobs are those of the model, before temperature and penalties."""

    id: int
    text: str
    logprob: float
    special: bool
    top: tuple["Token", ...] = ()


@dataclass(frozen=True)
class Delta:
    """One generated token and the text that became final with it (often, not always, its own)."""

    text: str
    token: Token
    ending: Ending | None
    """Set on the last delta of a request."""
    generated_tokens: int
    prompt: tuple[Token, ...] = ()
    """On the first delta, where it was asked for: the prompt's tokens; of the first one nothing is
    known, its logprob is 0."""
    waited: float | None = None
    """On the first delta: the seconds that the request waited for a slot, where that is known."""


class DeltaStream(Protocol):
    """The deltas of one request; closing it frees what the request holds."""

    def __aiter__(self) -> Self:
        """Return itself."""

    async def __anext__(self) -> Delta:
        """Return the next delta.

        Raises:
            EngineError: the engine failed or was stopped.
        """

    async def aclose(self) -> None:
        """Cancel the request, unless it has ended."""


@dataclass(frozen=True)
class ModelFacts:
    """What is served."""

    id: str
    max_total_tokens: int
    """Prompt and answer together."""
    vocabulary: int
    digest: str
    """SHA-256 over the names and digests of the weight files."""
    dtype: str


@dataclass(frozen=True)
class EngineStats:
    """What an engine is doing."""

    ready: bool
    active: int
    waiting: int
    slots: int
    waits: bool = False
    """It will be ready by itself, once a server that it asks is: to start it again is no use."""


def total(stats: Iterable[EngineStats]) -> EngineStats:
    """Return what several engines are doing together, ready where all are."""
    each = list(stats)
    return EngineStats(
        ready=all(one.ready for one in each),
        active=sum(one.active for one in each),
        waiting=sum(one.waiting for one in each),
        slots=sum(one.slots for one in each),
    )


class Engine(Protocol):
    """Generates for many requests at once."""

    @property
    def facts(self) -> ModelFacts:
        """What it serves; other servers may say more of it later."""

    @property
    def tokenizer(self) -> Any:
        """The model's own fast tokenizer (transformers)."""

    def start(self) -> None:
        """Make ready to generate."""

    def stop(self) -> None:
        """End; requests that are still running fail with `EngineError`."""

    def generate(self, request: GenerationRequest) -> DeltaStream:
        """Queue a request, inside a running event loop.

        Raises:
            Overloaded: the queue is full.
            Unsuitable: the engine cannot do what is asked; an engine that learns this later says
                so in place of the first delta.
            EngineError: the engine does not run.
        """

    def refusal(self) -> EngineError | None:
        """Return why nothing can be generated now, if that is so; `generate` raises it."""

    def stats(self) -> EngineStats:
        """Return what the engine is doing now."""
