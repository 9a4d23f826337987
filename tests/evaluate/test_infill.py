"""Fill-in-the-middle: a tiny gpt_bigcode that learned three functions fills their middles."""

import json
import sys
from pathlib import Path

import pytest

from aurora_release.data import fim
from aurora_release.errors import AuroraError
from aurora_release.evaluate.bits import separator
from aurora_release.evaluate.generate import Gap, Sampling, continuations, encoded
from aurora_release.evaluate.load import LoadedModel, load
from aurora_release.evaluate.measure import Settings
from aurora_release.evaluate.whole import evaluate

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="namespaces are Linux's")

FUNCTIONS = {"double": ("2 * x", 4), "square": ("x * x", 4), "minus": ("0 - x", -2)}
ROWS = [
    {
        "id": name, "prompt": f"def {name}(x):\n", "suffix": "\n    return y\n", "stop": ["\n"],
        "tests": f"assert {name}(2) == {result}",
    }
    for name, (_, result) in FUNCTIONS.items()
]  # fmt: skip
SETTINGS = Settings(exact=True, sampling=Sampling(max_new_tokens=32))


def middle(name: str) -> str:
    return f"    y = {FUNCTIONS[name][0]}"


@pytest.fixture(scope="module")
def fills(tiny_bigcode: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder: the random gpt_bigcode with StarCoder's marks, trained until it knows."""
    import torch

    folder = tmp_path_factory.mktemp("models") / "fills"
    loaded = load(tiny_bigcode, exact=True)
    loaded.tokenizer.add_tokens([f"<fim_{mark}>" for mark in fim.MARKS], special_tokens=True)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        loaded.model.resize_token_embeddings(len(loaded.tokenizer), mean_resizing=False)
        learn(loaded)
    loaded.model.save_pretrained(folder)
    loaded.tokenizer.save_pretrained(folder)
    return folder


def learn(loaded: LoadedModel) -> None:
    import torch

    optimizer = torch.optim.AdamW(loaded.model.parameters(), lr=3e-3)
    rows = [
        [
            *encoded(loaded, Gap(row["prompt"], row["suffix"]), SETTINGS.sampling),
            *loaded.tokenizer(middle(row["id"]))["input_ids"],
            separator(loaded.tokenizer),
        ]
        for row in ROWS
    ]
    for _ in range(40):
        for ids in map(torch.tensor, rows):
            loss = loaded.model(input_ids=ids[None], labels=ids[None]).loss
            loss.backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.fixture
def gaps(tmp_path: Path) -> Path:
    path = tmp_path / "gaps.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    return path


def test_a_model_that_learned_it_fills_the_middle(fills: Path, gaps: Path, tmp_path: Path) -> None:
    found = evaluate([str(fills)], None, [gaps], tmp_path / "out", SETTINGS)
    row = found.models["fills"]["code"]["gaps"]
    assert row["pass"] == {"pass@1": 1.0}
    lines = (tmp_path / "out" / "fills" / "gaps.programs.jsonl").read_text("utf-8").splitlines()
    assert [json.loads(line)["completions"] for line in lines] == [[middle(n)] for n in FUNCTIONS]


def test_what_follows_decides_the_middle(fills: Path) -> None:
    loaded = load(fills, exact=True)
    gap = Gap(ROWS[0]["prompt"], ROWS[0]["suffix"], ("\n",))
    assert continuations(loaded, gap, SETTINGS.sampling) == [middle("double")]
    plain = continuations(loaded, Gap(gap.prompt, None, ("\n",)), SETTINGS.sampling)
    assert plain != [middle("double")]


def test_the_gap_is_asked_as_training_writes_it(fills: Path) -> None:
    loaded = load(fills, exact=True)
    ids = encoded(loaded, Gap("a = ", "\nb"), SETTINGS.sampling)
    assert loaded.tokenizer.decode(ids) == "<fim_prefix>a = <fim_suffix>\nb<fim_middle>"
    long = encoded(loaded, Gap("a = 1\n" * 400, "\nb"), SETTINGS.sampling)
    assert len(long) == 512 - 32
    assert loaded.tokenizer.decode(long).startswith("<fim_prefix>")
    assert loaded.tokenizer.decode(long).endswith("\n<fim_suffix>\nb<fim_middle>")
    spelled = encoded(loaded, Gap("<fim_middle>", ""), SETTINGS.sampling)
    assert spelled.count(fim.marks(loaded.tokenizer)["middle"]) == 1
    with pytest.raises(AuroraError, match="lower --max-new-tokens"):
        encoded(loaded, Gap("a", "b"), Sampling(max_new_tokens=512))


def test_a_model_without_the_marks_leaves_such_a_set_out(
    tiny_llama: Path, gaps: Path, tmp_path: Path
) -> None:
    with pytest.raises(AuroraError, match=r"tiny-llama can do none of the sets. .*<fim_prefix>"):
        evaluate([str(tiny_llama)], None, [gaps], tmp_path / "out", SETTINGS)
    (tmp_path / "text.jsonl").write_text('{"text": "kettu"}\n', encoding="utf-8")
    both = [gaps, tmp_path / "text.jsonl"]
    found = evaluate([str(tiny_llama)], None, both, tmp_path / "out", SETTINGS)
    assert "tiny-llama was not measured on gaps: its tokenizer has no <fim_prefix>" in found.text()
    assert found.models["tiny-llama"]["code"] == {}
    assert "tiny-llama was not measured on gaps" in (tmp_path / "out" / "report.html").read_text()
