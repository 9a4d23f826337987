"""Renders the pages of a release: a template and facts, with formatting and no arithmetic."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from aurora_release import parse
from aurora_release.card import bom, classifier, croissant, facts, mixture
from aurora_release.card.chain import Chain
from aurora_release.errors import AuroraError
from aurora_release.evaluate.redteam.rates import answered
from aurora_release.shipped import shipped

FILE = "README.md"

TEMPLATES = {
    FILE: "model_card/card.md.j2",
    "mixture/README.md": "model_card/mixture.md.j2",
    "filter/README.md": "model_card/filter.md.j2",
    "TRAINING-CONTENT.md": "model_card/training-content.md.j2",
}
"""The template of each page, by its name in the release."""

_FACTS: dict[str, Callable[[Chain, Mapping[str, Any]], dict[str, Any]]] = {
    FILE: facts.facts,
    "mixture/README.md": mixture.facts,
    "filter/README.md": classifier.facts,
    "TRAINING-CONTENT.md": mixture.facts,
}

_MISSING = "not measured"
_DIGEST = re.compile("[0-9a-f]{64}")
_HEADING = re.compile(r"(#+) (.+)")


def documents(chain: Chain, measured: Mapping[str, Any]) -> dict[str, str]:
    """Return every file of a release that evidence renders to, by name.

    `measured` is what the release stage measured.

    Raises:
        AuroraError: a template has a mistake, or leaves a section empty.
    """
    return {
        **{name: page(name, chain, measured) for name in TEMPLATES},
        bom.FILE: bom.render(chain, measured),
        croissant.FILE: croissant.render(chain, measured),
    }


def page(name: str, chain: Chain, measured: Mapping[str, Any]) -> str:
    """Return one page of a release.

    Raises:
        AuroraError: the template has a mistake, or leaves a section empty.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined, TemplateError

    path = shipped(TEMPLATES[name])
    environment = Environment(
        loader=FileSystemLoader(path.parent),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= FILTERS
    try:
        text = environment.get_template(path.name).render(_FACTS[name](chain, measured))
    except TemplateError as error:
        raise AuroraError(f"{path} cannot be rendered: {error}.") from None
    text = parse.shown(re.sub(r"\n{3,}", "\n\n", text))
    for heading in empty_sections(text):
        raise AuroraError(f"{path} leaves the section {heading!r} empty: fill it or remove it.")
    return text


def empty_sections(text: str) -> list[str]:
    """Return the headings that nothing but a heading of the same or a higher level follows."""
    lines = [line for line in _outside(text).splitlines() if line.strip()]
    empty = []
    for line, following in zip(lines, [*lines[1:], "# end"], strict=True):
        here, after = _HEADING.fullmatch(line), _HEADING.fullmatch(following)
        if here and after and len(after[1]) <= len(here[1]):
            empty.append(here[2])
    return empty


def _outside(text: str) -> str:
    """Return a page with `text` in the place of each block of code; time grows with its length."""
    lines, kept, inside = text.split("\n"), [], False
    last = max((at for at, line in enumerate(lines) if line == "```"), default=-1)
    for at, line in enumerate(lines):
        if inside:
            inside = line != "```"
        else:
            inside = line.startswith("```") and at < last
            kept.append("text" if inside else line)
    return "\n".join(kept)


def _integer(value: float | None, between: str = ",") -> str:
    return _MISSING if value is None else f"{value:,.0f}".replace(",", between)


def _decimals(value: float | None, digits: int = 3) -> str:
    return _MISSING if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    """Return a share as a signed percentage, with a real minus sign."""
    return _MISSING if value is None else f"{100 * value:+.1f} %".replace("-", "−")


def _interval(value: list[float] | None) -> str:
    if value is None:
        return ""
    return "[{:+.1f}, {:+.1f}]".format(*(100 * end for end in value)).replace("-", "−")


def _points(value: float | None) -> str:
    return _MISSING if value is None else f"{100 * value:.1f}"


def _signed(value: float) -> str:
    """Return a difference of shares in points, with a real minus sign."""
    return f"{100 * value:+.1f}".replace("-", "−")


def _kilowatt_hours(joules: Mapping[str, float] | None, part: str) -> str:
    value = (joules or {}).get(part)
    return _MISSING if value is None else f"{value / 3.6e6:.4g} kWh"


def _size(value: float | None) -> str:
    """Return bytes in decimal units."""
    if value is None:
        return _MISSING
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if value >= size:
            return f"{value / size:.1f} {unit}"
    return f"{value:.0f} bytes"


def _share(value: Mapping[str, Any] | None) -> str:
    """Return a rate as a count and the interval of its share."""
    if not value:
        return _MISSING
    ends = f"{100 * value['low']:.0f}–{100 * value['high']:.0f}"
    return f"{value['count']} of {value['of']} ({ends} %)"


def _outcome(row: Mapping[str, int] | None, outcome: str) -> str:
    """Return how many of the answered requests ended so."""
    asked = answered(row) if row else 0
    return f"{row[outcome]} of {asked}" if row and asked else _MISSING


def _percent_of(value: float | None) -> str:
    return _MISSING if value is None else f"{100 * value:.0f} %"


def _short(value: str | None) -> str:
    """Return the first twelve digits of a digest."""
    return _MISSING if value is None else f"`{value[:12]}`"


def words(value: Any) -> str:
    """Return any value in few words: numbers short, digests cut, on one line."""
    if value is None:
        return _MISSING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    text = " ".join(str(value).split())
    return text[:12] if _DIGEST.fullmatch(text) else text


def _plain(value: Any) -> str:
    """Return any value as the cell of a Markdown table."""
    digest = isinstance(value, str) and _DIGEST.fullmatch(value.strip())
    # what a data set calls its licence must not end the cell, nor open a tag or a comment
    return f"`{words(value)}`" if digest else words(value).replace("|", "\\|").replace("<", "&lt;")


def _entry(counts: Mapping[str, int] | None, key: str) -> int | None:
    """Return a count: 0 where others were counted and this one was not."""
    return None if counts is None else counts.get(key, 0)


def _fenced(text: str, language: str = "text") -> str:
    """Return text as a block of code that nothing in the text ends."""
    longest = max((len(ticks) for ticks in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"


def _yaml(value: Mapping[str, Any]) -> str:
    import yaml

    return str(yaml.safe_dump(dict(value), sort_keys=False, allow_unicode=True)).rstrip()


FILTERS: dict[str, Callable[..., Any]] = {
    "integer": _integer,
    "decimals": _decimals,
    "percent": _percent,
    "interval": _interval,
    "points": _points,
    "signed": _signed,
    "kilowatt_hours": _kilowatt_hours,
    "size": _size,
    "share": _share,
    "outcome": _outcome,
    "percent_of": _percent_of,
    "short": _short,
    "plain": _plain,
    "entry": _entry,
    "fenced": _fenced,
    "yaml": _yaml,
}
"""How the pages of a release say a number, a share, a digest."""
