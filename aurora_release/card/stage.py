"""The release stage: one folder that stands alone, built from the folders of the run."""

import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aurora_release import atomic, evidence
from aurora_release.card import (
    bom,
    croissant,
    derived,
    licences,
    pictures,
    render,
    safety,
    sums,
    training,
)
from aurora_release.card import chain as chains
from aurora_release.card.chain import Chain
from aurora_release.card.facts import base, bits, changed, formats
from aurora_release.errors import AuroraError
from aurora_release.evaluate.redteam.grids import picture as heat_map
from aurora_release.licences import FILE as LICENSE
from aurora_release.recipe import portable
from aurora_release.run import Job, previous

NOTICE = "NOTICE"

OWN_FILES = (
    evidence.FILE, sums.FILE, chains.RECIPE, *render.TEMPLATES, bom.FILE, croissant.FILE,
    LICENSE, NOTICE, *pictures.FILES,
)  # fmt: skip
"""What a release holds besides model files and the evidence of its stages."""


def release(job: Job) -> dict[str, Any]:
    """Write the release of a run; a pure function of the folders of its stages.

    Raises:
        AuroraError: a gate fails, evidence does not fit together, or a file is not what it was
            when its stage ended.
    """
    chain = _evidence(job)
    worked_out = derived.derive(chain)
    broken = [found["sentence"] for found in worked_out["gates"] if not found["passed"]]
    if broken:
        raise AuroraError(
            f"The release is not built, because the gates of the recipe do not hold: "
            f"{' '.join(broken)} Change the training, or `gates` in the recipe."
        )
    licence = licences.text(chain, job.beside)
    measured = {**worked_out, "bytes": _copy_models(chain, job.before, job.folder)}
    plain = evidence.plain(measured)
    _draw(chain, plain, job.folder)
    _write_licences(chain, licence, job.folder)
    for name, text in render.documents(chain, plain).items():
        (job.folder / name).parent.mkdir(exist_ok=True)
        atomic.write_text(job.folder / name, text)
    return measured


def seal(folder: Path) -> None:
    """Write the digests of a release's files, its evidence included."""
    sums.write(folder)


def _evidence(job: Job) -> Chain:
    """Copy recipe and evidence into the release and return them, read back and linked."""
    reserved = {name.partition("/")[0] for name in OWN_FILES} | {chains.FOLDER}
    for variant in job.recipe.quantize:
        if variant.name in reserved:
            raise AuroraError(
                f"quantize: a variant cannot be named {variant.name!r}, which is a folder of every "
                "release; choose another name in the recipe."
            )
    content = evidence.canonical(portable(job.recipe.model_dump(mode="json")))
    atomic.write_bytes(job.folder / chains.RECIPE, content + b"\n")
    (job.folder / chains.FOLDER).mkdir()
    for name, folder in job.before.items():
        shutil.copyfile(folder / evidence.FILE, job.folder / chains.FOLDER / f"{name}.json")
    chain = chains.read(job.folder)
    broken = chains.breaks(chain, previous(job.before))
    if broken:
        raise AuroraError(f"{' '.join(broken)} Run the stages again: `aurora run`.")
    return chain


def _copy_models(chain: Chain, before: Mapping[str, Path], folder: Path) -> int:
    """Copy the trained model and its variants; return the bytes of the trained weights."""
    for name, (stage, source) in chains.model_files(chain).items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(before[stage] / source, folder / name)
        if evidence.sha256_file(folder / name) != chain.stages[stage].subject[source]:
            raise AuroraError(
                f"{before[stage] / source} was changed after the stage {stage} ended: remove the "
                f"folder {before[stage]} and run again."
            )
    return sum(path.stat().st_size for path in folder.glob("*.safetensors"))


def _draw(chain: Chain, measured: Mapping[str, Any], folder: Path) -> None:
    (folder / pictures.FOLDER).mkdir()
    if lines := training.curves(chain):
        pictures.loss(lines, folder / pictures.LOSS)
    if stages := training.forgetting(chain):
        pictures.forgetting(stages, folder / pictures.FORGETTING)
    rows = bits(chain, measured)
    if models := changed(rows):
        pictures.changes(models, rows, folder / pictures.CHANGES)
    if grids := safety.grids(chain):
        heat_map(grids, folder / pictures.SAFETY)
    if points := formats(chain, measured):
        pictures.formats(points, folder / pictures.FORMATS)


def _write_licences(chain: Chain, text: Path | None, folder: Path) -> None:
    """Write the licence where its text is not the base model's, and what the parts are under."""
    model = chain.recipe.model
    if text:
        shutil.copyfile(text, folder / LICENSE)
    lines = [
        chain.recipe.title,
        "",
        f"Trained from {base(chain)['name']}, which is under {model.license}.",
        "The weights here are under the same licence, with all its conditions.",
        *(
            [
                "It restricts uses: whoever shares these weights, or weights made from them, must "
                f"hand on {LICENSE} and its restrictions."
            ]
            if licences.restricts(chain)
            else []
        ),
        "",
        "Trained on:",
        *(
            f"- {source.name} ({source.language}): {source.license}"
            + (f"; {' '.join(source.origin.split())}" if source.origin else "")
            for source in chain.recipe.data.sources
        ),
    ]
    atomic.write_text(folder / NOTICE, "\n".join(lines) + "\n")
