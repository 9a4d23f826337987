"""A vocabulary that grows leaves old text as it was, and every new row is the mean of its run."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from aurora_release.data.documents import Document, line
from aurora_release.data.extend import extend
from aurora_release.errors import AuroraError
from aurora_release.recipe import Recipe
from aurora_release.run import Job

TEXTS = {
    "en": "The quick brown fox jumps over the lazy dog. ",
    "fi": "Lentokonesuihkuturbiinimoottori huutaa yöttömässä yössä. ",
    "hi": "विमान रात में उड़ता है। ",
    "ja": "飛行機は夜に飛びます。",
}
ADDED = 60


def _job(base: Path, folder: Path) -> Job:
    sources = []
    for name, text in TEXTS.items():
        (folder / "clean" / "text" / name).mkdir(parents=True)
        documents = [Document(f"{n}", f"{n}", text * (3 + n % 4)) for n in range(30)]
        with (folder / "clean" / "text" / name / "00000.jsonl").open("wb") as file:
            file.writelines(line(document) for document in documents)
        sources.append({"name": name, "path": "x", "language": name, "license": "MIT"})
    stage = {"name": "cap", "tokens": 640, "mixture": {"fi": 1}, "learning_rate": 1e-4}
    recipe = Recipe.model_validate_json(
        json.dumps({
            "name": "tiny",
            "title": "Tiny",
            "seed": 1,
            "model": {"base": "tiny", "license": "MIT"},
            "data": {"sources": sources, "extend_vocabulary": ADDED},
            "train": {"stages": [stage]},
        })
    )  # fmt: skip
    (folder / "vocabulary").mkdir()
    before = {"base": base, "clean": folder / "clean"}
    return Job(recipe, folder, folder / "vocabulary", before)


def _untied(llama: Path, folder: Path) -> Path:
    model: Any = AutoModelForCausalLM.from_pretrained(llama)
    model.config.tie_word_embeddings = False
    model.lm_head.weight = torch.nn.Parameter(torch.randn_like(model.lm_head.weight))
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(llama).save_pretrained(folder)
    return folder


@pytest.mark.parametrize("kind", ["llama", "bigcode", "untied"])
def test_new_rows_are_the_mean_of_what_they_stand_for(
    kind: str, tiny_llama: Path, tiny_bigcode: Path, tmp_path: Path
) -> None:
    base = {"llama": tiny_llama, "bigcode": tiny_bigcode}.get(kind)
    base = base or _untied(tiny_llama, tmp_path / "untied")
    job = _job(base, tmp_path)
    measured = extend(job)
    assert measured["added"] == ADDED
    assert measured["learned_on"] == ["fi", "hi", "ja"]
    old, new = (AutoModelForCausalLM.from_pretrained(path) for path in (base, job.folder))
    before, after = (AutoTokenizer.from_pretrained(path) for path in (base, job.folder))
    assert len(after) == len(before) + ADDED == measured["rows"] == new.config.vocab_size
    for table in ("get_input_embeddings", "get_output_embeddings"):
        was, now = getattr(old, table)().weight, getattr(new, table)().weight
        assert torch.equal(was, now[: len(was)])
        for number in range(len(before), len(after)):
            text = after.backend_tokenizer.id_to_token(number)
            run = before.backend_tokenizer.encode(
                after.backend_tokenizer.decoder.decode([text]), add_special_tokens=False
            ).ids
            if "\ufffd" not in before.decode(run):
                torch.testing.assert_close(now[number], was[run].mean(0))
    assert torch.equal(
        *(model(torch.tensor([[5, 9, 40]])).logits[..., :300] for model in (old, new))
    )


def test_any_text_comes_back_and_old_words_stay(tiny_llama: Path, tmp_path: Path) -> None:
    job = _job(tiny_llama, tmp_path)
    measured = extend(job)
    before, after = (AutoTokenizer.from_pretrained(path) for path in (tiny_llama, job.folder))
    for text in (*TEXTS.values(), "Příliš žluťoučký kůň\n\n\t x\u200d\x00 𝔘🦊 <|im_end|>"):
        ids = after(text, add_special_tokens=False)["input_ids"]
        assert after.decode(ids, clean_up_tokenization_spaces=False) == text
    english = TEXTS["en"]
    assert after(english)["input_ids"] == before(english)["input_ids"]
    for name in measured["learned_on"]:
        was, now = (measured[when][name]["tokens_per_character"] for when in ("before", "after"))
        assert now < 0.7 * was


def test_the_same_text_gives_the_same_bytes(tiny_llama: Path, tmp_path: Path) -> None:
    made = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        job = _job(tiny_llama, tmp_path / name)
        extend(job)
        made.append((job.folder / "tokenizer.json").read_bytes())
        made.append((job.folder / "model.safetensors").read_bytes())
    assert made[:2] == made[2:]


def test_a_tokenizer_that_is_not_byte_level_is_refused(tiny_llama: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    content = json.loads((tiny_llama / "tokenizer.json").read_bytes())
    (other / "tokenizer.json").write_text(json.dumps(content | {"decoder": None}), "utf-8")
    with pytest.raises(AuroraError, match="needs a byte-level BPE tokenizer; that of tiny is BPE"):
        extend(_job(other, tmp_path))
