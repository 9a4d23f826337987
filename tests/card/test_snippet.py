from dataclasses import replace
from pathlib import Path

import pytest

from aurora_release.card import chain as chains
from aurora_release.card import snippet
from aurora_release.card.render import FILE, page
from aurora_release.errors import AuroraError
from aurora_release.evidence import sha256
from aurora_release.run import Job


def test_snippet_is_executed_and_what_it_printed_is_evidence(job: Job, tiny_llama: Path) -> None:
    found = snippet.execute(replace(job, before={"cat": tiny_llama}))
    assert found["sha256"] == sha256(snippet.code().encode())
    assert found["printed"].endswith("\n")
    assert (job.folder / "printed.txt").read_text(encoding="utf-8") == found["printed"]


def test_snippet_that_fails_is_an_error_with_its_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, job: Job
) -> None:
    monkeypatch.setattr(snippet, "code", lambda: "raise ValueError('no such model')")
    with pytest.raises(AuroraError, match=r"does not work on the model .* no such model"):
        snippet.execute(replace(job, before={"cat": tmp_path}))


def test_card_shows_what_was_executed_with_its_output(released: Path) -> None:
    chain = chains.read(released)
    card = page(FILE, chain, {})
    assert f"```python\n{snippet.code()}```" in card
    assert "```text\nA sauna is ``hot``.\n```" in card
    stage = chain.stages["snippet"]
    other = stage.predicate.model_copy(update={"measured": {"sha256": "0" * 64, "printed": "x"}})
    changed = {**chain.stages, "snippet": replace(stage, predicate=other)}
    assert "It was not executed on this model." in page(FILE, replace(chain, stages=changed), {})
