import json
import os
import stat
from pathlib import Path

import pytest
import torch

from aurora_release.errors import AuroraError
from aurora_release.evaluate.load import load
from aurora_release.quantize.apart import apart
from aurora_release.quantize.certificate import certificate
from aurora_release.quantize.gptq import check_group_size, gptq
from aurora_release.quantize.nf4 import nf4

SAMPLES = [[(7 * row + 3 * column) % 300 for column in range(64)] for row in range(8)]


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_bigcode"])
def test_gptq_is_the_same_bytes_twice_and_close_to_its_source(
    model: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source: Path = request.getfixturevalue(model)
    folders = [tmp_path / "a", tmp_path / "b"]
    here = set(os.listdir())
    for folder in folders:
        folder.mkdir()
        apart(gptq, source, folder, bits=4, group_size=32, samples=SAMPLES)
    first, second = ({path.name: path.read_bytes() for path in f.iterdir()} for f in folders)
    assert first == second
    assert set(os.listdir()) == here  # no logs or offload folders left behind
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        assert first[name] == (source / name).read_bytes()
    measured = certificate(source, folders[0], ["def fox(dog):", "Nopea kettu"], new_tokens=8)
    assert 0 < measured["logit_difference_mean"] < 1
    assert measured["tokenizer_equal"] == 2


def test_group_size_that_does_not_fit_is_refused_before_any_work(
    tiny_llama: Path, tmp_path: Path
) -> None:
    with pytest.raises(AuroraError, match="128 does not divide the 64, 128 .* 16, 32, 64 would"):
        gptq(tiny_llama, tmp_path, bits=4, group_size=128, samples=SAMPLES)
    assert not list(tmp_path.iterdir())


def test_group_size_that_fits_is_accepted(tiny_bigcode: Path) -> None:
    check_group_size(tiny_bigcode, 64)


def test_empty_calibration_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    with pytest.raises(AuroraError, match="empty calibration"):
        gptq(tiny_llama, tmp_path, bits=4, group_size=32, samples=[[1, 2], []])


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_bigcode"])
def test_nf4_folder_loads_and_is_close_to_its_source(
    model: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    source: Path = request.getfixturevalue(model)
    peak = apart(nf4, source, tmp_path)
    assert peak is None or peak > 50 << 20
    settings = json.loads((tmp_path / "config.json").read_bytes())["quantization_config"]
    assert settings["bnb_4bit_quant_type"] == "nf4"
    assert settings["bnb_4bit_use_double_quant"]
    weights = tmp_path / "model.safetensors"
    assert stat.S_IMODE(weights.stat().st_mode) == 0o644
    measured = certificate(source, tmp_path, ["def fox(dog):", "Nopea kettu"], new_tokens=8)
    assert 0 < measured["logit_difference_mean"] < 1


def test_nf4_stores_what_was_quantized_not_what_was_used(tiny_llama: Path, tmp_path: Path) -> None:
    # bitsandbytes repacks in the first forward pass: a folder saved later is another model
    ids = torch.tensor([[3, 4, 5]])
    apart(nf4, tiny_llama, tmp_path)
    with torch.inference_mode():
        first = load(tmp_path).model(ids).logits
        assert torch.equal(first, load(tmp_path).model(ids).logits)


def test_certificate_of_a_model_against_itself_is_zero(tiny_llama: Path) -> None:
    measured = certificate(tiny_llama, tiny_llama, ["The quick brown fox"], new_tokens=8)
    assert measured["logit_difference_max"] == 0
    assert measured["greedy_agreement"] == measured["same_next_token"] == 1
    assert measured["source_weights"] == measured["weights"]


def fail(message: str) -> None:
    raise AuroraError(message)


def end() -> None:
    os._exit(9)


def test_errors_of_the_other_process_come_back() -> None:
    with pytest.raises(AuroraError, match="the value 3"):
        apart(fail, "the value 3")
    with pytest.raises(AuroraError, match="was killed; most likely memory ran out"):
        apart(end)
