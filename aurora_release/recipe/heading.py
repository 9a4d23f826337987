"""What a shipped recipe says of itself in its first lines."""

from dataclasses import dataclass

from aurora_release.errors import AuroraError
from aurora_release.shipped import shipped, shipped_names


@dataclass(frozen=True)
class Heading:
    """The first two lines of a recipe."""

    name: str
    what: str
    """What it does, in a sentence."""
    cost: str
    """On what hardware, how long, at what cost."""
    launch: str
    """The command to type."""


def headings() -> list[Heading]:
    """Return the heading of every shipped recipe.

    Raises:
        AuroraError: a recipe does not begin with `# COST:  COMMAND` and `# WHAT`.
    """
    return [_heading(name) for name in shipped_names("train/recipes", ".yaml")]


def _heading(name: str) -> Heading:
    path = shipped(f"train/recipes/{name}.yaml")
    first, second, *_ = path.read_text(encoding="utf-8").split("\n", 2)
    cost, between, launch = first.removeprefix("# ").partition(":  ")
    if not (between and first.startswith("# ") and second.startswith("# ")):
        raise AuroraError(
            f"{path} does not begin with `# HARDWARE, TIME, COST:  COMMAND` and a line of what it "
            "does; write both."
        )
    return Heading(name, second.removeprefix("# "), cost, launch)
