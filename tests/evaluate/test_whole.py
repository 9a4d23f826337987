import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from aurora_release import evidence
from aurora_release.cli import app
from aurora_release.errors import AuroraError
from aurora_release.evaluate import subject
from aurora_release.evaluate.measure import Settings
from aurora_release.evaluate.whole import evaluate
from aurora_release.evidence import sha256_file

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")

ROWS = {
    "lines-fi": [
        {"text": f"Kettu hyppää {i}. kerran koiran yli.", "language": "fi"} for i in range(6)
    ],
    "sums": [
        {"context": f"{i} + 1 = ", "choices": [str(i + 1), "x"], "answer": 0} for i in range(5)
    ],
    "answers": [{"prompt": "Q: 2 + 2?\nA:", "answers": ["4"]}],
    "code": [{"prompt": "def one():\n    return 1\n\nx = 0\n", "tests": "assert one() == 2"}],
}
SETTINGS = Settings(exact=True, context=128)


@pytest.fixture
def sets(tmp_path: Path) -> Path:
    folder = tmp_path / "sets"
    folder.mkdir()
    for name, rows in ROWS.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"{name}.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_every_kind_is_measured_and_bound_to_what_it_was_measured_on(
    tiny_llama: Path, sets: Path, tmp_path: Path
) -> None:
    found = evaluate([str(tiny_llama)], None, [sets], tmp_path / "out", SETTINGS)
    measured = found.models["tiny-llama"]
    assert measured["model"]["sha256"] == sha256_file(tiny_llama / "model.safetensors")
    assert measured["template"] == sha256_file(tiny_llama / "chat_template.jinja")
    assert measured["bits_per_byte"]["lines-fi"]["language"] == "fi"
    assert measured["choice"]["sums"]["chance"] == 0.5
    assert measured["written"]["answers"]["exact"] == 0.0
    assert measured["code"]["code"]["pass"] == {"pass@1": 0.0}
    statement = evidence.read(tmp_path / "out" / "tiny-llama" / evidence.FILE)
    assert evidence.measured(statement) == evidence.plain(measured)
    assert statement["predicate"]["inputs"].keys() == {"lines-fi", "sums", "answers", "code"}
    for name, digest in evidence.subject(statement).items():
        assert sha256_file(tmp_path / "out" / "tiny-llama" / name) == digest
    programs = (tmp_path / "out" / "tiny-llama" / "code.programs.jsonl").read_text("utf-8")
    assert json.loads(programs)["outcomes"] == ["failed"]


def test_what_is_measured_is_not_measured_again(
    tiny_llama: Path, sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = evaluate([str(tiny_llama)], None, [sets], tmp_path / "out", SETTINGS)
    with monkeypatch.context() as patch:
        # the model cannot be opened any more: nothing asks for it
        patch.setattr(subject, "load", lambda *_: pytest.fail("the model was opened"))
        again = evaluate([str(tiny_llama)], None, [sets], tmp_path / "out", SETTINGS)
    assert evidence.plain(again.models) == evidence.plain(first.models)
    with (sets / "sums.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(ROWS["sums"][0]) + "\n")
    more = evaluate([str(tiny_llama)], None, [sets], tmp_path / "out", SETTINGS)
    assert more.models["tiny-llama"]["choice"]["sums"]["items"] == 6


@pytest.mark.parametrize("kind", ["tiny_llama", "tiny_bigcode"])
def test_batches_do_not_change_a_score(
    kind: str, sets: Path, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(kind)
    files = [sets / "lines-fi.jsonl", sets / "sums.jsonl"]
    rows = []
    for number, batch in enumerate((1, 60, 4096)):
        settings = Settings(context=128, batch_tokens=batch, exact=True)
        out = tmp_path / str(number)
        [measured] = evaluate([str(folder)], None, files, out, settings).models.values()
        rows.append((
            measured["bits_per_byte"]["lines-fi"]["per_document"]["bits"],
            measured["choice"]["sums"]["per_item"]["right"],
            measured["choice"]["sums"]["per_item"]["right_norm"],
        ))  # fmt: skip
    assert rows[0] == rows[1] == rows[2]


def test_a_model_is_compared_with_the_one_it_came_from(
    tiny_llama: Path, tiny_bigcode: Path, sets: Path, tmp_path: Path
) -> None:
    files = [sets / "lines-fi.jsonl", sets / "sums.jsonl"]
    again = f"again={tiny_llama}"
    models = [str(tiny_bigcode), again]
    found = evaluate(models, str(tiny_llama), files, tmp_path / "out", SETTINGS)
    assert list(found.models) == ["tiny-llama", "tiny-bigcode", "again"]
    assert not any(each.changed for each in found.comparisons["again"])
    assert "again against tiny-llama: no change in any of 3 comparisons." in found.text()
    text = next(e for e in found.comparisons["tiny-bigcode"] if e.measure == "bits per byte")
    before, after = (
        found.models[name]["bits_per_byte"]["lines-fi"]["bits_per_byte"]
        for name in ("tiny-llama", "tiny-bigcode")
    )
    assert text.change == pytest.approx(after / before - 1, rel=1e-3)
    kept = json.loads((tmp_path / "out" / "comparison.json").read_text("utf-8"))
    assert kept == json.loads(found.json())


def test_an_evaluation_is_taken_as_it_was_measured(
    tiny_llama: Path, tiny_bigcode: Path, sets: Path, tmp_path: Path
) -> None:
    files = [sets / "sums.jsonl"]
    evaluate([f"a={tiny_llama}", f"b={tiny_bigcode}"], None, files, tmp_path / "out", SETTINGS)
    known = [str(tmp_path / "out" / name) for name in ("a", "b")]
    found = evaluate(known[1:], known[0], (), tmp_path / "later", SETTINGS)
    assert [each.what for each in found.comparisons["b"]] == ["sums", "sums"]


def change(folder: Path, name: str) -> None:
    """Change a file of a model without changing what it means."""
    path = folder / name
    path.write_text(path.read_text(encoding="utf-8") + "\n", encoding="utf-8")


@pytest.mark.parametrize("name", ["chat_template.jinja", "tokenizer.json", "config.json"])
def test_a_changed_model_is_measured_again(
    name: str, tiny_llama: Path, sets: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(tiny_llama, tmp_path / "model")
    files, out = [sets / "sums.jsonl"], tmp_path / "out"
    evaluate([str(folder)], None, files, out, SETTINGS)
    kept = out / "model" / "sums.json"
    old = json.loads(kept.read_bytes())
    change(folder, name)
    evaluate([str(folder)], None, files, out, SETTINGS)
    new = json.loads(kept.read_bytes())
    assert new["key"] != old["key"]
    assert new["row"] == old["row"]


def test_scores_that_are_no_numbers_are_an_error(
    tiny_llama: Path, sets: Path, tmp_path: Path
) -> None:
    from safetensors.torch import load_file, save_file

    folder = shutil.copytree(tiny_llama, tmp_path / "model")
    weights = load_file(folder / "model.safetensors")
    weights["model.norm.weight"][:] = float("nan")
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    for name in ("lines-fi", "sums"):
        with pytest.raises(AuroraError, match=r"no number \(nan\); it begins"):
            evaluate([str(folder)], None, [sets / f"{name}.jsonl"], tmp_path / "out", SETTINGS)
    assert not list((tmp_path / "out").rglob("*.json"))


def run(*arguments: Any) -> Any:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def test_the_command_prints_tables_or_json(tiny_llama: Path, sets: Path, tmp_path: Path) -> None:
    out = ("--sets", sets / "sums.jsonl", "--out", tmp_path / "out", "--limit", 3)
    text = run(tiny_llama, *out)
    assert text.exit_code == 0, text.output
    assert "sums (accuracy per character)" in text.output
    found = json.loads(run(tiny_llama, *out, "--json").stdout.splitlines()[-1])
    assert found["models"]["tiny-llama"]["choice"]["sums"]["items"] == 3


def test_mistakes_are_told(tiny_llama: Path, sets: Path, tmp_path: Path) -> None:
    def told(*models: str, against: str | None = None, files: list[Path] | None = None) -> str:
        with pytest.raises(AuroraError) as error:
            evaluate(models, against, [sets] if files is None else files, tmp_path, SETTINGS)
        return str(error.value)

    assert "Nothing to measure" in told(str(tiny_llama), files=[])
    assert "not a folder" in told(str(tmp_path / "nowhere"))
    assert "Two models are called tiny-llama" in told(str(tiny_llama), against=str(tiny_llama))
    assert "--tokenizer" in told("http://127.0.0.1:1")
