"""Licences that a release would lack, told before anything is trained."""

from pathlib import Path

from aurora_release.hub import folder_of
from aurora_release.recipe import Recipe, nameless

FILE = "LICENSE"

TEXTS = {
    "apache-2.0": "train/corpus/LICENSE-Apache-2.0.txt",
    "bigcode-openrail-m": "model_card/licenses/bigcode-openrail-m.txt",
}
"""Licences whose text ships with aurora-release, by their name in small letters."""


def unpublishable(recipe: Recipe, beside: Path) -> list[str]:
    """Return a sentence where a licence would stop the release, or `aurora publish`.

    It is known before anything is trained, but for what comes with a package or from the Hub.
    """
    names = ["the base model (model.license)"] if nameless(recipe.model.license) else []
    names += [source.name for source in recipe.data.sources
              if nameless(source.license) and not source.license_key]  # fmt: skip
    found = [
        f"No licence is named for {', '.join(names)}: aurora publish will refuse the release, and "
        "where one is named later, all that was made of it is made and trained again."
    ] if names else []  # fmt: skip
    model = recipe.model
    folder = folder_of(model.base, beside)
    ours = model.license_file or model.license.lower() in TEXTS
    if folder and not ours and not any(folder.glob(f"{FILE}*")):
        found.append(
            f"{model.base} has no {FILE} file, and no text of {model.license!r} ships with "
            "aurora: the release will not be built, or not published. Name a file with that text "
            "in model.license_file."
        )
    return found
