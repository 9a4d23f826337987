"""Measures one answer while it is made."""

import time
from dataclasses import replace

from aurora_release.serve.admission import Visit
from aurora_release.serve.callers import Caller
from aurora_release.serve.engines.protocol import GenerationRequest
from aurora_release.serve.metrics import Metrics
from aurora_release.serve.traces import AnswerTrace


class Meter:
    """Counts the tokens of one answer where they matter: metrics, limits, log and trace."""

    def __init__(self, metrics: Metrics, caller: Caller, visit: Visit, index: int, begun: float):
        self._metrics = metrics
        self._caller = caller
        self._visit = visit
        self._index = index
        self._begun = begun
        """When the request came (monotonic seconds)."""
        self._asked = begun
        """When the engine was asked."""
        self._waited: float | None = None
        """Seconds that the engine let it wait for a slot, where that is known."""
        self._last: float | None = None
        """When the last token came."""
        self._has_text = False
        self._prompt = self._generated = 0
        self._trace: AnswerTrace | None = None

    def begin(self, request: GenerationRequest, model: str) -> GenerationRequest:
        """Return what the engine is asked: the request, with whose it is and its trace."""
        self._trace = self._caller.trace.answer(request, model, self._index)
        self._asked = time.monotonic()
        owner = " ".join(filter(None, (self._caller.key, request.owner)))
        return replace(request, owner=owner, trace=self._trace.headers)

    def prompt(self, request: GenerationRequest) -> None:
        """Count the tokens of the prompt, which the engine reads now."""
        self._prompt = len(request.prompt)
        self._visit.use(self._index, self._prompt)
        self._caller.prompt_tokens += self._prompt
        self._metrics.begun(self._prompt, request.max_new_tokens)

    def token(self, waited: float | None) -> None:
        """Count a token that the engine made; `waited`: as in the first delta."""
        now = time.monotonic()
        if self._last is None:
            self._metrics.first_token(now - self._begun)
            self._waited = waited
            if self._trace is not None:
                self._trace.first_token(waited)
        else:
            self._metrics.next_token(now - self._last)
        self._last = now
        self._generated += 1
        self._visit.use(self._index, 1)
        self._caller.generated_tokens += 1

    def text(self) -> None:
        """Record when the client could first read something."""
        if not self._has_text:
            self._has_text = True
            self._metrics.first_text(time.monotonic() - self._begun)

    def blocked(self) -> None:
        """Count an answer that the filter did not let through."""
        self._caller.blocked += 1

    def ended(self, reason: str) -> None:
        """Count an answer that came to its end."""
        self._metrics.ended(reason, time.monotonic() - self._begun, self._generated)
        if self._waited is not None and self._last is not None:
            held = self._last - self._asked - self._waited
            self._metrics.inferred(self._waited, held, self._generated)
        if self._trace is not None:
            self._trace.end(reason, self._prompt, self._generated)

    def failed(self, error: BaseException) -> None:
        """Record an answer that came to none."""
        self._caller.failed += 1
        self._metrics.failed(error)
        if self._trace is not None:
            self._trace.fail(error)
