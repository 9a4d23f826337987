"""Which documents a step of training reads: from the order and the store alone."""

from collections import Counter
from collections.abc import Iterable
from itertools import chain, islice
from pathlib import Path
from typing import Any

from aurora_release import evidence
from aurora_release.data.mixture import Order, Place, rows
from aurora_release.data.store import Store
from aurora_release.errors import AuroraError, meant
from aurora_release.recipe import Recipe, TrainStage


def which(
    recipe: Recipe, run: Path, step: int, stage: str | None = None, rank: int = 0, ranks: int = 1
) -> dict[str, Any]:
    """Return the documents of step number `step` (from 1, as in the log) of a stage of a run.

    `rank` of `ranks` narrows the answer to what one process reads. `skipped` says whether the
    evidence of the stage has the step among those that the watch took back.

    Raises:
        AuroraError: no such stage, step or rank; or the run was trained in another order.
    """
    store = Store(run / "data")
    chosen = _stage(recipe, stage)
    order = Order(recipe, chosen, store.windows)
    trained = _trained(run / chosen.name, order)
    train = recipe.train
    if not 1 <= step <= recipe.steps(chosen):
        raise AuroraError(f"--step {step}: {chosen.name} has steps 1 to {recipe.steps(chosen)}.")
    if not 0 <= rank < ranks:
        raise AuroraError(f"--rank {rank}: ranks are counted from 0 to {ranks - 1} (--ranks).")
    batch = list(islice(order.places((step - 1) * train.global_batch), train.global_batch))
    mine = chain.from_iterable(rows(train.global_batch, train.micro_batch, rank, ranks))
    documents = _documents(store, (batch[at] for at in mine))
    replayed = sum(row["tokens"] for row in documents if row["source"] in chosen.replay)
    tokens = sum(row["tokens"] for row in documents)
    return {
        "stage": chosen.name,
        "step": step,
        "first_sample": (step - 1) * train.global_batch,
        "skipped": any(entry["step"] == step for entry in trained.get("skipped", ())),
        "tokens": tokens,
        "replay": replayed / tokens,
        **{key: _totals(documents, key) for key in ("source", "language", "license")},
        "documents": documents,
    }


def lines(answer: dict[str, Any]) -> Iterable[str]:
    """Yield an answer of `which` as lines of text: a document a line, then the totals."""
    wide = max(len(row["source"]) for row in answer["documents"])
    for row in answer["documents"]:
        yield (
            f"{row['tokens']:>8}  {row['source']:<{wide}}  {row['language']:<4}  "
            f"{row['license']:<14}  {row['id']}"
        )
    yield ""
    yield (
        f"{answer['tokens']:>8}  tokens of {len(answer['documents'])} documents in step "
        f"{answer['step']} of {answer['stage']} (samples from {answer['first_sample']} on); "
        f"{answer['replay']:.1%} replay{'; skipped in training' if answer['skipped'] else ''}"
    )
    for key in ("language", "license", "source"):
        shares = (f"{name} {tokens / answer['tokens']:.1%}" for name, tokens in answer[key].items())
        yield f"{key:>8}  {', '.join(shares)}"


def _stage(recipe: Recipe, name: str | None) -> TrainStage:
    stages = {stage.name: stage for stage in recipe.train.stages}
    if name is None:
        return recipe.train.stages[0]
    if name not in stages:
        raise AuroraError(
            f"--stage {name}: train.stages has {', '.join(stages)}." + meant(name, stages)
        )
    return stages[name]


def _trained(folder: Path, order: Order) -> dict[str, Any]:
    """Return the evidence of a stage that is done; refuse one that was trained in another order."""
    if not (folder / evidence.FILE).is_file():
        return {}
    found = evidence.measured(evidence.read(folder / evidence.FILE))
    if found["order"] != order.digest:
        raise AuroraError(
            f"{folder} was trained in another order (its evidence says {found['order'][:12]}…, the "
            f"recipe {order.digest[:12]}…). Ask with the recipe and the overrides of that run."
        )
    return found


def _documents(store: Store, places: Iterable[Place]) -> list[dict[str, Any]]:
    """Return the documents of windows in the order they are met, with their tokens in them."""
    found: dict[int, dict[str, Any]] = {}
    for place in places:
        part = store.parts[place.source]
        spans = store.spans(place.source, place.window)
        ids = store.ids(spans[0].document, spans[-1].document + 1)
        for span, identity in zip(spans, ids, strict=True):
            row = found.setdefault(
                span.document,
                {"id": identity, "source": part.name, "language": part.language,
                 "license": store.license(place.source, span.document), "tokens": 0},
            )  # fmt: skip
            row["tokens"] += span.high - span.low
    return list(found.values())


def _totals(documents: list[dict[str, Any]], key: str) -> dict[str, int]:
    totals: Counter[str] = Counter()
    for row in documents:
        totals[row[key]] += row["tokens"]
    return dict(totals.most_common())
