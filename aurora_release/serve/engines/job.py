"""A request on its way through an engine, and its deltas on their way back."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from aurora_release.serve.engines.detokenize import Detokenizer, StopStrings
from aurora_release.serve.engines.grammar import Grammar
from aurora_release.serve.engines.protocol import (
    Delta,
    Ending,
    EngineError,
    GenerationRequest,
    Token,
)
from aurora_release.serve.engines.sampling import Sampler

if TYPE_CHECKING:
    import torch


class Answer:
    """What comes of one request; made inside the event loop that will read its deltas."""

    def __init__(self, request: GenerationRequest, decode: Callable[[Sequence[int]], str]):
        self.request = request
        self.ended = False
        """Read by the engine thread, set by either side; it never becomes False again."""
        self.length = len(request.prompt)
        """Tokens of prompt and answer; the last of them is not in the cache yet."""
        self.prompt: tuple[Token, ...] = ()
        """The prompt's tokens with their scores, for the first delta."""
        self.since = time.monotonic()
        """When it began to wait for a slot."""
        self.waited: float | None = None
        """For how long it did, for the first delta."""
        self.deltas: asyncio.Queue[Delta | EngineError] = asyncio.Queue()
        self._event_loop = asyncio.get_running_loop()
        self._detokenizer = Detokenizer(decode, request.prompt)
        self._stop = StopStrings(request.stop, request.include_stop)

    def take(self, token: Token, is_end: bool, full: bool, text: str | None = None) -> None:
        """Add a chosen token to the answer and deliver what became final with it.

        `text` is its text where whoever chose it also wrote that.
        """
        self.length += 1
        if text is None:
            text = "" if is_end else self._detokenizer.push(token.id)
        text, stopped = self._stop.push(text)
        generated = self.length - len(self.request.prompt)
        ending: Ending | None = None
        if stopped:
            ending = "stop"
        elif is_end or self._is_complete():
            ending = "eos"
        elif full or generated >= self.request.max_new_tokens:
            ending = "length"
        if ending in ("eos", "length"):
            text += self._stop.finish()
        self.deliver(Delta(text, token, ending, generated, self.prompt, self.waited))
        self.prompt, self.waited = (), None
        self.ended = self.ended or ending is not None

    def _is_complete(self) -> bool:
        """Return whether nothing can follow what was chosen so far."""
        return False

    def fail(self, error: EngineError) -> None:
        """End this request alone, with an error."""
        self.ended = True
        self.deliver(error)

    def deliver(self, item: Delta | EngineError) -> None:
        """Hand `item` to the event loop the request came from, if it still runs."""
        if not self._event_loop.is_closed():
            self._event_loop.call_soon_threadsafe(partial(self.deltas.put_nowait, item))

    def cancel(self) -> None:
        """Let the engine drop the request."""
        self.ended = True


class Job(Answer):
    """A request whose tokens are chosen in this process."""

    def __init__(
        self,
        request: GenerationRequest,
        decode: Callable[[Sequence[int]], str],
        device: "torch.device",
        grammar: Grammar | None = None,
    ):
        super().__init__(request, decode)
        self.sampler = Sampler(request, device, grammar)
        self.token = request.prompt[-1]

    def take(self, token: Token, is_end: bool, full: bool, text: str | None = None) -> None:
        """Add a chosen token, which the next step begins with."""
        self.token = token.id
        super().take(token, is_end, full, text)

    def _is_complete(self) -> bool:
        return self.sampler.complete


class JobStream:
    """The deltas of one request; closing it gives the slot back."""

    def __init__(self, job: Answer):
        self._job = job
        self._over = False

    def __aiter__(self) -> "JobStream":
        return self

    async def __anext__(self) -> Delta:
        if self._over:
            raise StopAsyncIteration
        item = await self._job.deltas.get()
        if isinstance(item, EngineError):
            self._over = True
            raise item
        self._over = item.ending is not None
        return item

    async def aclose(self) -> None:
        """Cancel the request, unless it has ended."""
        self._over = True
        self._job.cancel()
