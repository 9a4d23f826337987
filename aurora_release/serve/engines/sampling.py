"""Chooses the next token of one request from the model's scores."""

from typing import TYPE_CHECKING

from aurora_release.serve.engines.grammar import Grammar
from aurora_release.serve.engines.protocol import GenerationRequest

if TYPE_CHECKING:
    import torch

_COLDEST = 1e-4
"""Below this temperature the likeliest token is taken: scores divided by less overflow."""


class Sampler:
    """Draws tokens by the rules of one request, with a random generator of its own."""

    def __init__(
        self, request: GenerationRequest, device: "torch.device", grammar: Grammar | None = None
    ):
        import torch

        self._request = request
        self._grammar = grammar
        self._generator = torch.Generator(device)
        if request.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(request.seed)
        self._prompt = torch.tensor(request.prompt, device=device)
        self._answer: list[int] = []
        biased, biases = zip(*request.logit_bias, strict=True) if request.logit_bias else ((), ())
        self._biased = torch.tensor(biased, dtype=torch.long, device=device)
        self._biases = torch.tensor(biases, dtype=torch.float32, device=device)

    @property
    def complete(self) -> bool:
        """Whether the grammar of the answer lets nothing follow."""
        return self._grammar is not None and self._grammar.complete

    def choose(self, logits: "torch.Tensor") -> int:
        """Return the next token for float32 `logits` [vocabulary]."""
        logits = self._penalize(logits)
        if len(self._biased):
            logits = logits.index_add(0, self._biased, self._biases)
        if self._grammar is not None:
            logits = self._grammar.allow(logits)
        if self._request.temperature < _COLDEST:
            token = int(logits.argmax())
        else:
            token = self._draw(logits / self._request.temperature)
        self._answer.append(token)
        if self._grammar is not None:
            self._grammar.take(token)
        return token

    def _penalize(self, logits: "torch.Tensor") -> "torch.Tensor":
        import torch

        request = self._request
        if request.repetition_penalty == 1 and not (
            request.frequency_penalty or request.presence_penalty
        ):
            return logits
        answer = torch.tensor(self._answer, dtype=torch.long, device=logits.device)
        times = answer.bincount(minlength=len(logits))
        seen = times.bool()
        seen[self._prompt] = True
        penalty = request.repetition_penalty
        penalized = torch.where(logits > 0, logits / penalty, logits * penalty)
        logits = torch.where(seen, penalized, logits)
        logits -= request.frequency_penalty * times + request.presence_penalty * times.bool()
        return logits

    def _draw(self, logits: "torch.Tensor") -> int:
        import torch

        request = self._request
        if 0 < request.top_k < len(logits):
            least = logits.topk(request.top_k).values[-1]
            logits = logits.masked_fill(logits < least, -torch.inf)
        probabilities = logits.softmax(-1)
        if request.top_p < 1:
            ordered, order = probabilities.sort(descending=True)
            # a token stays while the ones before it do not reach top_p; the first always does, also
            # where top_p is less than float32 can tell from 0
            outside = ordered.cumsum(-1) - ordered >= request.top_p
            outside[0] = False
            probabilities[order[outside]] = 0
        if request.typical_p < 1:
            probabilities = _typical(probabilities, request.typical_p)
        if request.min_p:
            probabilities[probabilities < request.min_p * probabilities.max()] = 0
        return int(probabilities.multinomial(1, generator=self._generator))


def _typical(probabilities: "torch.Tensor", mass: float) -> "torch.Tensor":
    """Return the tokens whose surprise is nearest to the expected one, as many as make `mass`."""
    surprise = -probabilities.log()
    expected = (probabilities * surprise).nansum()
    order = (surprise - expected).abs().argsort()
    ordered = probabilities[order]
    outside = ordered.cumsum(-1) - ordered >= mass
    outside[0] = False
    kept = probabilities.clone()
    kept[order[outside]] = 0
    return kept
