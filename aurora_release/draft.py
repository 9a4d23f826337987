"""Drafts a recipe from a few answers: a commented file that `aurora run` accepts."""

import json
import os
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from aurora_release import atomic
from aurora_release import recipe as recipes
from aurora_release.data.sources import HUB, hub_name
from aurora_release.errors import AuroraError
from aurora_release.recipe import Model, Recipe, Source
from aurora_release.recipe.read import check
from aurora_release.shipped import resolve, shipped, shipped_names

TEMPLATE = "train/templates/recipe.yaml.j2"
REPLAY = ("en", "code")
"""What every base model is taken to know: repeated where it is not taught, against forgetting."""


@dataclass(frozen=True)
class Answers:
    """What a draft is made from."""

    base: str
    license: str
    """Of the base model."""
    languages: tuple[str, ...]
    texts: Mapping[str, str]
    """{language: where its text lies}, from the folder of the command; shipped text else."""
    licenses: Mapping[str, str]
    """{language: licence} of `texts`."""
    hardware: str
    """`cpu`, or NAME:COUNT."""
    variants: tuple[str, ...]
    """Methods of quantization."""


@dataclass(frozen=True)
class Size:
    """Numbers that fit a machine; a person changes them soon."""

    sequence_length: int
    heldout: float
    global_batch: int
    zero: str
    recompute: bool
    checkpoint_every: int
    cap: int
    cap_rate: str
    cat: int
    cat_rate: str
    bytes_per_source: int
    context: int


def write(file: Path, answers: Answers, force: bool = False) -> Recipe:
    """Write a recipe to `file` and return it.

    Raises:
        AuroraError: the file is there and `force` is not said, a text or a base is not there, or
            an answer makes no recipe.
    """
    refuse_to_overwrite(file, force)
    text = render(file, answers)
    found = check(text, file)
    file.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(file, text)
    return found


def refuse_to_overwrite(file: Path, force: bool) -> None:
    """Raise an AuroraError where `file` is there and may not be replaced."""
    if file.exists() and not force:
        raise AuroraError(f"{file} is there already: name another file, or say --force.")


def known_base(base: str) -> Model | None:
    """Return what a shipped recipe says of a base model, whatever its revision."""
    for name in shipped_names("train/recipes", ".yaml"):
        model = recipes.load(name)[0].model
        if model.base in (base, base.partition("@")[0]) or model.base.partition("@")[0] == base:
            return model
    return None


def shipped_text(language: str) -> Source | None:
    """Return the text that ships for a language."""
    return next((source for source in _shipped("text") if source.language == language), None)


def _shipped(kind: str) -> list[Source]:
    demo, _ = recipes.load("demo")
    return [source for source in demo.data.sources if source.kind == kind]


def render(file: Path, answers: Answers) -> str:
    """Return the recipe as text; paths in it start from the folder of `file`."""
    import jinja2

    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)
    environment.filters |= {"quoted": _quoted, "word": _word}
    page = environment.from_string(shipped(TEMPLATE).read_text(encoding="utf-8"))
    return page.render(
        file=shlex.quote(str(file)),
        name=_name(file),
        hardware=answers.hardware,
        cost=_cost(answers),
        size=_size(answers.hardware),
        variants=answers.variants,
        **_model(answers, file.parent),
        **_data(answers, file.parent),
    )


def _model(answers: Answers, folder: Path) -> dict[str, Any]:
    """Return what the recipe says of the base model."""
    known = known_base(answers.base)
    base = known.base if known and "@" not in answers.base else answers.base
    default = Model.model_fields["chat_template"].default
    template = known.chat_template if known and known.chat_template != default else None
    return {
        "base": _place(base, folder),
        "floating": _is_hub(base) and "@" not in base,
        "license": answers.license,
        "config": known and known.config,
        "sha256": known.sha256 if known and known.base == base else None,
        "converted_from": known.converted_from if known and known.base == base else None,
        "chat_template": template,
    }


def _data(answers: Answers, folder: Path) -> dict[str, Any]:
    """Return what the recipe says of texts, pairs and their shares."""
    languages = list(answers.languages)
    replay = tuple(each for each in REPLAY if each not in languages)
    pairs = [source for source in _shipped("pairs") if source.language in ("en", *languages)]
    spoken = [source.language for source in pairs]
    safety = tuple(f"safety-{language}" for language in spoken)
    return {
        "languages": languages,
        "texts": [_text(each, answers, folder) for each in (*replay, *languages)],
        "pairs": pairs,
        "unpaired": [language for language in languages if language not in (*spoken, "code")],
        "replay": replay,
        "cap": _mixture({replay: 0.3, tuple(languages): 0.7}),
        "cat": _mixture({replay: 0.2, tuple(languages): 0.6, safety: 0.2}),
    }


def _text(language: str, answers: Answers, folder: Path) -> dict[str, str]:
    """Return a source of text: the answer's, or the one that ships."""
    path, ours = answers.texts.get(language), shipped_text(language)
    if path is None and ours:
        return {
            "language": language, "license": ours.license, "path": ours.path,
            "origin": ours.origin or "",
        }  # fmt: skip
    if path is None:
        raise AuroraError(
            f"No text ships for {language}: say where yours lies, --text {language}=PATH."
        )
    check_text(path)
    placed = path if path.startswith((HUB, "shipped:")) else _place(path, folder)
    return {
        "language": language, "license": answers.licenses[language], "path": placed, "origin": "",
    }  # fmt: skip


def check_text(path: str) -> None:
    """Raise an AuroraError where `path` is no file, no folder and no pinned dataset."""
    if path.startswith(HUB):
        hub_name(path)
    elif path.startswith("shipped:"):
        resolve(path, Path())
    elif not Path(path).expanduser().exists():
        raise AuroraError(f"{path} is missing: there is no such file or folder of text.")


def check_base(base: str) -> None:
    """Raise an AuroraError where `base` is no package, no folder and no Hub id."""
    if base.startswith("pypi:") or _is_hub(base):
        return
    if not (Path(base).expanduser() / "config.json").is_file():
        raise AuroraError(
            f"{base} is no model folder here (it needs a config.json), no Hub id like ORG/NAME and "
            "no pypi:PACKAGE==VERSION."
        )


def _is_hub(base: str) -> bool:
    return bool(re.fullmatch(r"[\w.-]+/[\w.-]+(@\S+)?", base)) and not Path(base).is_dir() and (
        not base.startswith((".", "~"))
    )  # fmt: skip


def _place(path: str, folder: Path) -> str:
    """Return a path as it reads from `folder`; what is no file here stays as it is."""
    here = Path(path).expanduser()
    if here.is_absolute() or not here.exists():
        return str(here) if here.exists() else path
    return os.path.relpath(here, folder)


def _name(file: Path) -> str:
    return re.sub(r"[^a-z0-9]+", "-", file.stem.lower()).strip("-")[:63] or "recipe"


def _cost(answers: Answers) -> str:
    if answers.hardware == "cpu":
        return "This machine, a quarter of an hour for a model like the demo's, no cost"
    return f"{answers.hardware}, time and energy by the dry run"


def _size(hardware: str) -> Size:
    """Return a start for the hardware: on a CPU the demo's numbers, on GPUs a small real run.

    The CPU's rates are half the demo's, which spreads its steps over four languages: one language
    and its few safety pairs at the demo's rates made a model that refused harmless requests.
    """
    if hardware == "cpu":
        return Size(512, 0.1, 1, "zero0", False, 20, 16_000, "2.0e-4", 18_000, "1.5e-4", 4000, 1024)
    from aurora_release.train.estimate.machines import machines

    count = machines(hardware).count
    batch = count * max(1, 64 // count)
    zero = "zero0" if count == 1 else "zero2"
    return Size(2048, 0.01, batch, zero, True, 100, 100_000_000, "1.0e-4", 20_000_000, "5.0e-5",
                100_000, 2048)  # fmt: skip


def _mixture(shares: Mapping[tuple[str, ...], float]) -> str:
    """Return weights in YAML: each group's share, in equal parts."""
    weights = {
        name: round(share / len(names), 4) for names, share in shares.items() for name in names
    }
    return "{" + ", ".join(f"{_word(name)}: {weight:g}" for name, weight in weights.items()) + "}"


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _word(text: str) -> str:
    """Return a word for YAML, which takes Norwegian (`no`) for false."""
    return text if yaml.safe_load(text) == text else _quoted(text)
