"""Pairs of answers of which people prefer one: JSON lines, and which of them may be used."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from aurora_release import parse
from aurora_release.errors import AuroraError
from aurora_release.safety.ledger import Review, Text, Texts, approvals, rejected


class Preference(BaseModel):
    """A request, the answer that people prefer and the one they do not; other keys are ignored."""

    model_config = ConfigDict(frozen=True, strict=True)

    id: Text
    prompt: Text
    chosen: Text
    rejected: Text
    reviews: tuple[Review, ...] = ()
    group: Text | None = None
    """What is held out together; the prompt where nothing is said."""

    @model_validator(mode="after")
    def _differ(self) -> "Preference":
        if self.chosen == self.rejected:
            raise ValueError("chosen and rejected are the same")
        return self

    @property
    def approvals(self) -> int:
        """Return how many persons stand by the answer that is chosen."""
        return approvals(self.reviews, Texts(prompt=self.prompt, response=self.chosen))


@dataclass(frozen=True)
class Reviewed:
    """The pairs that may be used, and how many may not."""

    pairs: Sequence[Preference]
    unreviewed: int
    rejected: int

    @property
    def read(self) -> int:
        """Return how many pairs the file holds."""
        return len(self.pairs) + self.unreviewed + self.rejected


def read(path: Path, min_reviews: int) -> Reviewed:
    """Return the pairs that at least so many persons accept and none rejects.

    Raises:
        AuroraError: a line is no pair, an id comes twice, or no pair is left.
    """
    pairs: dict[str, Preference] = {}
    if not path.is_file():
        raise AuroraError(f"{path} (tune.path) is no file of preference pairs: correct the path.")
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            pair = _parsed(path, number, line)
            if pair.id in pairs:
                name = parse.brief(repr(pair.id))
                raise AuroraError(f"{path}:{number}: the id {name} is there twice.")
            pairs[pair.id] = pair
    standing = [pair for pair in pairs.values() if not rejected(pair.reviews)]
    good = [pair for pair in standing if pair.approvals >= min_reviews]
    found = Reviewed(good, len(standing) - len(good), len(pairs) - len(standing))
    if not good:
        raise AuroraError(
            f"{path} (tune.path) leaves no pair to tune on: of {found.read}, {found.unreviewed} "
            f"have fewer than {min_reviews} reviews (tune.min_reviews) and {found.rejected} were "
            "rejected in review. Review some, or say tune.min_reviews=0 for pairs nobody reviewed."
        )
    return found


def _parsed(path: Path, number: int, line: bytes) -> Preference:
    try:
        return Preference.model_validate_json(line)
    except ValidationError as error:
        mistake = error.errors()[0]
        key = parse.brief(".".join(map(str, mistake["loc"]))) or "the line"
        raise AuroraError(
            f"{path}:{number} is not a preference pair: {key}: "
            f"{mistake['msg'].removeprefix('Value error, ')}."
        ) from None
