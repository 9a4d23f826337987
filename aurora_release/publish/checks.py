"""Why a release may not be published."""

from pathlib import Path

from aurora_release.card import chain as chains
from aurora_release.card.check import check
from aurora_release.card.verify import verify
from aurora_release.errors import AuroraError
from aurora_release.publish.scan import scan
from aurora_release.recipe import nameless


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
        wrong += licences(folder)
    except AuroraError as error:
        wrong.append(str(error))
    return list(dict.fromkeys([*wrong, *scan(folder)]))


def licences(folder: Path) -> list[str]:
    """Return what is missing of the licences: a name, or the text that goes with the weights."""
    chain = chains.read(folder)
    recipe = chain.recipe
    wrong = [
        f"{chains.RECIPE}: the licence of {name} is {licence!r}: name it in the recipe."
        for name, licence in [("the model", recipe.model.license), *_of_sources(chain)]
        if nameless(licence)
    ]
    if not any(folder.glob("LICENSE*")):
        wrong.append(
            f"LICENSE is missing: the weights are under {recipe.model.license}, whose text goes "
            "with them. Name a file with it in model.license_file of the recipe and run again: "
            "nothing is trained a second time."
        )
    return wrong


def _of_sources(chain: chains.Chain) -> list[tuple[str, str]]:
    """Return each source with each licence that its documents have."""
    measured = chain.stages["data"].predicate.measured["sources"]
    return [
        (source.name, licence)
        for source in chain.recipe.data.sources
        for licence in (measured[source.name]["licenses"] if source.license_key else ())
        or (source.license,)
    ]
