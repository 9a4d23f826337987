import json
from pathlib import Path

import pytest

from aurora_release import evidence
from aurora_release.errors import AuroraError
from aurora_release.quantize.alone import quantize, summary
from aurora_release.recipe import Gguf, Gptq, Nf4
from tests.test_cli import aurora


def test_a_folder_is_whole_and_has_its_evidence_beside_it(tiny_llama: Path, tmp_path: Path) -> None:
    out = tmp_path / "small"
    # what a killed command left
    (tmp_path / ".small.partial").mkdir()
    (tmp_path / ".small.partial" / "model.gguf").write_bytes(b"half")
    content = quantize(tiny_llama, out, Gguf(method="gguf", type="Q4_0"), None, tmp_path)
    assert evidence.read(out / "evidence.json") == json.loads(evidence.canonical(content))
    assert evidence.subject(content) == evidence.digests(out)
    assert evidence.measured(content)["certificate"]["tokenizer_equal"] == 10_200
    assert "tokenizer equal on 10200 strings of 6 domains" in summary(content, out)
    assert [path.name for path in tmp_path.iterdir()] == ["small"]
    with pytest.raises(AuroraError, match="is there already"):
        quantize(tiny_llama, out, Nf4(method="nf4"), None, tmp_path)


def test_nothing_is_left_when_a_method_fails(tiny_llama: Path, tmp_path: Path) -> None:
    variant = Gptq(method="gptq", group_size=48)
    with pytest.raises(AuroraError, match="group_size: 48"):
        quantize(tiny_llama, tmp_path / "out", variant, None, tmp_path)
    with pytest.raises(AuroraError, match="--calibration FILE"):
        quantize(tiny_llama, tmp_path / "out", Gptq(method="gptq", group_size=32), None, tmp_path)
    with pytest.raises(AuroraError, match="nf4 takes none"):
        quantize(tiny_llama, tmp_path / "out", Nf4(method="nf4"), "text.jsonl", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--method", "nf4", "--bits", "4"), "bits: there is no such key"),
        (("--method", "gptq", "--bits", "5"), "Input should be 2, 3, 4 or 8 (it is 5)"),
        (("--method", "gguf", "--type", "Q1"), "(it is 'Q1'; did you mean"),
        (("--method", "compressed-tensors", "--scheme", "W2"), "'W4A16' or 'W8A8' (it is 'W2')"),
        (("--method", "nf4"), "nowhere/config.json is missing"),
    ],
)
def test_what_does_not_fit_is_one_sentence(
    arguments: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    done = aurora("quantize", "nowhere", *arguments, "--out", "out", cwd=tmp_path)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr
