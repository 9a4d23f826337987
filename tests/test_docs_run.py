"""Commands of the documents, run as they stand there; the rest have their reason why not."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from aurora_release.recipe import Recipe
from aurora_release.run import Job
from aurora_release.run import run as run_stages
from aurora_release.safety import ledger
from tests.card.conftest import MODEL, RECIPE, stages
from tests.documents import ROOT, commands
from tests.safety.pairs import review

# in the order of one reader, who has copied the demo's recipe and got a small release
RUN = """
aurora recipes
aurora run demo --dry-run
aurora run my-recipe.yaml --dry-run
aurora run my-recipe.yaml --dry-run name=mine seed=7
aurora run aurora-m-15b --dry-run
aurora estimate aurora-m-15b --hardware h100:256
aurora estimate my-recipe.yaml --hardware h100:64
aurora estimate my-recipe.yaml --hardware h100:64 --hardware a100-80gb:64
aurora estimate my-recipe.yaml --hardware h100:64 --mfu 0.45 --pue 1.1 --grid 0.05 \
--out plan --json
aurora card runs/demo/release
aurora card runs/demo/release --check
aurora card runs/demo/release --page mixture/README.md
aurora verify runs/demo/release
aurora report runs/demo --out demo.html
aurora verify demo
aurora card demo --check
aurora report demo --out demo.html
aurora keys new release.key
aurora keys public release.key
aurora sign runs/demo/release --key release.key
aurora verify runs/demo/release --key release.pub
aurora publish runs/demo/release --to org/name --dry-run
aurora diff runs/old/release runs/new/release
aurora keys api alice keys --tokens-per-minute 20000
aurora safety policy
aurora safety policy my-policy.yaml --json
aurora safety stats 'train/safety/*.jsonl'
aurora safety export mine.jsonl --min-reviews 1 --out reviewed.jsonl
aurora safety export mine.jsonl --preferences --out preferences.jsonl
""".strip().splitlines()

NOT_RUN = {
    r"aurora (serve|chat) ": "runs until it is stopped; tests/serve starts servers and talks",
    r"aurora safety review ": "runs until it is stopped; tests/safety opens the desk",
    r"aurora (publish|diff) .* org/name": "asks the Hub; tests/publish has a stand-in for it",
    r"aurora publish .* file:///srv": "writes outside of the test; tests/publish publishes",
    r"aurora (sign|verify) runs/my-recipe/": "the same commands are run on runs/demo",
    r"aurora (run|train|tune) ": "trains, minutes to days; tests/train trains",
    r"aurora doctor": "looks at this machine; tests/test_doctor.py does",
    r"aurora init ": "reads your text; tests/test_draft.py drafts",
    r"aurora report .* --recipe ": "a run that ended early; tests/card/report has one",
    r"aurora data ": "reads a base model and its token store; tests/data builds one",
    r"aurora evaluate ": "measures models; tests/evaluate does",
    r"aurora quantize ": "makes and measures variants; tests/quantize does",
    r"aurora safety (eval|evasions|fit|agreement|report|classify)": "asks models: tests/safety",
}

INTO = {"aurora keys public release.key": "release.pub"}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, tuple[int, str]]:
    """The exit code of each command, and what it said."""
    folder = tmp_path_factory.mktemp("reader")
    _furnish(folder)
    asked = [(_words(line, folder), "", INTO.get(line, "")) for line in RUN]
    done = subprocess.run(
        [sys.executable, "-m", "tests.session"], cwd=folder, capture_output=True, text=True,
        input="".join(json.dumps(each) + "\n" for each in asked), check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(RUN), done.stderr[-2000:]
    return dict(zip(RUN, found, strict=True))


def _furnish(folder: Path) -> None:
    """Write what a reader of the documents has at hand."""
    recipe = Recipe.model_validate_json(json.dumps(RECIPE))
    run_stages(recipe, folder, stages(recipe, _write_model), folder / "small")
    shutil.copytree(folder / "small/release", folder / "runs/demo/release")
    for name in ("old", "new"):
        (folder / "runs" / name).symlink_to("demo")
    (folder / "demo").symlink_to("runs/demo/release")
    (folder / "train").symlink_to(ROOT / "train")
    shutil.copy(ROOT / "train/recipes/demo.yaml", folder / "my-recipe.yaml")
    mine = folder / "mine.jsonl"
    shutil.copy(ROOT / "train/safety/fi.jsonl", mine)
    first = ledger.read(mine)[0]
    ledger.review(mine, first, review(first, "Aino", "edit", "En voi auttaa tässä."))
    for name in ("head.safetensors", "head.json"):
        shutil.copy(ROOT / "serve/policies" / name, folder)
    shutil.copy(ROOT / "serve/policies/default.yaml", folder / "my-policy.yaml")


def _write_model(job: Job) -> None:
    for name, content in MODEL.items():
        (job.folder / name).write_text(content, "utf-8")


def _words(line: str, folder: Path) -> list[str]:
    """Return the words of a command behind `aurora`, files found as a shell finds them."""
    found = [
        sorted(map(str, folder.glob(word))) if "*" in word else [word]
        for word in shlex.split(line)[1:]
    ]
    return [word for each in found for word in each]


@pytest.mark.parametrize("line", RUN)
def test_commands_do_what_they_should(line: str, answers: Mapping[str, tuple[int, str]]) -> None:
    code, said = answers[line]
    assert code == 0, said


def test_every_command_is_run_or_has_its_reason() -> None:
    documented = {str(command) for command in commands()}
    assert set(RUN) <= documented, "a command that no document has any more"
    left = documented - set(RUN)
    for line in left:
        assert any(re.match(pattern, line) for pattern in NOT_RUN), f"{line}: run it or say why not"
    for pattern in NOT_RUN:
        assert any(re.match(pattern, line) for line in left), pattern
