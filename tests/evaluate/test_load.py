import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from aurora_release.errors import AuroraError
from aurora_release.evaluate.load import LoadedModel, load
from aurora_release.evidence import sha256_file
from aurora_release.quantize.bits_and_bytes import nf4
from aurora_release.quantize.gguf import gguf


@pytest.fixture(params=["tiny_llama", "tiny_bigcode"])
def folder(request: pytest.FixtureRequest) -> Path:
    found: Path = request.getfixturevalue(request.param)
    return found


def logits(loaded: LoadedModel) -> torch.Tensor:
    ids = loaded.tokenizer("The quick brown fox", return_tensors="pt")["input_ids"]
    with torch.inference_mode():
        found: torch.Tensor = loaded.model(ids).logits.float()
    return found


def test_opens_a_model_folder_in_evaluation_mode(folder: Path) -> None:
    loaded = load(folder)
    assert not loaded.model.training
    assert loaded.template_digest == sha256_file(folder / "chat_template.jinja")


def test_nothing_is_printed_while_a_model_is_read(tiny_llama: Path) -> None:
    """A server's log and an answer in a pipe do not begin with a line of some library."""
    code = "import pathlib; from aurora_release.evaluate.load import load; load(pathlib.Path({!r}))"
    command = [sys.executable, "-c", code.format(str(tiny_llama))]
    read = subprocess.run(command, capture_output=True, text=True, check=True)
    assert read.stdout == ""


@pytest.mark.parametrize(("kind", "tolerance"), [("F16", 0.01), ("Q8_0", 0.05)])
def test_a_gguf_file_is_the_model_it_was_made_from(
    folder: Path, tmp_path: Path, kind: str, tolerance: float
) -> None:
    gguf(folder, tmp_path, type=kind)  # type: ignore[arg-type]
    source, made = load(folder), load(tmp_path)
    assert made.template_digest == source.template_digest
    source.model.float()
    made.model.float()
    expected = logits(source)
    error = (logits(made) - expected).abs().max() / expected.abs().max()
    assert error < tolerance


def test_nf4_keeps_four_bit_layers(folder: Path, tmp_path: Path) -> None:
    nf4(folder, tmp_path)
    names = {type(module).__name__ for module in load(tmp_path).model.modules()}
    assert "Linear4bit" in names


def test_a_template_is_not_required(tiny_llama: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_llama, tmp_path / "m")
    (copy / "chat_template.jinja").unlink()
    assert load(copy).template_digest is None


@pytest.mark.parametrize(
    ("lost", "said"),
    [
        ("config.json", "no config.json"),
        ("model.safetensors", "no *.safetensors"),
        ("tokenizer.json", "no tokenizer.json"),
    ],
)
def test_says_what_is_missing(tiny_llama: Path, tmp_path: Path, lost: str, said: str) -> None:
    copy = shutil.copytree(tiny_llama, tmp_path / "m")
    (copy / lost).unlink()
    with pytest.raises(AuroraError) as error:
        load(copy)
    assert said in str(error.value)
    assert str(copy) in str(error.value)


@pytest.mark.parametrize("spoiled", ["config.json", "model.safetensors", "tokenizer.json"])
def test_an_unreadable_file_is_one_sentence(tiny_llama: Path, tmp_path: Path, spoiled: str) -> None:
    copy = shutil.copytree(tiny_llama, tmp_path / "m")
    (copy / spoiled).write_bytes(b"{ nonsense")
    with pytest.raises(AuroraError, match=str(copy)) as error:
        load(copy)
    assert "\n" not in str(error.value)


def test_weights_are_never_made_up(tiny_llama: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_llama, tmp_path / "m")
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    config["num_hidden_layers"] = 3
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(AuroraError, match="lacks 9 weights"):
        load(copy)


def test_code_in_a_folder_is_not_run(tiny_llama: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(tiny_llama, tmp_path / "m")
    config = json.loads((copy / "config.json").read_text(encoding="utf-8"))
    config |= {
        "model_type": "own",
        "auto_map": {"AutoConfig": "own.C", "AutoModelForCausalLM": "own.M"},
    }
    (copy / "config.json").write_text(json.dumps(config), encoding="utf-8")
    (copy / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')", encoding="utf-8")
    with pytest.raises(AuroraError):
        load(copy)
    assert not (tmp_path / "ran").exists()


def test_no_folder_at_all(tmp_path: Path) -> None:
    with pytest.raises(AuroraError, match="not a folder"):
        load(tmp_path / "nowhere")
