"""Finds the files a user opens and edits, in a checkout or in a wheel."""

from pathlib import Path

from aurora_release.errors import AuroraError

_PACKAGE = Path(__file__).parent


def package_folder() -> Path:
    """Return the folder of the installed package."""
    return _PACKAGE


def shipped(relative: str) -> Path:
    """Return the path of a shipped file such as `train/recipes/demo.yaml`."""
    for root in (_PACKAGE / "_shipped", _PACKAGE.parent):
        if (root / relative).exists():
            return root / relative
    raise AuroraError(f"{relative} is not among the files shipped with aurora-release.")


def shipped_names(folder: str, suffix: str) -> list[str]:
    """Return the names, without suffix, of the shipped files of one kind."""
    return sorted(path.name.removesuffix(suffix) for path in shipped(folder).glob(f"*{suffix}"))


def resolve(reference: str, beside: Path) -> Path:
    """Return the file that a recipe names: `shipped:...`, an absolute path, or relative to it."""
    if reference.startswith("shipped:"):
        return shipped(reference.removeprefix("shipped:"))
    path = Path(reference).expanduser()
    return path if path.is_absolute() else beside / path
