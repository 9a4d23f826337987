"""The evidence of a release's stages, linked from the release back to the base model."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from aurora_release import evidence, parse
from aurora_release.errors import AuroraError
from aurora_release.recipe import Recipe

FOLDER = "evidence"
UNREADABLE = (ArithmeticError, AttributeError, LookupError, TypeError, ValueError)
"""What comes of evidence whose values are of another kind than a stage writes."""
RECIPE = "recipe.json"

_MODEL_FILES = (
    "config.json", "generation_config.json", "*.safetensors", "*.safetensors.index.json",
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "vocab.txt", "merges.txt", "*.model", "*.jinja",
)  # fmt: skip


class Predicate(BaseModel):
    """What every stage states."""

    model_config = ConfigDict(strict=True, frozen=True)

    stage: str
    recipe: Any
    inputs: dict[str, str]
    previous: dict[str, str]
    """SHA-256 of the evidence of the stages before, by name."""
    environment: dict[str, Any]
    measured: dict[str, Any]


@dataclass(frozen=True)
class Statement:
    """The evidence of one stage."""

    subject: Mapping[str, str]
    """SHA-256 of the stage's files, by name."""
    predicate: Predicate
    sha256: str
    """Of the evidence file."""


@dataclass(frozen=True)
class Chain:
    """The recipe of a release and the evidence of the stages it was made by."""

    recipe: Recipe
    stages: Mapping[str, Statement]
    """By name, in the order of the recipe."""

    @property
    def final(self) -> str:
        """The name of the stage that made the released model."""
        return self.recipe.final

    @property
    def variants(self) -> list[str]:
        """The names of the quantized variants."""
        return [variant.name for variant in self.recipe.quantize]

    def measured(self) -> dict[str, dict[str, Any]]:
        """Return what each stage measured."""
        return {name: stage.predicate.measured for name, stage in self.stages.items()}


@contextmanager
def readable() -> Iterator[None]:
    """Say of evidence that nothing can be made of it what an exception would say of us."""
    try:
        yield
    except UNREADABLE as error:
        raise AuroraError(
            f"The evidence measures nothing readable ({parse.brief(repr(error))}): `aurora verify` "
            "says whether it was changed."
        ) from error


def read(folder: Path) -> Chain:
    """Return the chain that lies in a release folder.

    Raises:
        AuroraError: the recipe or a file of evidence is missing or is not what aurora writes.
    """
    found = {path.stem: path for path in (folder / FOLDER).glob("*.json")}
    return gather(_recipe(folder / RECIPE), found)


def gather(recipe: Recipe, files: Mapping[str, Path]) -> Chain:
    """Return the chain of a recipe and of the files of evidence that there are, by stage.

    Raises:
        AuroraError: a file of evidence is not what aurora writes.
    """
    found = {name: statement(path) for name, path in files.items()}
    order = {name: place for place, name in enumerate(_order(recipe))}
    names = sorted(found, key=lambda name: (order.get(name, len(order)), name))
    return Chain(recipe, {name: found[name] for name in names})


def statement(path: Path) -> Statement:
    """Return the evidence in a file.

    Raises:
        AuroraError: it is missing or not a statement of a stage.
    """
    content = evidence.read(path)
    try:
        predicate = Predicate.model_validate(content["predicate"])
        return Statement(evidence.subject(content), predicate, evidence.sha256_file(path))
    except (ValidationError, KeyError, TypeError):
        raise AuroraError(f"{path} is not complete evidence of a stage: it was changed.") from None


def breaks(chain: Chain, links: Mapping[str, str]) -> list[str]:
    """Return a sentence for each link that does not hold; `links` are those of the release."""
    wrong = []
    todo = [("the release", links)]
    reached: set[str] = set()
    while todo:
        child, parents = todo.pop()
        for name, digest in parents.items():
            where = f"{FOLDER}/{name}.json"
            stage = chain.stages.get(name)
            if stage is None:
                wrong.append(f"{where} is missing, and {child} was made from it.")
            elif stage.sha256 != digest:
                wrong.append(f"{where} is not the evidence that {child} was made from.")
            elif stage.predicate.stage != name:
                wrong.append(f"{where} is evidence of {stage.predicate.stage}.")
            elif name not in reached:
                reached.add(name)
                todo.append((name, stage.predicate.previous))
    return list(dict.fromkeys(wrong)) or _unlinked(chain, reached)


def at(chain: Chain, stage: str, part: str, *path: str) -> Any:
    """Return what lies at `path` in a part of a stage's evidence, or None."""
    found = chain.stages.get(stage)
    return None if found is None else down(getattr(found.predicate, part), *path)


def down(content: Any, *path: str) -> Any:
    """Return what lies at `path` in nested mappings, or None."""
    for key in path:
        if not isinstance(content, Mapping) or key not in content:
            return None
        content = content[key]
    return content


def _unlinked(chain: Chain, reached: set[str]) -> list[str]:
    loose = [f"{FOLDER}/{name}.json belongs to no chain." for name in chain.stages.keys() - reached]
    made = {
        "base", chain.recipe.start, "clean", "data", *chain.variants, *chain.recipe.trained,
    }  # fmt: skip
    gone = [f"{FOLDER}/{name}.json is missing: the recipe has it." for name in made - reached]
    return sorted(loose + gone)


def model_files(chain: Chain) -> dict[str, tuple[str, str]]:
    """Return {name in the release: (stage, name there)}: the trained model at the root with the
    base model's licence, and each variant in a folder of its name.
    """
    root = {name: (chain.final, name) for name in _model(chain.stages[chain.final].subject)}
    root |= {
        name: ("base", name)
        for name in chain.stages["base"].subject
        if fnmatchcase(name, "LICENSE*") and "/" not in name
    }
    below = {
        f"{variant}/{name}": (variant, name)
        for variant in chain.variants
        for name in chain.stages[variant].subject
    }
    return root | below


def _model(names: Iterable[str]) -> list[str]:
    """Return the names that make up a model, without logs and curves."""
    return [
        name
        for name in names
        if "/" not in name and any(fnmatchcase(name, pattern) for pattern in _MODEL_FILES)
    ]


def _order(recipe: Recipe) -> list[str]:
    made = ["base", *recipe.trained]
    made += [variant.name for variant in recipe.quantize]
    names = [name for stage in made for name in (stage, f"evaluate-{stage}")]
    beside = ["snippet", "filter"]
    return list(dict.fromkeys([names[0], "clean", recipe.start, "data", *names[1:], *beside]))


def _recipe(path: Path) -> Recipe:
    if not path.is_file():
        raise AuroraError(f"{path} is missing: name the folder of a release.")
    try:
        return Recipe.model_validate_json(parse.content(path))
    except ValueError as error:
        why = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise AuroraError(
            f"{path} is not a recipe that this version of aurora knows: {why}."
        ) from None
