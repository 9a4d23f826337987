"""Why a release may not be published."""

from pathlib import Path

from aurora_release.card import chain as chains
from aurora_release.card.check import check
from aurora_release.card.verify import verify
from aurora_release.errors import AuroraError
from aurora_release.publish.scan import scan

_NAMELESS = ("", "unknown", "other")


def refusals(folder: Path, key: Path | None = None) -> list[str]:
    """Return a sentence for each thing that must not go out; none where all is well.

    Checked are all that `aurora verify` checks (files, chain, card, gates, signature), stages done
    again since the release was built, licences, secrets and personal paths.

    Raises:
        AuroraError: the folder is no release, or the key is no key.
    """
    report = verify(folder, key)
    wrong = [found.sentence for found in report.checks if found.passed is False]
    try:
        wrong += check(folder)
        wrong += _licences(folder)
    except AuroraError as error:
        wrong.append(str(error))
    return list(dict.fromkeys([*wrong, *scan(folder)]))


def _licences(folder: Path) -> list[str]:
    """Return what is missing of the licences: a name, or the text that goes with the weights."""
    recipe = chains.read(folder).recipe
    wrong = [
        f"{chains.RECIPE}: the licence of {name} is {licence!r}: name it in the recipe."
        for name, licence in [
            ("the model", recipe.model.license),
            *((source.name, source.license) for source in recipe.data.sources),
        ]
        if licence.strip().lower() in _NAMELESS
    ]
    if not any(folder.glob("LICENSE*")):
        wrong.append(
            f"LICENSE is missing: the weights are under {recipe.model.license}, whose text goes "
            "with them. Put it beside the base model's weights, and run again."
        )
    return wrong
