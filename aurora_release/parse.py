"""Reads YAML, JSON and keys that others wrote, in bounded memory; what is wrong is an error."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError

from aurora_release.errors import AuroraError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

LARGEST = 2**22
"""Bytes of a YAML file; the longest that is shipped has 50,000."""
_NODES = 10**6
"""Values in a YAML file, once its aliases are written out."""
_DEEPEST = 100
LARGEST_EVIDENCE = 2**26
"""Bytes of a file of a release that is read as a whole; that of a long run has a few millions."""
_OBEYED = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""What a terminal obeys, what turns the order of letters round, and what cannot be written."""
_DIGEST = re.compile(r"\ssha256:[0-9a-f]{64}(\s|$)")
_TOO_DEEP = f"more than {_DEEPEST} lists and objects lie in each other"
_MISTAKES, _LETTERS = 20, 200
"""So many mistakes of a file are said, and so much of each."""


def yaml_file(path: Path) -> Any:
    """Return what a YAML file says.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no YAML in UTF-8, says a key twice, or is larger or deeper than any use.
    """
    return yaml_text(text(path))


def text(path: Path) -> str:
    """Return what a text file says.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not UTF-8, or larger than any use.
    """
    with path.open("rb") as file:
        content = file.read(LARGEST + 1)
    if len(content) > LARGEST:
        raise ValueError(f"it is larger than {LARGEST >> 20} MiB")
    return content.decode()


def content(path: Path) -> bytes:
    """Return the bytes of a file of a release that is read as a whole.

    Raises:
        OSError: it cannot be read.
        ValueError: it is larger than any use.
    """
    with path.open("rb") as file:
        found = file.read(min(LARGEST_EVIDENCE, path.stat().st_size) + 1)
    if len(found) > LARGEST_EVIDENCE:
        raise ValueError(f"it is larger than {LARGEST_EVIDENCE >> 20} MiB")
    return found


def shown(text: str) -> str:
    """Return a text that others wrote as a terminal may show it: control characters spelt out."""
    return _OBEYED.sub(lambda found: found[0].encode("unicode_escape").decode(), text)


def shown_line(text: str) -> str:
    """Return a text that others wrote as `shown`, on one line."""
    return shown(text).replace("\n", "\\n")


def key_file(path: Path) -> str:
    """Return the API key that a file holds, for a server that asks for one.

    Raises:
        AuroraError: it cannot be read, or holds no key that fits into a header.
    """
    try:
        key = text(path).strip()
    except (OSError, ValueError) as error:
        raise AuroraError(
            f"{path} cannot be read as a key ({error}): it should hold the key, on one line."
        ) from None
    if _DIGEST.search(key):
        raise AuroraError(
            f"{path} is the server's file of keys (NAME sha256:…), from which none can be read. "
            "Name a file that holds the key itself, as `aurora keys api` printed it."
        )
    if not key or not key.isascii() or not key.isprintable():
        raise AuroraError(f"{path} holds no API key: one line of ASCII is expected.")
    return key


def yaml_text(text: str) -> Any:
    """Return what a YAML text says.

    Raises:
        ValueError: it is no YAML, says a key twice, or is deeper than any use.
    """
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        raise ValueError(brief(_said(error))) from None
    except yaml.YAMLError as error:
        raise ValueError(brief(" ".join(str(error).split()))) from None
    except (ValueError, LookupError, AttributeError, TypeError, ArithmeticError) as error:
        # what PyYAML's constructors let through: `!!bool x`, `2001-99-99`, 5,000 digits
        raise ValueError(f"a value is not of its type: {brief(str(error))}") from None


def _said(error: yaml.MarkedYAMLError) -> str:
    """Return what is wrong with a YAML text, and in which line."""
    at, since = error.problem_mark, error.context_mark
    where = "" if at is None else f"line {at.line + 1}, column {at.column + 1}: "
    begun = "" if since is None else f" from line {since.line + 1} on"
    while_ = f" ({error.context}{begun})" if error.context else ""
    return f"{where}{error.problem or error}{while_}"


def json_text(content: bytes | str) -> Any:
    """Return what a JSON text says.

    Raises:
        ValueError: it is no JSON in UTF-8, holds a number that is none, or is deeper than any use.
    """
    try:
        found = json.loads(content, parse_constant=_no_number)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    _require_shallow(found)
    return found


def as_json(content: Any) -> str:
    """Return what YAML said as JSON, for a strict model: 1 may stand for 1.0, "1" may not.

    Raises:
        ValueError: a key is neither text nor a number.
    """
    try:
        return json.dumps(content, default=str)
    except TypeError as error:
        raise ValueError(str(error)) from None


def sentences(
    error: ValidationError,
    whole: str,
    say: "Callable[[ErrorDetails], str | None]" = lambda mistake: None,
) -> str:
    """Return one line for each mistake: the key, or `whole`, and what is wrong with its value.

    `say` returns that where the caller knows more of it.
    """
    lines = []
    mistakes = error.errors(include_url=False)
    for mistake in mistakes[:_MISTAKES]:
        where = brief(".".join(str(part) for part in mistake["loc"])) or whole
        lines.append(f"  {where}: {brief(say(mistake) or _plainly(mistake), 5 * _LETTERS)}")
    if len(mistakes) > _MISTAKES:
        lines.append(f"  and {len(mistakes) - _MISTAKES} more")
    return "\n".join(lines)


def _plainly(mistake: "ErrorDetails") -> str:
    said = mistake["msg"].removeprefix("Value error, ")
    if mistake["type"] == "extra_forbidden":
        return "there is no such key"
    if mistake["type"] == "value_error" or isinstance(mistake["input"], (dict, list)):
        return said
    return f"{said} (it is {brief(repr(mistake['input']))})"


def brief(text: str, most: int = _LETTERS) -> str:
    """Return the beginning of a text that a message quotes."""
    return text if len(text) <= most else f"{text[:most]}…"


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _require_shallow(found: Any) -> None:
    level = [found]
    for _ in range(_DEEPEST):
        level = [inner for outer in level if isinstance(outer, (dict, list))
                 for inner in (outer.values() if isinstance(outer, dict) else outer)]  # fmt: skip
        if not level:
            return
    raise ValueError(_TOO_DEEP)


class _Loader(yaml.SafeLoader):
    """PyYAML's, but a key stands once, and aliases do not multiply."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self._depth = self._nodes = 0
        self._sizes: dict[int, int] = {}

    def compose_node(self, parent: Any, index: Any) -> Any:
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        if self.check_event(yaml.AliasEvent):
            node = super().compose_node(parent, index)
            if id(node) not in self._sizes:
                raise yaml.composer.ComposerError(None, None, "an alias lies in itself", mark)
            self._nodes += self._sizes[id(node)]
        else:
            self._depth += 1
            if self._depth > _DEEPEST:
                raise yaml.composer.ComposerError(None, None, _TOO_DEEP, mark)
            before = self._nodes
            self._nodes += 1
            node = super().compose_node(parent, index)
            self._sizes[id(node)] = self._nodes - before
            self._depth -= 1
        if self._nodes > _NODES:
            many = f"it says more than {_NODES:,} values"
            raise yaml.composer.ComposerError(None, None, many, mark)
        return node

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        seen: set[tuple[str, str]] = set()
        for key, _ in node.value:
            if isinstance(key, yaml.ScalarNode):
                if (key.tag, key.value) in seen:
                    twice = f"the key {brief(key.value)} is there twice"
                    raise yaml.composer.ComposerError(None, None, twice, key.start_mark)
                seen.add((key.tag, key.value))
        return node
