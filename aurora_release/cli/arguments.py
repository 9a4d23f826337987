"""Arguments that several commands take, and what a shell completes for them."""

from pathlib import Path
from typing import Annotated

import typer


def complete_recipe(incomplete: str) -> list[str]:
    """Return the shipped recipes, the YAML files and the folders that begin so."""
    from aurora_release.shipped import shipped_names

    folder = Path(incomplete if incomplete.endswith("/") else Path(incomplete).parent)
    beside = (path for path in sorted(folder.glob("*")) if not path.name.startswith("."))
    found = [f"{path}/" if path.is_dir() else str(path)
             for path in beside if path.is_dir() or path.suffix in (".yaml", ".yml")]  # fmt: skip
    names = [*shipped_names("train/recipes", ".yaml"), *found]
    return [name for name in names if name.startswith(incomplete)]


def complete_stage(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the stages of the recipe on the command line that begin so."""
    from aurora_release import recipe as recipes
    from aurora_release.errors import AuroraError
    from aurora_release.plan import plan

    # an option without its value stops typer's reading: what it has read lies in `args` then
    recipe = ctx.params.get("recipe") or next(iter(ctx.args), "")
    try:
        stages = plan(*recipes.load(str(recipe)))
    except AuroraError:
        return []  # a shell completes, it does not scold
    return [stage.name for stage in stages if stage.name.startswith(incomplete)]


RecipeName = Annotated[
    str,
    typer.Argument(
        metavar="RECIPE",
        help="A YAML file or a shipped name.",
        autocompletion=complete_recipe,
    ),
]
Overrides = Annotated[
    list[str] | None,
    typer.Argument(metavar="[KEY=VALUE]...", help="Recipe keys to set, as in seed=7."),
]
Runs = Annotated[Path, typer.Option(help="Where run folders are kept.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, and nothing else.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be done; do nothing.")]
