"""Contrast topics: requests for harm beside requests that only look like them, as YAML."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from aurora_release import parse
from aurora_release.errors import AuroraError
from aurora_release.safety.taxonomy import AREAS, LANGUAGES

Text = Annotated[str, Field(pattern=r"\S")]


class Block(BaseModel):
    """Asks, and the phrases that take the place of `{}` in each of them."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    topic: Text
    area: Text
    asks: Annotated[list[Text], Field(min_length=1)]
    harmful: list[Text]
    harmless: list[Text]


class Request(NamedTuple):
    """A request that the classifier learns from."""

    text: str
    area: str | None
    """None where it is harmless."""
    topic: str
    language: str


def read(path: Path) -> list[Request]:
    """Return the requests of a file, each ask with each phrase; its name is its language.

    Raises:
        AuroraError: no such file, not YAML, or not blocks of a known area and language.
    """
    try:
        content = parse.yaml_file(path)
        blocks = TypeAdapter(list[Block]).validate_python(content)
    except FileNotFoundError:
        raise AuroraError(f"{path} is missing: there are no such contrast topics.") from None
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"])) or "file"
        raise AuroraError(f"{path}: {parse.brief(where)}: {wrong['msg']}.") from None
    except (OSError, ValueError) as error:
        raise AuroraError(f"{path} cannot be read: {error}") from None
    if path.stem not in LANGUAGES:
        raise AuroraError(f"{path} names no language: call it {LANGUAGES[0]}.yaml or so.")
    for block in blocks:
        if block.area not in AREAS:
            raise AuroraError(
                f"{path}: {parse.brief(repr(block.area))} is unknown; there are {', '.join(AREAS)}."
            )
    return [request for block in blocks for request in _requests(block, path.stem)]


def _requests(block: Block, language: str) -> Iterator[Request]:
    for phrases, area in ((block.harmful, block.area), (block.harmless, None)):
        for ask in block.asks:
            for phrase in phrases:
                yield Request(ask.replace("{}", phrase), area, block.topic, language)
