"""Reads a recipe file: finds it, applies overrides, and says what is wrong in sentences."""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from aurora_release import parse, slips
from aurora_release.errors import AuroraError, meant
from aurora_release.recipe.whole import Recipe
from aurora_release.shipped import shipped, shipped_names

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


def load(reference: str, overrides: tuple[str, ...] = ()) -> tuple[Recipe, Path]:
    """Return a checked recipe and the folder its relative paths start from.

    `reference` is a YAML file or the name of a shipped recipe; `overrides` are `key=value` with
    dotted keys (`train.stages.0.tokens=1000`).

    Raises:
        AuroraError: no such recipe, not YAML, or keys and values a recipe cannot have.
    """
    path = _find(reference)
    try:
        text = parse.text(path)
    except OSError as error:
        raise AuroraError(f"{path} cannot be read as a recipe: {error.strerror}.") from None
    except ValueError as error:
        raise AuroraError(f"{path} is not valid YAML: {error}") from None
    return check(text, path, overrides), path.parent


def check(text: str, path: Path, overrides: tuple[str, ...] = ()) -> Recipe:
    """Return the recipe that `text` is; `path` is what errors call it.

    Raises:
        AuroraError: not YAML, or keys and values a recipe cannot have.
    """
    try:
        content = parse.yaml_text(text)
    except ValueError as error:
        raise AuroraError(f"{path} is not valid YAML: {error}") from None
    if not isinstance(content, dict):
        raise AuroraError(f"{path} holds no recipe: expected keys such as name, model and data.")
    for override in overrides:
        _override(content, override)
    try:
        return Recipe.model_validate_json(parse.as_json(content))
    except ValidationError as error:
        raise AuroraError(f"{path} is not a valid recipe:\n" + sentences(error)) from None
    except ValueError as error:
        raise AuroraError(f"{path} is not a valid recipe: {error}.") from None


def _find(reference: str) -> Path:
    path = Path(reference).expanduser()
    if path.is_file():
        return path.resolve()
    names = shipped_names("train/recipes", ".yaml")
    if reference in names:
        return shipped(f"train/recipes/{reference}.yaml")
    raise AuroraError(
        f"{reference} is neither a recipe file nor a shipped recipe ({', '.join(names)})."
        + meant(reference, names)
    )


def _override(content: dict[str, Any], override: str) -> None:
    """Set one dotted key of a raw recipe."""
    key, equals, value = override.partition("=")
    said = parse.brief(repr(override))
    if not equals or not key:
        raise AuroraError(f"{said} is not an override; write key=value, as in seed=7.")
    try:
        wanted = parse.yaml_text(value)
    except ValueError as error:
        raise AuroraError(f"{said} is not valid YAML after `=`: {error}.") from None
    *parents, last = key.split(".")
    place: Any = content
    for parent in parents:
        place = _step(place, parent, said)
    if isinstance(place, list):
        place[_index(place, last, said)] = wanted
    else:
        place[last] = wanted


def _step(place: Any, key: str, said: str) -> Any:
    child = (
        place[_index(place, key, said)] if isinstance(place, list) else place.setdefault(key, {})
    )
    if not isinstance(child, (dict, list)):
        name = parse.brief(repr(key))
        raise AuroraError(f"{said}: {name} holds a value, it has no keys below it.")
    return child


def _index(place: list[Any], key: str, said: str) -> int:
    # ASCII and short: `²` is a digit too, and int() refuses 5,000 of them
    if not (key.isascii() and key.isdigit() and len(key) < 10 and int(key) < len(place)):
        name = parse.brief(repr(key))
        raise AuroraError(f"{said}: {name} is no place in a list of {len(place)}; count from 0.")
    return int(key)


def sentences(error: ValidationError) -> str:
    """Return one line for each mistake: the key, the value, and what was probably meant."""
    return parse.sentences(error, "recipe", _sentence)


def _sentence(mistake: "ErrorDetails") -> str | None:
    """Return what is wrong, where more than that can be said."""
    value, about = mistake["input"], mistake.get("ctx", {})
    match mistake["type"]:
        case "extra_forbidden":
            return "there is no such key" + slips.key(mistake["loc"], {Recipe})
        case "literal_error":
            asked = meant(str(value), _quoted(about["expected"]), _ASK)
            return f"{mistake['msg']} (it is {parse.brief(repr(value))}{asked})"
        case "union_tag_invalid":
            key, tags = about["discriminator"].strip("'"), about["expected_tags"]
            asked = meant(about["tag"], _quoted(tags), _ASK)
            said = parse.brief(repr(about["tag"]))
            return f"{key}: Input should be one of {tags} (it is {said}{asked})"
        case "union_tag_not_found":
            key = about["discriminator"].strip("'")
            wrong = next((each for each in value if meant(str(each), [key])), None)
            return f"{key} is missing" + (f"; is {wrong} a slip of it?" if wrong else "")
    return None


_ASK = "; did you mean"


def _quoted(text: str) -> list[str]:
    """Return the words of pydantic's `'a', 'b' or 'c'`."""
    return re.findall(r"'([^']*)'", text)
