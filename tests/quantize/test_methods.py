import json
import os
import stat
from pathlib import Path

import pytest

from aurora_release.errors import AuroraError
from aurora_release.quantize.apart import apart
from aurora_release.quantize.certificate import certificate
from aurora_release.quantize.gptq import check_group_size, gptq
from aurora_release.quantize.nf4 import nf4

SAMPLES = [[(7 * row + 3 * column) % 300 for column in range(64)] for row in range(8)]


# gptqmodel makes a folder for offloading whenever it reads a configuration, and leaves it to the
# garbage collector
pytestmark = pytest.mark.filterwarnings("ignore:Implicitly cleaning up <Temp:ResourceWarning")


def test_gptq_gives_the_same_bytes_twice_and_leaves_nothing_behind(
    tiny_llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    contents = []
    for out in (tmp_path / "a", tmp_path / "b"):
        out.mkdir()
        apart(gptq, tiny_llama, out, bits=4, group_size=32, samples=SAMPLES)
        contents.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert contents[0] == contents[1]
    assert list(here.iterdir()) == []
    for name in ("tokenizer.json", "chat_template.jinja", "generation_config.json"):
        assert contents[0][name] == (tiny_llama / name).read_bytes()
    check_close(tiny_llama, tmp_path / "a")


def test_gptq_of_bigcode_is_close_to_its_source(tiny_bigcode: Path, tmp_path: Path) -> None:
    apart(gptq, tiny_bigcode, tmp_path, bits=4, group_size=32, samples=SAMPLES)
    check_close(tiny_bigcode, tmp_path)


def check_close(source: Path, variant: Path) -> None:
    measured = certificate(source, variant, ["def fox(dog):", "Nopea kettu"], new_tokens=8)
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
    nf4(source, tmp_path)
    settings = json.loads((tmp_path / "config.json").read_bytes())["quantization_config"]
    assert settings["bnb_4bit_quant_type"] == "nf4"
    assert settings["bnb_4bit_use_double_quant"]
    weights = tmp_path / "model.safetensors"
    assert stat.S_IMODE(weights.stat().st_mode) == 0o644
    check_close(source, tmp_path)


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
