"""Chooses the next token of one request from the model's scores."""

from typing import TYPE_CHECKING

from aurora_release.serve.engines.protocol import GenerationRequest

if TYPE_CHECKING:
    import torch


class Sampler:
    """Draws tokens by the rules of one request, with a random generator of its own."""

    def __init__(self, request: GenerationRequest, device: "torch.device"):
        import torch

        self._request = request
        self._generator = torch.Generator(device)
        if request.seed is None:
            self._generator.seed()
        else:
            self._generator.manual_seed(request.seed)
        self._prompt = torch.tensor(request.prompt, device=device)
        self._answer: list[int] = []

    def choose(self, logits: "torch.Tensor") -> int:
        """Return the next token for float32 `logits` [vocabulary]."""
        logits = self._penalize(logits)
        if self._request.temperature == 0:
            token = int(logits.argmax())
        else:
            token = self._draw(logits / self._request.temperature)
        self._answer.append(token)
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
            # a token stays while the ones before it do not reach top_p, so the first always does
            outside = ordered.cumsum(-1) - ordered >= request.top_p
            probabilities[order[outside]] = 0
        return int(probabilities.multinomial(1, generator=self._generator))
