"""One conversation with one model: turns in, an answer and what the filter decided out."""

import asyncio
import secrets
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, replace
from typing import Protocol

from aurora_release.serve import access, callers, prompts
from aurora_release.serve.audit import Decision
from aurora_release.serve.engines.protocol import Ending, GenerationRequest
from aurora_release.serve.generation import Ask, GuardedEngine, Piece
from aurora_release.serve.prompts import Message, Prompt
from aurora_release.serve.replies import ApiError, Kind


@dataclass(frozen=True)
class Sampling:
    """How answers are generated."""

    temperature: float = 0.7
    top_p: float = 0.95
    max_tokens: int = 256
    seed: int | None = None
    """None draws one for each answer."""
    repetition_penalty: float = 1.0

    def seeded(self) -> "Sampling":
        """Return the same with a seed, which can be shown and given again."""
        return self if self.seed is not None else replace(self, seed=secrets.randbelow(2**31))


@dataclass(frozen=True)
class Progress:
    """An answer as far as it has come."""

    text: str = ""
    """What may be read; of a blocked answer the refusal alone."""
    ending: Ending | None = None
    blocked: bool = False
    decisions: tuple[Decision, ...] | None = ()
    """What the filter decided until now; None where the server does not say."""
    tokens: int = 0
    """Generated until now, held-back ones included."""
    seed: int | None = None
    first: float | None = None
    """Seconds from the question to the first text."""
    seconds: float = 0.0
    left_out: int = 0
    """Older turns that no longer fit."""
    error: str | None = None
    """Why there is no answer, or no more of it."""
    kind: Kind | None = None
    """Of the error, where it is one of ours."""

    @property
    def ended(self) -> bool:
        """Whether nothing more comes."""
        return self.ending is not None or self.error is not None


class Talker(Protocol):
    """Who answers."""

    name: str

    def answer(self, turns: Sequence[Message], sampling: Sampling) -> AsyncGenerator[Progress]:
        """Yield the answer to the last turn, each time further."""


class LocalTalker:
    """A model in this process, behind its guard."""

    def __init__(self, guarded: GuardedEngine, route: str = "", logs: bool = False):
        """`route` is what metrics call it, and with `logs` the log, which has a line for each."""
        self._guarded = guarded
        self._route, self._logs = route, logs
        self.name = guarded.engine.facts.id

    async def answer(
        self, turns: Sequence[Message], sampling: Sampling
    ) -> AsyncGenerator[Progress]:
        """Yield the answer to the last turn, each time further; closing it frees the slot."""
        begun, status, caller = time.monotonic(), 499, callers.current().afresh()
        decisions: list[Decision] = []
        sampling = sampling.seeded()
        now = Progress(seed=sampling.seed)
        try:
            prompt, room, left_out = await asyncio.to_thread(
                self._prompt, turns, sampling.max_tokens
            )
            now = replace(now, left_out=left_out)
            ask = Ask(_request(prompt, room, sampling), prompt.judged)
            callers.enter(caller)
            answers = await self._guarded.open([ask], listener=decisions.append)
            async with aclosing(answers):
                async for piece in answers:
                    now = _further(now, piece, time.monotonic() - begun)
                    now = replace(now, decisions=tuple(decisions))
                    yield now
            status = 200
        except ApiError as error:
            told, status = tuple(decisions), error.status("/v1/")
            yield replace(now, decisions=told, error=error.message, kind=error.kind)
        finally:
            if self._route:
                self._guarded.metrics.request("POST", self._route, status, caller.key)
            if self._logs:
                access.write(caller, "POST", self._route, status, time.monotonic() - begun)

    def _prompt(self, turns: Sequence[Message], wanted: int) -> tuple[Prompt, int, int]:
        """Return the prompt of as many of the latest turns as leave room, that room, and how many
        turns were left out; the system prompt stays.

        Raises:
            ApiError: not even the last turn fits.
        """
        engine = self._guarded.engine
        wanted = min(wanted, engine.facts.max_total_tokens // 2)
        system = [turn for turn in turns if turn.role == "system"]
        said = [turn for turn in turns if turn.role != "system"]
        starts = [place for place, turn in enumerate(said) if turn.role == "user"]
        for first in starts:
            with suppress(ApiError):
                prompt = prompts.of_messages(engine, [*system, *said[first:]])
                return prompt, prompts.room(engine, prompt, wanted, "max_tokens", "messages"), first
        prompt = prompts.of_messages(engine, [*system, *said[starts[-1] :]])
        return prompt, prompts.room(engine, prompt, None, "max_tokens", "messages"), starts[-1]


def _request(prompt: Prompt, room: int, sampling: Sampling) -> GenerationRequest:
    return GenerationRequest(
        prompt.ids,
        room,
        temperature=sampling.temperature,
        top_p=sampling.top_p,
        repetition_penalty=sampling.repetition_penalty,
        seed=sampling.seed,
    )


def _further(now: Progress, piece: Piece, seconds: float) -> Progress:
    """Return an answer with one piece more; a refusal takes the place of what came before it."""
    blocked = piece.blocked is not None
    text = piece.text if blocked else now.text + piece.text
    first = seconds if now.first is None and text else now.first
    return replace(
        now,
        text=text,
        ending=piece.ending,
        blocked=blocked,
        tokens=piece.generated_tokens,
        first=first,
        seconds=seconds,
    )
