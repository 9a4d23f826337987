"""Continuous batching over an unmodified transformers model, in a thread of its own."""

import logging
import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aurora_release.errors import AuroraError
from aurora_release.evidence import FILE as EVIDENCE
from aurora_release.evidence import canonical, sha256, sha256_file
from aurora_release.serve.engines.cache import SlotCache
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


class EmbeddedEngine:
    """Generates with a model in this process; any number of requests, `slots` at a time.

    Each step of the engine thread takes in at most one waiting request (its prompt is read in one
    forward pass), then makes one token for every running one.
    """

    def __init__(self, model: Any, tokenizer: Any, facts: ModelFacts, limits: Limits):
        self.tokenizer = tokenizer
        self.facts = facts
        self._model = model
        self._limits = limits
        self._ends = _end_tokens(model, tokenizer)
        self._special = frozenset(tokenizer.all_special_ids)
        self._grammars = Grammars(tokenizer, facts.vocabulary, self._ends)
        self._cache = SlotCache(limits.slots, facts.max_total_tokens)
        self._waiting: deque[Job] = deque()
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
        job = Job(request, self._decode, self._model.device, grammar)
        with self._wake:
            if not self._alive():
                raise EngineError("The engine is not running; try again later.")
            if len(self._waiting) >= self._limits.queue:
                raise Overloaded(f"{len(self._waiting)} requests are waiting already.")
            self._waiting.append(job)
            self._wake.notify()
        return JobStream(job)

    def stats(self) -> EngineStats:
        """Return what the engine is doing now."""
        return EngineStats(
            self._alive(), len(self._running), len(self._waiting), self._limits.slots
        )

    def _alive(self) -> bool:
        return self._loop is not None and not self._loop.done() and not self._stopping

    def _decode(self, ids: Sequence[int]) -> str:
        text = self.tokenizer.decode(
            ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
        )
        assert isinstance(text, str)
        return text

    def _serve(self) -> None:
        """Work until stopped: drop what ended, take one in, make a token for each."""
        import torch

        with torch.inference_mode():
            while True:
                with self._wake:
                    self._wake.wait_for(
                        lambda: self._stopping or bool(self._waiting) or bool(self._running)
                    )
                    if self._stopping:
                        return
                self._drop_ended()
                self._admit()
                self._drop_ended()
                if self._running:
                    self._step()

    def _ended(self, loop: "Future[None]") -> None:
        """Fail every request that is left when the engine thread ends, for whatever reason."""
        error = loop.exception()
        if error is not None:
            logger.error("The engine failed.", exc_info=error)
        with self._wake:
            left = [*self._running, *self._waiting]
            self._running.clear()
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
                    self._cache.move(len(self._running), row)
                    self._running[row] = last

    def _admit(self) -> None:
        """Read the prompt of the first waiting request into a free row."""
        with self._wake:
            self._waiting = deque(job for job in self._waiting if not job.ended)
            if not self._waiting or len(self._running) == self._limits.slots:
                return
            job = self._waiting.popleft()
            self._running.append(job)
        import torch

        self._cache.prefill(len(self._running) - 1)
        prompt = torch.tensor([job.request.prompt], device=self._model.device)
        if not job.request.prompt_logprobs:
            self._choose([job], self._forward(prompt, None, None))
            return
        scores = self._forward(prompt, None, None, whole=True)
        job.prompt = self._scored(job.request, scores[0])
        self._choose([job], scores[:, -1].float())

    def _step(self) -> None:
        """Make one token for every running request."""
        import torch

        jobs, device = list(self._running), self._model.device
        positions = torch.tensor([job.length - 1 for job in jobs], device=device)
        longest = max(job.length for job in jobs)
        self._cache.decode(positions, longest)
        hidden = torch.arange(longest, device=device) > positions[:, None]
        mask = torch.zeros(hidden.shape, dtype=self._model.dtype, device=device)
        mask.masked_fill_(hidden, torch.finfo(mask.dtype).min)
        tokens = torch.tensor([[job.token] for job in jobs], device=device)
        self._choose(jobs, self._forward(tokens, positions[:, None], mask[:, None, None]))

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

    def _scored(self, request: GenerationRequest, scores: "torch.Tensor") -> tuple[Token, ...]:
        """Return the prompt's tokens; `scores`: [tokens, vocabulary], those after each token."""
        found = [self._token(request.prompt[0], 0.0)]
        for number, row in zip(request.prompt[1:], scores, strict=False):
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
        others = tuple(self._token(other, logprob) for other, logprob in likeliest)
        return self._token(number, float(row[number] - total), others)

    def _token(self, number: int, logprob: float, top: tuple[Token, ...] = ()) -> Token:
        text = self.tokenizer.decode([number], clean_up_tokenization_spaces=False)
        return Token(number, text, logprob, number in self._special, top)

    def _warm_up(self) -> None:
        """Run a prompt of one token, which also allocates the cache."""
        import torch

        with torch.inference_mode():
            self._cache.prefill(0)
            self._forward(
                torch.zeros(1, 1, dtype=torch.long, device=self._model.device), None, None
            )


def _end_tokens(model: Any, tokenizer: Any) -> frozenset[int]:
    """Return the tokens that end an answer, by the generation settings and the tokenizer."""
    ends = model.generation_config.eos_token_id
    listed = ends if isinstance(ends, list) else [ends]
    return frozenset(end for end in (*listed, tokenizer.eos_token_id) if end is not None)


def name(folder: Path) -> str:
    """Return the name of the folder, and before it that of its run where a run made it."""
    folder = folder.resolve()
    return "/".join(folder.parts[-2:]) if (folder / EVIDENCE).is_file() else folder.name


def digest(folder: Path) -> str:
    """Return one SHA-256 over the names and digests of the weight files."""
    files = sorted([*folder.glob("*.safetensors"), *folder.glob("*.gguf")])
    return sha256(canonical({path.name: sha256_file(path) for path in files}))
