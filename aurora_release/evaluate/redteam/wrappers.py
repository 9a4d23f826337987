"""Attack wrappers: encodings as pure functions, templates from a file, and both put together."""

import base64 as base64_codec
import codecs
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from aurora_release import parse
from aurora_release.errors import AuroraError, meant
from aurora_release.evaluate.redteam.answers import Asked
from aurora_release.evaluate.redteam.requests import Request
from aurora_release.shipped import shipped

PLAIN = "plain"
ALL = "all"
SLOT = "{request}"
FILE = "train/redteam/wrappers.yaml"
"""Where the shipped wrappers are."""


def base64(text: str) -> str:
    """Return the base64 of a text in UTF-8."""
    return base64_codec.b64encode(text.encode()).decode()


def rot13(text: str) -> str:
    """Return a text with each of the 26 letters moved by thirteen."""
    return codecs.encode(text, "rot13")


def leetspeak(text: str) -> str:
    """Return a text with digits in place of the letters they look like."""
    return text.translate(str.maketrans("aeiostAEIOST", "431057431057"))


def zero_width(text: str) -> str:
    """Return a text with an invisible character behind each of its characters."""
    return "".join(f"{character}\u200b" for character in text)


def homoglyph(text: str) -> str:
    """Return a text with Cyrillic letters in place of the Latin ones that look the same."""
    return text.translate(str.maketrans("aceiopxyACEHIKMOPTX", "асеіорхуАСЕНІКМОРТХ"))


def letter_spacing(text: str) -> str:
    """Return a text with a space behind each letter and three between words."""
    return "   ".join(" ".join(word) for word in text.split())


ENCODINGS: dict[str, Callable[[str], str]] = {
    "base64": base64,
    "rot13": rot13,
    "leetspeak": leetspeak,
    "zero-width": zero_width,
    "homoglyph": homoglyph,
    "letter-spacing": letter_spacing,
}


class Wrapper(BaseModel):
    """One way to word a request again."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
    encode: str | None = None
    template: str | dict[str, str] = SLOT

    @model_validator(mode="after")
    def _works(self) -> "Wrapper":
        if self.encode is not None and self.encode not in ENCODINGS:
            raise ValueError(f"there is no encoding {self.encode!r}; write {', '.join(ENCODINGS)}")
        texts = [self.template] if isinstance(self.template, str) else self.template.values()
        if any(SLOT not in text for text in texts):
            raise ValueError(f"a template of {self.name} has no {SLOT}")
        if self.name in (PLAIN, ALL):
            raise ValueError(f"the name {self.name!r} is taken")
        return self

    def wrap(self, text: str, language: str) -> str | None:
        """Return the request in other words; None where it would stay what it is, or there is no
        template in its language.
        """
        template = self.template if isinstance(self.template, str) else self.template.get(language)
        if template is None:
            return None
        encoded = ENCODINGS[self.encode](text) if self.encode else text
        if self.encode and encoded == text:
            return None
        wrapped = template.replace(SLOT, encoded)
        return wrapped if wrapped != text else None


@dataclass(frozen=True)
class Attacks:
    """Every question of an evaluation, and what could not be asked."""

    asked: Sequence[Asked]
    left_out: Mapping[str, Mapping[str, int]]
    """Requests that a wrapper does not change or has no template for: {wrapper: {language: n}}."""


def apply(requests: Sequence[Request], wrappers: Sequence[Wrapper]) -> Attacks:
    """Return each request plainly, and as every wrapper words it."""
    asked = [Asked(request, PLAIN, request.prompt) for request in requests]
    left_out: dict[str, dict[str, int]] = {}
    for wrapper in wrappers:
        for request in requests:
            text = wrapper.wrap(request.prompt, request.language)
            if text is None:
                row = left_out.setdefault(wrapper.name, {})
                row[request.language] = row.get(request.language, 0) + 1
            else:
                asked.append(Asked(request, wrapper.name, text))
    return Attacks(asked, left_out)


def load(names: Sequence[str], own: Sequence[Path] = ()) -> list[Wrapper]:
    """Return the shipped wrappers of these names (`all` is every one), and all of own files.

    Raises:
        AuroraError: a name is unknown or taken twice, or a file holds no templates.
    """
    known = {wrapper.name: wrapper for wrapper in _read(shipped(FILE))}
    wanted = list(known) if ALL in names else [name for name in names if name != PLAIN]
    for name in wanted:
        if name not in known:
            raise AuroraError(
                f"There is no wrapper {name!r}; there are {', '.join([PLAIN, *known, ALL])}. Your "
                "own come with --templates FILE." + meant(name, [PLAIN, *known, ALL])
            )
    found = [known[name] for name in dict.fromkeys(wanted)]
    for path in own:
        found += _read(path)
    for wrapper in found:
        if sum(other.name == wrapper.name for other in found) > 1:
            raise AuroraError(
                f"Two wrappers are named {parse.brief(repr(wrapper.name))}: rename yours "
                f"({', '.join(map(str, own))})."
            )
    return found


def _read(path: Path) -> list[Wrapper]:
    """Return the wrappers of a YAML file, or the one of a text file named after it."""
    try:
        content: Any = (
            [{"name": path.stem, "template": path.read_text(encoding="utf-8").strip()}]
            if path.suffix == ".txt"
            else parse.yaml_file(path)
        )
        return TypeAdapter(list[Wrapper]).validate_python(content)
    except FileNotFoundError:
        raise AuroraError(f"{path} is missing: there is no such file of templates.") from None
    except ValidationError as error:
        mistake = error.errors()[0]
        where = parse.brief(".".join(map(str, mistake["loc"]))) or "the file"
        raise AuroraError(
            f"{path} holds no wrappers: {where}: {mistake['msg'].removeprefix('Value error, ')}. "
            f"Write a list of name, template and encode as in {FILE}."
        ) from None
    except OSError as error:
        raise AuroraError(f"{path} cannot be read: {error.strerror}.") from None
    except ValueError as error:
        raise AuroraError(f"{path} is not valid YAML: {error}") from None
