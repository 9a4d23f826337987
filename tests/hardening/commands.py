"""The commands whose writes are made to fail, each over a folder of its own."""

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import yaml

from tests.hardening.inject import Command


def aurora(*arguments: str) -> Callable[[Path], None]:
    """Return what runs `aurora` in this process."""

    def act(folder: Path) -> None:
        from aurora_release.cli import main

        sys.argv = ["aurora", *arguments]
        main()

    return act


def _as_aurora(act: Callable[[Path], object]) -> Callable[[Path], None]:
    """Return what ends as `aurora` does: for what is a page or a server there."""

    def ended(folder: Path) -> None:
        from aurora_release import cli

        cli.app = lambda _words: act(folder)  # type: ignore[assignment]
        cli.main()

    return ended


def _nothing(folder: Path) -> None:
    """Prepare nothing."""


def api_key() -> Command:
    """A key for a server's client is added to a file that holds one."""

    def prepare(folder: Path) -> None:
        from aurora_release.serve.keys import KeyLimits, add

        add(folder / "keys", "first", KeyLimits())

    def names(folder: Path) -> list[str]:
        lines = (folder / "keys").read_text("utf-8").splitlines()
        return [line.split()[0] for line in lines]

    def read(folder: Path) -> None:
        from aurora_release.serve.keys import read

        read(folder / "keys")
        assert names(folder) in (["first"], ["first", "second"])

    return Command("aurora keys api", prepare, aurora("keys", "api", "second", "keys"), read, names,
                   refuses="has a key named second")  # fmt: skip


def signing_key() -> Command:
    """A private key that signs is made."""

    def read(folder: Path) -> None:
        from aurora_release.card.keys import public

        if (folder / "key.pem").exists():
            try:
                public(folder / "key.pem")
            except Exception as error:
                raise AssertionError(f"half a key: {error}") from None

    def there(folder: Path) -> list[str]:
        return sorted(path.name for path in folder.glob("[!.]*") if path.is_file())

    return Command("aurora keys new", _nothing, aurora("keys", "new", "key.pem"), read, there,
                   refuses="a key is never overwritten")  # fmt: skip


def _ledger(folder: Path) -> None:
    from aurora_release.safety import ledger
    from tests.safety.pairs import pair

    ledger.append(folder / "pairs.jsonl", [pair("wifi-1-benign"), pair("wifi-2-benign")])


def _ledger_holds(folder: Path) -> None:
    from aurora_release.errors import AuroraError
    from aurora_release.safety import ledger

    for path in folder.glob("*.jsonl"):
        try:
            ledger.read(path)
        except AuroraError as error:
            raise AssertionError(str(error)) from None


def ledger_review() -> Command:
    """A decision at the review desk."""

    def act(folder: Path) -> None:
        from aurora_release.safety import ledger
        from tests.safety.pairs import review

        path = folder / "pairs.jsonl"
        first = ledger.read(path)[0]
        if not first.reviews:
            ledger.review(path, first, review(first, "Aino"))

    return Command("a decision at the review desk", _ledger, _as_aurora(act), _ledger_holds)


def ledger_export() -> Command:
    """`aurora safety export`: a ledger is written from another."""
    act = aurora("safety", "export", "pairs.jsonl", "--out", "out.jsonl", "--min-reviews", "0")
    return Command("aurora safety export", _ledger, act, _ledger_holds, refuses="is there already")


def audit_log() -> Command:
    """The audit log of a server: a line that cannot be written is lost, and nothing else."""

    def act(folder: Path) -> None:
        import logging

        from aurora_release.serve import audit

        logging.disable()
        log = audit.AuditLog(folder / "audit", "policy", max_bytes=1000)
        for number in range(6):
            decision = audit.Decision(
                f"r{number}", 0, "input", "text", 0, 5, "allow", None, 0.0, "en", (), None, 1.0
            )
            log.write(decision, "hello")

    def lines(folder: Path) -> None:
        for path in folder.glob("audit*"):
            for line in path.read_text("utf-8").splitlines():
                json.loads(line)

    return Command(
        "the audit log", _nothing, _as_aurora(act), lines, lambda folder: [], goes_on=True
    )


def _tiny(folder: Path, **more: object) -> None:
    """Write a recipe of seconds, its corpora and its model."""
    from bench import tiny

    tiny.model(folder / "model")
    (folder / "model" / "chat_template.jinja").unlink(missing_ok=True)
    sources = []
    for name, words in (("fi", "kettu hyppää yli"), ("ja", "素早い")):
        lines = [json.dumps({"id": f"page-{n}", "text": f"{words} {n} " * 12}) for n in range(60)]
        (folder / f"{name}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
        sources.append(
            {"name": name, "language": name, "license": "CC0-1.0", "path": f"{name}.jsonl"}
        )
    stage = {"name": "cap", "tokens": 6 * 4 * 32, "learning_rate": 1e-3,
             "mixture": {"fi": 0.5, "ja": 0.5}}  # fmt: skip
    recipe = {
        "name": "tiny", "title": "Tiny", "seed": 1,
        "model": {"base": "model", "license": "CC0-1.0"},
        "data": {"sequence_length": 32, "sources": sources},
        "train": {"micro_batch": 2, "global_batch": 4, "checkpoint_every": 3, "stages": [stage],
                  "precision": "fp32"},
        **more,
    }  # fmt: skip
    (folder / "tiny.yaml").write_text(yaml.safe_dump(recipe), encoding="utf-8")


def _stages_hold(folder: Path) -> None:
    """Check every finished stage against its evidence, as the next run does."""
    from aurora_release import evidence

    for path in (folder / "runs" / "tiny").glob("*/evidence.json"):
        if not path.parent.name.endswith(".partial"):
            found = evidence.subject(evidence.read(path))
            assert found == evidence.digests(path.parent), f"{path.parent} is not whole"


_HEAVY = ("torch", "transformers.models.llama.modeling_llama", "aurora_release.data.clean.stage",
          "aurora_release.data.stage", "datatrove")  # fmt: skip


def data() -> Command:
    """`aurora run --until data`: cleaning and the token store."""
    act = aurora("run", "tiny.yaml", "--until", "data")
    return Command("aurora run --until data", _tiny, act, _stages_hold, imports=_HEAVY)


def train() -> Command:
    """`aurora train`: steps, checkpoints, the exported model."""

    def prepare(folder: Path) -> None:
        import os

        _tiny(folder)
        os.chdir(folder)
        aurora("run", "tiny.yaml", "--until", "data")(folder)

    act = aurora("train", "tiny.yaml")
    heavy = (*_HEAVY, "deepspeed", "aurora_release.train.loop", "aurora_release.train.stage")
    return Command("aurora train", prepare, act, _stages_hold, imports=heavy)


def _model(folder: Path) -> None:
    from bench import tiny

    tiny.model(folder / "model")
    rows = [json.dumps({"text": f"The dog {number} does not mind."}) for number in range(4)]
    (folder / "set.jsonl").write_text("\n".join(rows) + "\n", encoding="utf-8")


def evaluate() -> Command:
    """`aurora evaluate`: one model on one set."""
    act = aurora("evaluate", "model", "--sets", "set.jsonl", "--out", "out")
    return Command("aurora evaluate", _model, act, imports=_HEAVY)


def _quantize(method: str) -> Command:
    act = aurora("quantize", "model", "--method", method, "--out", "out")

    def read(folder: Path) -> None:
        from aurora_release.evaluate.load import load

        if (folder / "out").exists():
            load(folder / "out")

    def ours(folder: Path) -> object:
        return {
            path.name: sha for path in sorted((folder / "out").glob("*"))
            if path.suffix in (".gguf", ".safetensors") and (sha := _sha(path))
        }  # fmt: skip

    return Command(f"aurora quantize --method {method}", _model, act, read, ours,
                   refuses="is there already", imports=_HEAVY)  # fmt: skip


def _sha(path: Path) -> str:
    from aurora_release.evidence import sha256_file

    return sha256_file(path)


def gguf() -> Command:
    """`aurora quantize --method gguf`."""
    return _quantize("gguf")


def nf4() -> Command:
    """`aurora quantize --method nf4`."""
    return _quantize("nf4")


def _run_small(folder: Path) -> None:
    """Do the small run of tests/card, whose stages leave real evidence of tiny files."""
    from aurora_release.recipe import Recipe
    from aurora_release.run import run
    from tests.card import conftest as card

    recipe = Recipe.model_validate_json(json.dumps(card.RECIPE))
    made = folder / "runs" / "small"
    run(recipe, made, card.stages(recipe, card._write_model), made)


def _release_verifies(folder: Path) -> None:
    """Check that a release that is there is one."""
    from aurora_release.card.verify import verify

    for release in (folder / "runs" / "small" / "release", folder / "there"):
        if release.exists():
            assert verify(release).passed, f"{release} does not verify"


def release() -> Command:
    """The release stage: card, bill of materials, sums."""

    def prepare(folder: Path) -> None:
        _run_small(folder)
        shutil.rmtree(folder / "runs" / "small" / "release")

    return Command("aurora run, the release", prepare, _as_aurora(_run_small), _release_verifies)


def publish_folder() -> Command:
    """`aurora publish --to file:///…`."""

    def act(folder: Path) -> None:
        to = (folder / "there").as_uri()
        aurora("publish", "runs/small/release", "--to", to)(folder)

    return Command("aurora publish to a folder", _run_small, act, _release_verifies)


COMMANDS: dict[str, Callable[[], Command]] = {
    made.__name__: made
    for made in (
        api_key, signing_key, ledger_review, ledger_export, audit_log, data, train, evaluate,
        gguf, nf4, release, publish_folder,
    )
}  # fmt: skip
