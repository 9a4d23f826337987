"""Continuous batching over an unmodified transformers model, in a thread of its own."""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aurora_release.errors import AuroraError
from aurora_release.evidence import FILE as EVIDENCE
from aurora_release.evidence import canonical, sha256, sha256_file
from aurora_release.serve.engines.cache import CHUNK, SlotCache
from aurora_release.serve.engines.grammar import Grammars
from aurora_release.serve.engines.job import Job, JobStream
from aurora_release.serve.engines.protocol import (
    EngineError,
    EngineStats,
    GenerationRequest,
    ModelFacts,
    Overloaded,
    Token,
    Unsuitable,
)
from aurora_release.serve.engines.vocabulary import Vocabulary
from aurora_release.weight_layout import pack

if TYPE_CHECKING:
    import torch

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What one engine takes on."""

    slots: int = 8
    """Requests that are generated at the same time."""
    queue: int = 64
    """Requests that wait for a slot; one more is refused."""
    max_total_tokens: int = 2048
    """Prompt and answer together; less where the model is made for less."""


@dataclass
class _Reading:
    """A request whose prompt is being read, a chunk at a time."""

    job: Job
    row: int
    done: int
    """Tokens that were read, or known from an earlier prompt."""
    scores: "list[torch.Tensor]" = field(default_factory=list)
    """Those after each token, [1, tokens, vocabulary], where the prompt is to be scored."""


class EmbeddedEngine:
    """Generates with a model in this process; any number of requests, `slots` at a time.

    Each step of the engine thread reads a chunk of at most one prompt, then makes one token for
    every running request: a long prompt does not hold up the answers of others.
    """

    def __init__(self, model: Any, tokenizer: Any, facts: ModelFacts, limits: Limits):
        self.tokenizer = tokenizer
        self.facts = facts
        self._model = model
        self._limits = limits
        self._ends = _end_tokens(model, tokenizer)
        self._vocabulary = Vocabulary(tokenizer)
        self._grammars = Grammars(tokenizer, facts.vocabulary, self._ends)
        self._cache = SlotCache(limits.slots, facts.max_total_tokens)
        self._waiting: deque[Job] = deque()
        self._reading: _Reading | None = None
        self._running: list[Job] = []
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._loop: Future[None] | None = None

    @classmethod
    def load(cls, folder: Path, limits: Limits | None = None) -> "EmbeddedEngine":
        """Return an engine over the model in `folder`: Hugging Face, NF4 or GPTQ.

        Raises:
            AuroraError: the folder cannot be read as a model, or holds a GGUF file.
        """
        from aurora_release.evaluate.load import GGUF, load

        if (folder / GGUF).is_file():
            raise AuroraError(
                f"{folder} holds a GGUF file, which the embedded engine does not run. Run it with "
                f"llama.cpp (llama-server -m {folder / GGUF}), or serve the model it was made from."
            )
        loaded = load(folder)
        pack(loaded.model)
        limits = limits or Limits()
        longest = getattr(loaded.model.config, "max_position_embeddings", limits.max_total_tokens)
        facts = ModelFacts(
            id=name(folder),
            max_total_tokens=min(limits.max_total_tokens, longest),
            vocabulary=loaded.model.config.vocab_size,
            digest=digest(folder),
            dtype=str(loaded.model.dtype).removeprefix("torch."),
        )
        return cls(loaded.model, loaded.tokenizer, facts, limits)

    def start(self) -> None:
        """Start the engine thread and wait for a first token, so that what fails fails here.

        After `stop` it starts again.
        """
        self._stopping = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="engine")
        self._thread.submit(self._warm_up).result()
        self._loop = self._thread.submit(self._serve)
        self._loop.add_done_callback(self._ended)

    def stop(self) -> None:
        """End the engine thread; requests that are still running fail."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        self._thread.shutdown()

    def generate(self, request: GenerationRequest) -> JobStream:
        """Queue a request, inside a running event loop.

        Raises:
            Overloaded: the queue is full.
            Unsuitable: the schema or the expression of the request does not compile.
            EngineError: the engine does not run.
        """
        grammar = self._grammars.compiled(request)
        job = Job(request, self._vocabulary.decode, self._model.device, grammar)
        with self._wake:
            if (why := self.refusal()) is not None:
                raise why
            # who has just come waits too, for a moment, though a slot be free
            if len(self._running) + len(self._waiting) >= self._limits.slots + self._limits.queue:
                raise Overloaded(f"{len(self._waiting)} requests are waiting already.")
            self._waiting.append(job)
            self._wake.notify()
        return JobStream(job)

    def refusal(self) -> EngineError | None:
        """Return why nothing can be generated now, if that is so."""
        return None if self._alive() else EngineError("The engine is not running; try again later.")

    def stats(self) -> EngineStats:
        """Return what the engine is doing now."""
        active = len(self._running) + (self._reading is not None)
        return EngineStats(self._alive(), active, len(self._waiting), self._limits.slots)

    def _alive(self) -> bool:
        return self._loop is not None and not self._loop.done() and not self._stopping

    def _serve(self) -> None:
        """Work until stopped: drop what ended, read a chunk, make a token for each."""
        import torch

        with torch.inference_mode():
            while True:
                with self._wake:
                    self._wake.wait_for(self._has_work)
                    if self._stopping:
                        return
                self._drop_ended()
                self._admit()
                self._read()
                self._drop_ended()
                if self._running:
                    self._step()

    def _has_work(self) -> bool:
        return self._stopping or bool(self._waiting or self._running or self._reading)

    def _ended(self, loop: "Future[None]") -> None:
        """Fail every request that is left when the engine thread ends, for whatever reason."""
        error = loop.exception()
        if error is not None:
            logger.error("The engine failed.", exc_info=error)
        with self._wake:
            reading = [] if self._reading is None else [self._reading.job]
            left = [*self._running, *reading, *self._waiting]
            self._running.clear()
            self._reading = None
            self._waiting.clear()
        reason = "The engine failed" if error is not None else "The server is shutting down"
        for job in left:
            job.deliver(EngineError(f"{reason}; try again later."))

    def _drop_ended(self) -> None:
        """Free the rows of requests that ended or were cancelled; the last row fills the gap."""
        for row in reversed(range(len(self._running))):
            if self._running[row].ended:
                last = self._running.pop()
                if row < len(self._running):
                    self._cache.swap(len(self._running), row)
                    self._running[row] = last

    def _admit(self) -> None:
        """Begin with the prompt of the first waiting request, if there is a free row."""
        with self._wake:
            self._waiting = deque(job for job in self._waiting if not job.ended)
            busy = self._reading is not None or len(self._running) == self._limits.slots
            if busy or not self._waiting:
                return
            job = self._waiting.popleft()
            job.waited = time.monotonic() - job.since
            self._reading = _Reading(job, len(self._running), 0)
        if not job.request.prompt_logprobs:
            asked = job.request
            self._reading.done = self._cache.reuse(self._reading.row, asked.prompt, asked.owner)

    def _read(self) -> None:
        """Read the next chunk of a prompt; after its last one the request runs."""
        reading = self._reading
        if reading is None:
            return
        job = reading.job
        if job.ended:
            self._reading = None
            return
        scored = job.request.prompt_logprobs
        scores = self._chunk(reading, scored)
        if scored:
            reading.scores.append(scores)
        if reading.done < len(job.request.prompt):
            return
        # rows before this one may have become free meanwhile
        self._cache.swap(reading.row, len(self._running))
        self._running.append(job)
        self._reading = None
        if scored:
            job.prompt = self._scored(job.request, reading.scores)
            scores = scores[:, -1].float()
        self._choose([job], scores)

    def _chunk(self, reading: _Reading, whole: bool) -> "torch.Tensor":
        """Read one chunk and return its scores, as `_forward` does."""
        import torch

        device, start = self._model.device, reading.done
        ids = reading.job.request.prompt[start : start + CHUNK]
        reading.done += len(ids)
        tokens = torch.tensor([ids], device=device)
        self._cache.prefill(reading.row, start)
        if start == 0:
            scores = self._forward(tokens, None, None, whole)
        else:
            positions = torch.arange(start, reading.done, device=device)
            mask = self._mask(positions, reading.done)
            scores = self._forward(tokens, positions[None], mask[None, None], whole)
        asked = reading.job.request
        self._cache.know(reading.row, asked.prompt[: reading.done], asked.owner)
        return scores

    def _step(self) -> None:
        """Make one token for every running request."""
        import torch

        jobs, device = list(self._running), self._model.device
        positions = torch.tensor([job.length - 1 for job in jobs], device=device)
        longest = max(job.length for job in jobs)
        self._cache.decode(positions, longest)
        mask = self._mask(positions, longest)[:, None, None]
        tokens = torch.tensor([[job.token] for job in jobs], device=device)
        self._choose(jobs, self._forward(tokens, positions[:, None], mask))

    def _mask(self, positions: "torch.Tensor", length: int) -> "torch.Tensor":
        """Return what is added to scores of attention, so that each position sees those up to it.

        `positions`: [queries]; returned: [queries, length].
        """
        import torch

        hidden = torch.arange(length, device=positions.device) > positions[:, None]
        mask = torch.zeros(hidden.shape, dtype=self._model.dtype, device=positions.device)
        return mask.masked_fill_(hidden, torch.finfo(mask.dtype).min)

    def _forward(
        self,
        tokens: "torch.Tensor",
        positions: "torch.Tensor | None",
        mask: "torch.Tensor | None",
        whole: bool = False,
    ) -> "torch.Tensor":
        """Return the float32 scores of the next token: [rows, vocabulary].

        `whole` gives the scores after each token: [rows, tokens, vocabulary], in the model's type.
        """
        output = self._model(
            input_ids=tokens,
            position_ids=positions,
            attention_mask=mask,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=0 if whole else 1,
        )
        scores: torch.Tensor = output.logits
        return scores if whole else scores[:, -1].float()

    def _scored(
        self, request: GenerationRequest, chunks: "Sequence[torch.Tensor]"
    ) -> tuple[Token, ...]:
        """Return the prompt's tokens; `chunks`: the scores after each, [1, tokens, vocabulary]."""
        found = [self._vocabulary.token(request.prompt[0], 0.0)]
        rows = (row for chunk in chunks for row in chunk[0])
        for number, row in zip(request.prompt[1:], rows, strict=False):
            exact = row.float()
            found.append(self._named(number, exact, exact.logsumexp(-1), request.top_logprobs))
        return tuple(found)

    def _choose(self, jobs: list[Job], scores: "torch.Tensor") -> None:
        """Choose, record and deliver the next token of each job; `scores`: [jobs, vocabulary]."""
        totals = scores.logsumexp(-1)
        for job, row, total in zip(jobs, scores, totals, strict=True):
            try:
                chosen = job.sampler.choose(row)
            except Unsuitable as error:
                job.fail(error)
                continue
            token = self._named(chosen, row, total, job.request.top_logprobs)
            full = job.length + 1 >= self.facts.max_total_tokens
            job.take(token, chosen in self._ends, full)

    def _named(self, number: int, row: "torch.Tensor", total: "torch.Tensor", top: int) -> Token:
        """Return a token with its logprob, and the `top` likeliest beside it."""
        best = row.topk(top)
        likeliest = zip(best.indices.tolist(), (best.values - total).tolist(), strict=True)
        others = tuple(self._vocabulary.token(other, logprob) for other, logprob in likeliest)
        return self._vocabulary.token(number, float(row[number] - total), others)

    def _warm_up(self) -> None:
        """Run a prompt of one token, which also allocates the cache."""
        import torch

        if self._model.device.type == "cpu":
            _leave_a_core()
        with torch.inference_mode():
            self._cache.prefill(0)
            self._forward(
                torch.zeros(1, 1, dtype=torch.long, device=self._model.device), None, None
            )


def _leave_a_core() -> None:
    """Leave a core to the filter and to HTTP.

    Small steps gain nothing from the last core, and wait at every barrier while it does other work.
    """
    import torch

    cores = len(os.sched_getaffinity(0))
    torch.set_num_threads(max(1, min(torch.get_num_threads(), cores - 1)))


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return the tokens that end an answer, by the generation settings and the tokenizer."""
    ends = model.generation_config.eos_token_id
    listed = ends if isinstance(ends, list) else [ends]
    return frozenset(end for end in (*listed, tokenizer.eos_token_id) if end is not None)


def name(folder: Path) -> str:
    """Return the name of the folder, and before it that of its run where it lies in one."""
    folder = folder.resolve()
    # elsewhere the folder above is no business of those who ask: it may be named after a person
    staged = all((each / EVIDENCE).is_file() for each in (folder, folder.parent / "base"))
    return "/".join(folder.parts[-2:]) if staged else folder.name


def digest(folder: Path) -> str:
    """Return one SHA-256 over the names and digests of the weight files."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.gguf")])
    return sha256(canonical({path.name: sha256_file(path) for path in files}))
