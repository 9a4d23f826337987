"""The seam between the engine that asks other servers and the protocols they speak."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from aurora_release.serve.engines.protocol import (
    Ending,
    EngineError,
    GenerationRequest,
    Token,
    Unsuitable,
)

_LEAST = -9999.0
"""What vLLM says for a logprob of -inf."""


class UpstreamFailed(EngineError):
    """The server answered with an error of its own; another may do better."""


class UpstreamBroken(UpstreamFailed):
    """The server is gone or does not speak its protocol; it is left alone for a while.

    An error alone does not do that: one strange request could make every server rest.
    """


@dataclass(frozen=True)
class Served:
    """What an upstream says it serves."""

    name: str
    """What requests call the model."""
    longest: int | None
    """Prompt and answer together, tokens; None where it does not say."""
    software: str
    """What the server is, as far as it tells."""


@dataclass(frozen=True)
class Heard:
    """One token of an answer, as an upstream told of it."""

    token: Token
    text: str | None = None
    """The text it wrote; None where the text is to be made of the ids here."""
    ending: Ending | None = None
    """`eos` or `length`: stop strings are looked for here."""
    prompt: tuple[Token, ...] = ()
    """With the first token, where it was asked for."""


Event = dict[str, Any]
"""One server-sent event of a stream."""

Reader = Callable[[Event], Iterator[Heard]]
"""Reads the events of one answer, in their order.

Raises `UpstreamBroken`, LookupError, TypeError or ValueError where one is not of the protocol.
"""


class Dialect(Protocol):
    """How one protocol asks and answers."""

    description: str
    """The path that describes the model."""
    generation: str
    """The path that streams an answer."""

    def served(self, described: Any) -> Served:
        """Return what a description says; raises as a `Reader` does."""

    def body(self, request: GenerationRequest, served: Served) -> dict[str, Any]:
        """Return the body that asks for an answer.

        Raises:
            Unsuitable: the protocol, or this server, cannot do what is asked.
        """

    def reader(self, request: GenerationRequest) -> Reader:
        """Return what reads the answer to a request."""


def finite(logprob: Any) -> float:
    """Return a logprob that JSON can say; what cannot be chosen is -inf to some servers.

    Raises:
        ValueError: it is no number.
    """
    value = float(logprob)
    if value != value:
        raise ValueError("a logprob is no number")
    return max(_LEAST, min(value, -_LEAST))


def refuse(software: str, request: GenerationRequest, **without: Any) -> None:
    """Refuse a request that differs from the values `without` which an upstream cannot change.

    Raises:
        Unsuitable: it does; the message names the field.
    """
    for field, value in without.items():
        if getattr(request, field) != value:
            raise Unsuitable(
                f"`{field}`: the server behind this one ({software}) has no such thing"
            )
