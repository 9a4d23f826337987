"""The look of every page that we write: one template each, one style."""

from collections.abc import Callable, Mapping
from typing import Any

from aurora_release.shipped import shipped

_STYLE = "train/templates/page.css"


def render(
    template: str, filters: Mapping[str, Callable[..., Any]] | None = None, **values: Any
) -> str:
    """Return a shipped template filled with `values`; text in them is escaped."""
    from jinja2 import Environment, StrictUndefined
    from markupsafe import Markup

    style = Markup(shipped(_STYLE).read_text(encoding="utf-8"))
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= filters or {}
    page = environment.from_string(shipped(template).read_text(encoding="utf-8"))
    return page.render(style=style, **values)
