"""The stages of a recipe, in order: recipe -> stage -> evidence -> next stage."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aurora_release.evaluate.redteam import wrappers
from aurora_release.hub import RANDOM, folder_of
from aurora_release.recipe import Preference, Quantization, Recipe, TrainStage, portable
from aurora_release.run import Job, Stage
from aurora_release.safety import policy
from aurora_release.shipped import resolve, shipped

if TYPE_CHECKING:
    from aurora_release.train.launch.launcher import Launch


def plan(recipe: Recipe, beside: Path, launch: "Launch | None" = None) -> list[Stage]:
    """Return every stage from the base model to the release; `launch` starts training's ranks."""
    stages = [_base(recipe, beside), _clean(recipe, beside)]
    if recipe.data.extend_vocabulary:
        stages.append(_vocabulary(recipe))
    stages += [_data(recipe), _evaluate(recipe, beside, "base")]
    source = recipe.start
    for stage in recipe.train.stages:
        stages.append(_train(recipe, beside, stage, source, launch))
        source = stage.name
    if recipe.tune:
        stages.append(_tune(recipe, beside, recipe.tune, source))
    stages.append(_evaluate(recipe, beside, recipe.final))
    stages += [_snippet(recipe), _filter(recipe, beside)]
    for variant in recipe.quantize:
        stages.append(_quantize(recipe, variant, recipe.final))
        stages.append(_evaluate(recipe, beside, variant.name))
    return [*stages, _release(recipe, beside, [stage.name for stage in stages])]


def _base(recipe: Recipe, beside: Path) -> Stage:
    def work(job: Job) -> dict[str, Any]:
        from aurora_release.hub import base

        return base(job)

    inputs = {"chat_template": resolve(recipe.model.chat_template, beside)}
    if recipe.model.base == RANDOM and recipe.model.config:
        inputs["config"] = resolve(recipe.model.config, beside)
    if folder := folder_of(recipe.model.base, beside):
        inputs["base"] = folder
    decides = {key: value for key, value in _json(recipe.model).items()
               if key not in ("config", "license_file", "converted_from")}  # fmt: skip
    return Stage("base", (), decides, work, inputs)


def _clean(recipe: Recipe, beside: Path) -> Stage:
    def work(job: Job) -> dict[str, Any]:
        from aurora_release.data.clean.stage import clean

        return clean(job)

    decides = {key: _corpus(recipe)[key] for key in ("sources", "heldout", "clean")}
    return Stage("clean", (), decides, work, _inputs(recipe, beside), resumes=True)


def _corpus(recipe: Recipe) -> dict[str, Any]:
    """Return what the recipe says of its texts, without what it says of them to people."""
    found = _json(recipe.data)
    for source in found["sources"]:
        del source["origin"]
    return found


def _inputs(recipe: Recipe, beside: Path) -> dict[str, Path]:
    """Return the files and folders that cleaning reads; a Hub dataset is pinned in the recipe."""
    rules = recipe.data.clean
    files = {
        source.name: source.path
        for source in recipe.data.sources
        if not source.path.startswith("hub:")
    }
    files |= {portable(path): path
              for path in (*rules.blocked_words, *rules.decontaminate_against)}  # fmt: skip
    return {name: resolve(path, beside) for name, path in files.items()}


def _vocabulary(recipe: Recipe) -> Stage:
    def work(job: Job) -> dict[str, Any]:
        from aurora_release.data.extend import extend

        return extend(job)

    decides = {"extend_vocabulary": recipe.data.extend_vocabulary}
    return Stage("vocabulary", ("base", "clean"), decides, work)


def _data(recipe: Recipe) -> Stage:
    def work(job: Job) -> dict[str, Any]:
        from aurora_release.data.stage import build

        return build(job)

    decides = {
        key: value for key, value in _corpus(recipe).items()
        if key not in ("heldout", "clean", "executor", "max_epochs")
    }  # fmt: skip
    if any(source.fim for source in recipe.data.sources):
        decides["seed"] = recipe.seed
    return Stage("data", (recipe.start, "clean"), decides, work, resumes=True)


def _train(
    recipe: Recipe, beside: Path, stage: TrainStage, source: str, launch: "Launch | None"
) -> Stage:
    def work(job: Job) -> dict[str, Any]:
        if launch and launch.ranks > 1:
            from aurora_release.train.launch.launcher import train as train_on_ranks

            return train_on_ranks(job, stage, job.before[source], launch)
        from aurora_release.train.stage import train

        return train(job, stage, job.before[source])

    earlier = recipe.train.stages[: recipe.train.stages.index(stage) + 1]
    how = {key: value for key, value in _json(recipe.train).items() if key not in _NOT_DECIDING}
    if recipe.train.average > 1:
        how["checkpoint_every"] = recipe.train.checkpoint_every  # says which weights are averaged
    watch = {key: how["watch"][key] for key in _WATCH_DECIDING}
    decides = {
        **how, "watch": watch, "stages": [_json(part) for part in earlier], "seed": recipe.seed,
    }  # fmt: skip
    sets = {f"watch.{name}": resolve(path, beside)
            for name, path in recipe.train.watch.sets.items()}  # fmt: skip
    after = tuple(dict.fromkeys((source, "data", "clean", "base")))
    return Stage(stage.name, after, decides, work, sets, resumes=True)


# what changes where or how fast the same training runs, not what it trains on
_NOT_DECIDING = (
    "stages", "checkpoint_every", "keep", "micro_batch", "zero", "activation_checkpointing",
    "loss_chunk", "compile", "deterministic", "tensorboard", "hardware",
)  # fmt: skip
# floors and the times of measuring may change under way: a breach must not cost the training
_WATCH_DECIDING = ("spike", "window", "bytes_per_source", "sets")


def _tune(recipe: Recipe, beside: Path, tune: Preference, source: str) -> Stage:
    def work(job: Job) -> dict[str, Any]:
        from aurora_release.train.preference import prefer

        return prefer(job, tune, job.before[source])

    decides = {**_json(tune), "precision": recipe.train.precision, "seed": recipe.seed}
    named = {"pairs": tune.path} if tune.path else {portable(path): path for path in tune.twins}
    pairs = {name: resolve(path, beside) for name, path in named.items()}
    return Stage(tune.name, (source,), decides, work, pairs, resumes=True)


def _evaluate(recipe: Recipe, beside: Path, of: str) -> Stage:
    def work(job: Job) -> dict[str, Any]:
        from aurora_release.evaluate.stage import evaluate

        return evaluate(job, of)

    inputs = _judge(recipe, beside)
    if recipe.evaluate.wrappers:
        wrappers.load(recipe.evaluate.wrappers)  # an unknown name costs no training
        inputs["wrappers"] = shipped(wrappers.FILE)
    after = tuple(sorted({of, "clean"}))
    return Stage(f"evaluate-{of}", after, _json(recipe.evaluate), work, inputs)


def _snippet(recipe: Recipe) -> Stage:
    def work(job: Job) -> dict[str, Any]:
        from aurora_release.card.snippet import execute

        return execute(job)

    snippet = {"snippet": shipped("model_card/snippet.txt")}
    return Stage("snippet", (recipe.final,), "snippet", work, snippet)


def _filter(recipe: Recipe, beside: Path) -> Stage:
    def work(job: Job) -> dict[str, Any]:
        from aurora_release.card.classifier import report

        return report(job)

    return Stage("filter", (), portable(recipe.policy), work, _judge(recipe, beside))


def _judge(recipe: Recipe, beside: Path) -> dict[str, Path]:
    """Return the files of the safety policy."""
    path = resolve(recipe.policy, beside)
    return {"policy": path, "head": policy.load(path).head_file(path.parent)}


def _quantize(recipe: Recipe, variant: Quantization, source: str) -> Stage:
    def work(job: Job) -> dict[str, Any]:
        from aurora_release.quantize.stage import quantize

        return quantize(job, variant)

    decides = {**_json(variant), "seed": recipe.seed}
    return Stage(variant.name, (source, "clean", "data"), decides, work)


def _release(recipe: Recipe, beside: Path, after: list[str]) -> Stage:
    def work(job: Job) -> dict[str, Any]:
        from aurora_release.card.stage import release

        return release(job)

    def seal(folder: Path) -> None:
        from aurora_release.card.stage import seal

        seal(folder)

    def stands(folder: Path) -> bool:
        from aurora_release.card.check import stands

        return stands(folder)

    inputs = {name: shipped(f"model_card/{name}.md.j2") for name in _TEMPLATES}
    if recipe.model.license_file:
        inputs["license"] = resolve(recipe.model.license_file, beside)
    return Stage("release", tuple(after), _json(recipe), work, inputs, seal=seal, stands=stands)


_TEMPLATES = ("card", "mixture", "filter", "training-content")


def _json(part: Any) -> dict[str, Any]:
    found = portable(part.model_dump(mode="json"))
    assert isinstance(found, dict)
    return found
