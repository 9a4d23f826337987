"""The report's counts are those of a replay, and every column adds up."""

import json
from collections import Counter
from pathlib import Path

import pytest
from typer.testing import CliRunner

from aurora_release import recipe as recipes
from aurora_release.cli import app
from aurora_release.data import report
from aurora_release.data.mixture import Order
from aurora_release.data.store import Store
from aurora_release.errors import AuroraError
from aurora_release.recipe import Recipe


@pytest.fixture
def cleaned(run: Path, two_stages: Recipe) -> Path:
    (run / "clean").mkdir(exist_ok=True)
    sources = {
        source.name: {"heldout": 2, "removed": {"short": 3}, "masked": {}}
        for source in two_stages.data.sources
    }
    (run / "clean" / "report.json").write_text(json.dumps({"sources": sources}), encoding="utf-8")
    return run


def test_tokens_by_licence_and_stage_equal_the_replay(
    two_stages: Recipe, cleaned: Path, samples: dict[str, list[Counter[str]]]
) -> None:
    found = report.report(two_stages, cleaned)
    languages = {"en": "en", "fi": "fi", "code": "code", "pairs": "fi"}
    for stage, windows in samples.items():
        expected: Counter[tuple[str, str]] = Counter()
        for document, tokens in sum(windows, Counter[str]()).items():
            source, _, number = document.partition("-")
            expected[languages[source], "CC-BY-4.0" if int(number) % 3 else "MIT"] += tokens
        counted = {(row["language"], row["license"]): row[stage] for row in found["rows"]}
        assert {key: tokens for key, tokens in counted.items() if tokens} == expected
        facts = found["stages"][stage]
        assert facts["tokens"] == expected.total()
        assert facts["tokens"] + facts["padding"] == len(windows) * 16
    assert sum(row["store"] for row in found["rows"]) == found["tokens"]


def test_one_licence_is_counted_without_walking_and_equals_walking(
    run: Path, two_stages: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(run / "data")
    order = Order(two_stages, two_stages.train.stages[1], store.windows)
    for name in ("en", "fi"):
        part = store.parts[name]
        walked = report.read(store, order, part)
        part.licenses = {"MIT": part.tokens}
        with monkeypatch.context() as patch:
            patch.delattr(report, "_walk")
            assert report.read(store, order, part) == {"MIT": walked.total()}


def test_a_changed_shard_stops_the_report(two_stages: Recipe, cleaned: Path) -> None:
    shard = cleaned / "data" / "tokens-00002.bin"
    content = shard.read_bytes()
    shard.write_bytes(content[:-1] + b"\xff")
    with pytest.raises(AuroraError, match=r"tokens-00002\.bin is not the shard"):
        report.report(two_stages, cleaned)
    shard.write_bytes(content)


def test_the_command_prints_tables_and_writes_json_and_picture(
    two_stages: Recipe, cleaned: Path, tmp_path: Path
) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(two_stages.model_dump_json(), encoding="utf-8")
    told = ["data", "report", str(path), "--runs", str(cleaned.parent), "--out", str(tmp_path)]
    text = CliRunner().invoke(app, told).output
    written = json.loads((tmp_path / "report.json").read_bytes())
    for row in written["rows"]:
        assert f"{row['cat']:,}" in text
    assert "warning: en has been read" in text
    assert (tmp_path / "report.png").read_bytes().startswith(b"\x89PNG")
    first = (tmp_path / "report.png").read_bytes()
    found, _ = recipes.load(str(path))
    assert report.write(found, cleaned, tmp_path)["rows"] == written["rows"]
    assert (tmp_path / "report.png").read_bytes() == first
