"""compressed-tensors, written by the real llmcompressor where an environment has it."""

import json
from pathlib import Path

import pytest

from aurora_release.errors import AuroraError
from aurora_release.quantize.calibrate import Calibration
from aurora_release.quantize.certificate import certificate
from aurora_release.quantize.compressed import interpreter
from aurora_release.quantize.make import check, make
from aurora_release.recipe import Compressed

SAMPLES = tuple(tuple((7 * row + 3 * column) % 300 for column in range(64)) for row in range(8))
DOMAINS = {"python": ["def fox(dog):"], "fi": ["Nopea kettu"]}


def installed() -> bool:
    try:
        return interpreter().is_file()
    except AuroraError:
        return False


def test_without_llmcompressor_the_error_says_how_to_get_it(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AURORA_LLMCOMPRESSOR", str(tmp_path / "python"))
    with pytest.raises(AuroraError, match="pip install torch==2.13.0 llmcompressor==0.14.0.1"):
        check(tiny_llama, Compressed(method="compressed-tensors", group_size=32))


@pytest.mark.skipif(not installed(), reason="no llmcompressor: see docs/guides/quantize.md")
@pytest.mark.parametrize("scheme", ["W4A16", "W8A8"])
def test_llmcompressor_writes_what_loads_and_is_close(
    scheme: str, tiny_llama: Path, tmp_path: Path
) -> None:
    variant = Compressed.model_validate(
        {"method": "compressed-tensors", "scheme": scheme, "group_size": 32}
    )
    used = Calibration(SAMPLES, ("made",) * len(SAMPLES), (), ())
    peak = make(tiny_llama, tmp_path, variant, used)
    assert peak is not None and peak > 1e8
    settings = json.loads((tmp_path / "config.json").read_bytes())["quantization_config"]
    assert settings["quant_method"] == "compressed-tensors"
    assert not [path for path in tmp_path.iterdir() if path.is_dir() or "recipe" in path.name]
    measured = certificate(tiny_llama, tmp_path, DOMAINS, new_tokens=8)
    assert 0 < measured["logit_difference_mean"] < 1
