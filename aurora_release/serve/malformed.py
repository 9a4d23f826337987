"""What a client is told of a body that does not fit its schema."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_type_hints

from aurora_release import parse, slips
from aurora_release.serve.replies import ApiError

_NO_OBJECT = ("missing", "dict_type", "model_type", "model_attributes_type")
"""What pydantic calls a body that is none, or a list, a text or a number."""

Path = Sequence[str | int]


def told(errors: Sequence[Mapping[str, Any]], content: Any, route: Callable[..., Any]) -> ApiError:
    """Return what is said of one fault, of those that FastAPI found in a body for `route`.

    A name that is misspelt says more than the one that is missing for it.
    """
    first = next((error for error in errors if error["type"] == "extra_forbidden"), errors[0])
    kind, path = first["type"], list(first["loc"][1:])
    if kind == "json_invalid":
        said = f"{first['ctx']['error']} (character {path[-1]})"
        return ApiError("invalid", f"The body is not valid JSON: {said}.")
    if not path and kind in _NO_OBJECT:
        return ApiError("invalid", "The body must be a JSON object.")
    place = parse.brief(_place(path, content, kind == "missing"))
    # TGI's own messages name parameters alone
    param = place.removeprefix("parameters.").partition("[")[0].partition(".")[0] or None
    if kind == "extra_forbidden":
        asked = slips.key(path, slips.schemas_of(get_type_hints(route).values()))
        return ApiError("invalid", f"Unrecognized request argument supplied: {place}{asked}", param)
    reason = first["msg"].removeprefix("Value error, ")
    value = first["input"]
    short = isinstance(value, (int, float)) or (kind == "literal_error" and isinstance(value, str))
    said = f" (it is {parse.brief(repr(value))})" if short else ""
    named = "" if param is None else f"`{place.removeprefix('parameters.')}`: "
    return ApiError("invalid", f"{named}{reason}{said}", param)


def _place(path: Path, content: Any, missing: bool) -> str:
    """Return where a fault is, as in `messages[0].role`, without pydantic's names for types."""
    found = ""
    for part in path:
        if isinstance(part, int) and isinstance(content, list):
            found, content = f"{found}[{part}]", content[part]
        elif isinstance(content, dict) and (part in content or (missing and part == path[-1])):
            found, content = f"{found}.{part}", content.get(part)
    return found.removeprefix(".")
