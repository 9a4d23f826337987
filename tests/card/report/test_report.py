"""The report of a run: its numbers are the evidence's, what is missing is said, it stands alone."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aurora_release import evidence
from aurora_release.card.report import found, report
from aurora_release.card.report.found import Found
from aurora_release.errors import AuroraError
from aurora_release.recipe import Recipe

HOSTILE = '<script>alert("x")</script> & "quoted"'


@pytest.fixture(scope="module")
def said(small_run: Path) -> Found:
    return found.finished(small_run)


@pytest.fixture(scope="module")
def page(said: Found) -> str:
    return report.html(said)


def words(html: str) -> str:
    """Return the text of a page, a space where a tag was."""
    return " ".join(re.sub(r"<style>.*?</style>|<[^>]+>", " ", html, flags=re.DOTALL).split())


def section(html: str, name: str) -> str:
    start = html.index(f'<h2 id="{name}">')
    return words(html[start : html.find("<h2 ", start + 1)])


def changed(folder: Path, stage: str, **measured: Any) -> None:
    """Rewrite what a stage of a release measured."""
    path = folder / "evidence" / f"{stage}.json"
    content = json.loads(path.read_bytes())
    content["predicate"]["measured"] |= measured
    path.write_bytes(evidence.canonical(content))


def test_numbers_are_those_of_the_evidence(said: Found, page: str) -> None:
    measured = said.chain.measured()
    bits = measured["evaluate-cat"]["bits_per_byte"]["help-fi"]["bits_per_byte"]
    base = measured["evaluate-base"]["bits_per_byte"]["help-fi"]["bits_per_byte"]
    low, high = said.measured["intervals"]["base"]["cat"]["help-fi"]
    row = f"{bits:.3f} {100 * (bits / base - 1):+.1f} % [{100 * low:+.1f}, {100 * high:+.1f}]"
    assert row.replace("-", "−") in section(page, "forgetting")
    assert "tokens 40,960 20,480" in section(page, "training")
    assert "61,440 tokens in 2 stages" in section(page, "glance")
    # 40 and 20 samples of 512 tokens
    assert re.search(r"fi MPL-2\.0 123,456 20,480 10,240 30,720 \d+ %", section(page, "data"))
    assert "base 5/6 44–97 % 5/6 44–97 % 10/12" in section(page, "safety")
    assert "cyber all base 10/12 55–95 % 10/12" in section(page, "safety")
    assert "nf4 nf4 defaults" not in page
    assert "108.0 MB 900.0 MB" in section(page, "quantization")
    for gate in said.measured["gates"]:
        assert f"{gate['rule']} yes {gate['sentence']}" in section(page, "gates")
    for name, stage in said.chain.stages.items():
        assert f"{name} {stage.sha256[:12]}" in section(page, "lineage")
        assert all(digest in page for digest in (stage.sha256, *stage.subject.values()))
    assert evidence.sha256_file(Path(report.__file__)) not in page


def test_floors_and_what_was_held_out_while_training(page: str) -> None:
    text = section(page, "forgetting")
    assert "Held-out text at step 20 of cat" in text
    assert "help-fi −5.0 % [−7.0, −3.0] +5.0 %" in text
    assert "cat: floors were broken 0 times." in text


def test_skipped_batches_are_named(released: Path) -> None:
    batch = {"step": 17, "skipped": "loss 9.5 over 4", "loss": 9.5, "gradient_norm": 61.25}
    changed(released, "cat", skipped=[batch])
    text = section(report.html(found.finished(released)), "training")
    assert "17 loss 9.5 over 4 9.5 61.25" in text
    assert "cap: not measured." in text


def test_what_was_not_measured_is_said(said: Found) -> None:
    stages = {
        name: replace(stage, predicate=stage.predicate.model_copy(
            update={"measured": {}, "environment": {}}))
        for name, stage in said.chain.stages.items()
    }  # fmt: skip
    bare = replace(said.chain, stages=stages)
    html = report.html(replace(said, chain=bare, measured={}, journals={}))
    missing = section(html, "missing")
    for what in (
        "The loss of training.", "Skipped batches", "Held-out text", "Bits per byte",
        "no task was asked", "Attack success", "filter blocks", "What quantization costs.",
        "Energy of the processors", "Cost in money",
    ):  # fmt: skip
        assert what in missing
    assert "Bits per byte: not measured." in section(html, "forgetting")
    assert "Attack success and over-refusal: not measured." in section(html, "safety")
    assert "tokens not measured not measured" in section(html, "training")
    assert html.count("<svg") == 1  # the lineage alone
    assert "None" not in words(html)


def test_the_same_evidence_gives_the_same_bytes(said: Found, page: str) -> None:
    assert report.html(said) == page


def test_a_hostile_value_is_text(released: Path) -> None:
    changed(released, "base", source=HOSTILE, architecture="{{ 7 * 7 }}")
    changed(released, "clean", sources={"python": {"removed": {HOSTILE: 3}}})
    recipe = json.loads((released / "recipe.json").read_bytes())
    recipe["data"]["sources"][0]["license"] = "</td></table><img src=http://x/>"
    (released / "recipe.json").write_text(json.dumps(recipe), encoding="utf-8")
    html = report.html(found.finished(released))
    assert "<script" not in html and "<img" not in html
    assert html.count("&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt; &amp;") >= 2
    assert "{{ 7 * 7 }}" in html


def test_it_is_one_file_that_asks_for_nothing(page: str) -> None:
    assert re.findall(r"<(?:script|link|img|iframe|object|embed|base)\b", page) == []
    addresses = re.findall(r'(?:href|src|action)="([^"]*)"|url\(([^)]*)\)', page)
    assert all((one or two).startswith("#") for one, two in addresses)
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_ids_are_unique_and_references_lead_somewhere(page: str) -> None:
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    references = re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', page)
    assert {one or two for one, two in references} <= set(ids)


def test_evidence_that_no_longer_holds_is_said_first(small_run: Path, tmp_path: Path) -> None:
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    path = run / "cap" / evidence.FILE
    path.write_bytes(path.read_bytes() + b"\n")
    assert "cap was done again after this release was built" in report.html(found.finished(run))
    (run / "release" / "evidence" / "nf4.json").unlink()
    assert "evidence/nf4.json is missing" in report.html(found.finished(run))


def test_gradient_norms_are_shown_where_the_run_kept_what_its_evidence_names(
    said: Found, page: str, small_run: Path, tmp_path: Path
) -> None:
    assert [row["gradient_norm"] for row in said.journals["cat"][:2]] == [3.9, 3.8]
    assert "Gradient norm of each step" in page
    run = Path(shutil.copytree(small_run, tmp_path / "run"))
    for name in ("cap", "cat"):
        (run / name / "metrics.jsonl").write_text('{"step": 1, "gradient_norm": 9}')
    html = report.html(found.finished(run))
    assert "cat/metrics.jsonl is not what its stage wrote" in html
    assert "Gradient norm of each step" not in html
    assert "The gradient norm" in section(report.html(found.finished(run / "release")), "missing")


def test_a_run_under_way_says_how_far_it_is(
    recipe: Recipe, small_run: Path, tmp_path: Path
) -> None:
    for name in ("base", "clean", "data", "cap"):
        shutil.copytree(small_run / name, tmp_path / name)
    names = ["base", "clean", "data", "cap", "cat", "nf4"]
    html = report.html(found.under_way(tmp_path, recipe, names))
    assert "This run has no release yet" in html and "Not done: cat, nf4." in html
    assert "tokens 40,960 not measured" in section(html, "training")
    assert "release: all of the above" not in html


def test_a_run_whose_stages_do_not_fit_together_says_so(
    recipe: Recipe, small_run: Path, tmp_path: Path
) -> None:
    for name in ("base", "clean", "data"):
        shutil.copytree(small_run / name, tmp_path / name)
    path = tmp_path / "clean" / evidence.FILE
    path.write_bytes(path.read_bytes() + b"\n")
    notes = found.under_way(tmp_path, recipe, ["base", "clean", "data"]).notes
    assert any(note.startswith("data was made from another clean") for note in notes)


def test_without_evidence_there_is_no_report(recipe: Recipe, tmp_path: Path) -> None:
    with pytest.raises(AuroraError, match="has no release: name a release"):
        found.finished(tmp_path)
    with pytest.raises(AuroraError, match="holds no evidence of small"):
        found.under_way(tmp_path, recipe, ["base", "clean"])


def test_a_sealed_release_stays_as_it_was(said: Found, released: Path, tmp_path: Path) -> None:
    with pytest.raises(AuroraError, match="is a sealed release"):
        report.write(said, released / "report.html")
    assert not (released / "report.html").exists()
    report.write(said, tmp_path / "new" / "report.html")
    assert (tmp_path / "new" / "report.html").read_text(encoding="utf-8").startswith("<!doctype")
