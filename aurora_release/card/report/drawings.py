"""The pictures of a report as SVG that stands inside a page and takes its colours."""

import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from aurora_release.card import pictures
from aurora_release.card.report import lineage
from aurora_release.card.report.found import Found
from aurora_release.errors import missing_extra
from aurora_release.picture import INK, QUIET

ALT = {
    "loss": "Line chart: loss of each step of the training stages, and its running mean.",
    "norm": "Line chart: gradient norm of each step of the training stages.",
    "bits": "Bar chart: change of bits per byte from the base model, by source and model.",
    "forgetting": "Line chart: change of held-out bits per byte while training, with floors.",
    "formats": "Scatter chart: megabytes of each variant against its change of bits per byte.",
    "lineage": "Graph: which stage was made from which, from the base model to the release.",
}
"""What each picture is, for those who do not see it; the numbers are in the tables beside it."""

_OF_THE_PAGE = {INK: "currentColor", QUIET: "var(--line)", "#ffffff": "var(--page)"}
_ADDRESS = re.compile(r'(?<=\bid=")|(?<=href="#)|(?<=url\(#)')


def drawings(found: Found, facts: Mapping[str, Any]) -> dict[str, str]:
    """Return the SVG of each picture whose numbers were measured, by its name.

    Raises:
        AuroraError: matplotlib is not installed.
    """
    try:
        import matplotlib  # noqa: F401
    except ImportError:
        raise missing_extra("matplotlib", "evaluate") from None
    with TemporaryDirectory() as folder:
        drawn = {}
        for name, draw in _all(found, facts).items():
            path = Path(folder) / f"{name}.svg"
            draw(path)
            drawn[name] = inline(path.read_text(encoding="utf-8"), name)
    return drawn


def _all(found: Found, facts: Mapping[str, Any]) -> dict[str, Callable[[Path], None]]:
    todo: dict[str, Callable[[Path], None]] = {}
    if facts["curves"]:
        todo["loss"] = partial(pictures.loss, facts["curves"])
    if norms := facts["norms"]:
        todo["norm"] = partial(pictures.steps, norms, "Gradient norm", "before clipping")
    if facts["changed"]:
        todo["bits"] = partial(pictures.changes, facts["changed"], facts["bits"])
    if facts["forgetting"]:
        todo["forgetting"] = partial(pictures.forgetting, facts["forgetting"])
    if facts["formats"]:
        todo["formats"] = partial(pictures.formats, facts["formats"])
    todo["lineage"] = partial(_lineage, found)
    return todo


def _lineage(found: Found, path: Path) -> None:
    chain = found.chain
    kinds = {name: 2 for name in chain.stages if name.startswith("evaluate-")}
    kinds |= dict.fromkeys(chain.recipe.trained, 0) | dict.fromkeys(chain.variants, 1)
    previous = {name: list(stage.predicate.previous) for name, stage in chain.stages.items()}
    digests = {name: stage.sha256 for name, stage in chain.stages.items()}
    lineage.draw(previous, digests, kinds, found.links is not None, path)


def inline(svg: str, name: str) -> str:
    """Return an SVG without its header and size, with ids of its own and the page's colours."""
    head, body = svg[svg.index("<svg") :].split(">", 1)
    head = re.sub(r' (?:width|height)="[^"]*"', "", head)
    svg = f'{head} role="img" aria-label="{ALT[name]}">{body}'
    svg = _ADDRESS.sub(f"{name}-", svg)
    for colour, ours in _OF_THE_PAGE.items():
        svg = re.sub(rf'(?<=: ){colour}(?=[;"])', ours, svg)
    return svg.replace("'DejaVu Sans'", "'DejaVu Sans', Verdana, sans-serif")
