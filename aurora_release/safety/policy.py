"""The safety policy, one YAML file: what is refused, what stays allowed, what happens to each."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PrivateAttr,
    ValidationError,
    field_validator,
    model_validator,
)

from aurora_release import parse, slips
from aurora_release.errors import AuroraError, meant
from aurora_release.evidence import sha256
from aurora_release.safety.taxonomy import (
    AREAS,
    LANGUAGES,
    OTHER,
    Action,
    Direction,
    GuardKind,
)
from aurora_release.shipped import shipped

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

Text = Annotated[str, Field(pattern=r"\S")]
Probability = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(gt=0)]


class Part(BaseModel):
    """A part of a policy: strict, frozen, no unknown keys."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True, allow_inf_nan=False, use_attribute_docstrings=True
    )


class Actions(Part):
    """What happens to a text in each direction."""

    input: Action
    output: Action


class Area(Actions):
    """One area of harm: where its border runs and what happens beyond it."""

    title: Text
    definition: Text
    allowed: Annotated[tuple[Text, ...], Field(min_length=1)]
    """What is never refused for this area alone: information, prevention, fiction, medical help."""
    refused: Annotated[tuple[Text, ...], Field(min_length=1)]


class Thresholds(Part):
    """Probabilities of harm, by language, that take the place of the fitted ones."""

    input: dict[str, Probability] = {}
    output: dict[str, Probability] = {}

    @model_validator(mode="after")
    def _known(self) -> "Thresholds":
        for direction, own in (("input", self.input), ("output", self.output)):
            for language in own:
                if language not in LANGUAGES:
                    known = ", ".join(LANGUAGES)
                    raise ValueError(f"{direction}: {language!r} is unknown; there are {known}")
        return self


class Stream(Part):
    """What the output filter does, and how much text it holds back for it."""

    mode: Literal["off", "flag", "redact", "block"] = "block"
    """What becomes of answers that the areas block: `block` ends them with the refusal, `redact`
    puts a notice in the place of each harmful segment and goes on, `flag` lets them pass, counted
    and logged, and `off` does not judge answers at all."""
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 30.0
    """A text that was not judged in this time counts as not judged: see `fail_closed`."""
    max_characters: Annotated[int, Field(ge=16, le=4096)] = 160
    """A segment without a sentence end is judged at this length."""
    min_characters: Count = 24
    """Shorter sentences are judged together with the next one."""
    context_characters: Annotated[int, Field(ge=0, le=4096)] = 80
    """Released text that is judged again with each segment."""
    notices: dict[str, Text] = {"en": "[removed by the safety filter]"}
    """What stands in the place of a redacted segment, by language; `en` where there is none."""

    def notice(self, language: str) -> str:
        """Return what stands in the place of a redacted segment."""
        return self.notices.get(language, self.notices["en"])

    @field_validator("mode", mode="before")
    @classmethod
    def _unquoted(cls, value: object) -> object:
        # to YAML, `off` without quotes is a boolean
        return "off" if value is False else value

    @model_validator(mode="after")
    def _spoken(self) -> "Stream":
        for language in self.notices:
            if language not in LANGUAGES:
                raise ValueError(f"{language!r} is unknown; there are {', '.join(LANGUAGES)}")
        if "en" not in self.notices:
            raise ValueError("notices: en is missing")
        return self

    @model_validator(mode="after")
    def _in_order(self) -> "Stream":
        if self.min_characters > self.max_characters:
            raise ValueError(
                f"min_characters, {self.min_characters}, is above max_characters, "
                f"{self.max_characters}"
            )
        return self


class GuardSettings(Part):
    """One guard: the built-in classifier, or a guard model in a folder or behind a URL."""

    kind: GuardKind
    folder: Text | None = None
    """A folder with a safetensors model, as it lies beside the policy file."""
    url: Annotated[str, Field(pattern=r"^https?://[^\s/@]+(/[^\s@]*)?$")] | None = None
    """The base URL of an OpenAI-compatible server, such as http://127.0.0.1:8001/v1."""
    model: Text | None = None
    """The name by which the server knows the model."""
    api_key_file: Text | None = None
    """A file that holds the key which the server asks for, as it lies beside the policy file."""
    timeout_seconds: Annotated[float, Field(gt=0, le=600)] = 10.0
    """A guard model that takes longer has not judged."""
    threshold: Probability = 0.5
    """Probability of harm from which a guard model finds a text harmful; the classifier has its
    fitted ones."""
    unsure: Probability = 0.0
    """How near to its threshold a score lies when the next guard is asked too."""

    @model_validator(mode="after")
    def _reachable(self) -> "GuardSettings":
        server = {"url": self.url, "model": self.model, "api_key_file": self.api_key_file}
        if self.kind == "classifier":
            for key, value in {"folder": self.folder, **server}.items():
                if value is not None:
                    raise ValueError(f"{key} is for guard models; the classifier has `head`")
        elif (self.folder is None) == (self.url is None):
            raise ValueError(f"{self.kind} needs either a folder or a url")
        elif self.url is not None and self.model is None:
            raise ValueError(f"model is missing: the name by which {self.url} knows it")
        elif self.folder is not None and (self.model or self.api_key_file):
            raise ValueError("model and api_key_file belong to a url, not to a folder")
        return self


class Policy(Part):
    """Everything that decides what the guard does with a text."""

    name: Text
    head: Text = "head.safetensors"
    """The fitted classifier head, beside the policy file; without a file of this name there, the
    one that ships."""
    guards: Annotated[tuple[GuardSettings, ...], Field(min_length=1)] = (
        GuardSettings(kind="classifier"),
    )
    """Who judges: the first guard, and each next one where the one before it is unsure."""
    fail_closed: bool = True
    """Block what no guard could judge; false lets it pass, flagged."""
    longest: Count = 8_000
    """Characters judged at most; longer text is not judged, so it is unverified and not passed."""
    unverified: Actions
    """What happens to text in a language that was not measured, where no harm was found."""
    other: Actions = Actions(input="block", output="block")
    """What happens to harm that a guard found without saying in which area."""
    areas: dict[str, Area]
    thresholds: Thresholds = Thresholds()
    stream: Stream = Stream()
    help: dict[str, Text]
    """Where to find help against thoughts of self-harm, added to refusals in the area `harm`."""
    refusals: dict[str, dict[str, Text]]
    """What the user reads: a text for each area and one for `default`, in each language."""

    @model_validator(mode="after")
    def _complete(self) -> "Policy":
        _exactly("areas", self.areas, AREAS)
        _exactly("help", self.help, LANGUAGES)
        _exactly("refusals", self.refusals, LANGUAGES)
        for language, texts in self.refusals.items():
            _exactly(f"refusals.{language}", texts, (*AREAS, "default"))
        return self

    _read_from: bytes = PrivateAttr(b"")

    @property
    def digest(self) -> str:
        """SHA-256 of the file that the policy was read from, as evidence and cards state it."""
        return sha256(self._read_from)

    def head_file(self, beside: Path) -> Path:
        """Return the file of the classifier head: beside the policy, or else the one that ships.

        A copy of the shipped policy needs no copy of its head.
        """
        usual = str(Policy.model_fields["head"].default)
        found = beside / self.head
        if self.head == usual and not found.exists():
            return shipped(f"serve/policies/{usual}")
        return found

    def action(self, category: str, direction: Direction) -> Action:
        """Return what happens to text in an area, to `other` harm, or to text `unverified`."""
        actions = self.areas.get(category, self.other if category == OTHER else self.unverified)
        return actions.input if direction == "input" else actions.output

    def threshold(self, language: str, direction: Direction, fitted: float) -> float:
        """Return the probability of harm from which a text counts as harmful."""
        own = self.thresholds.input if direction == "input" else self.thresholds.output
        return own.get(language, fitted)

    def refusal(self, language: str, category: str | None) -> str:
        """Return the refusal of a category, in English where the language is not known."""
        language = language if language in self.refusals else "en"
        texts = self.refusals[language]
        text = texts[category if category in texts else "default"]
        return f"{text} {self.help[language]}" if category == "harm" else text


def load(path: Path) -> Policy:
    """Return a checked policy.

    Raises:
        AuroraError: no such file, not YAML, an unknown area or key, a wrong or missing value.
    """
    try:
        text = parse.text(path)
        content = parse.yaml_text(text)
    except FileNotFoundError:
        raise AuroraError(
            f"{path} is missing: there is no such policy. The shipped one, to copy, is "
            f"{shipped('serve/policies/default.yaml')}."
        ) from None
    except OSError as error:
        raise AuroraError(f"{path} cannot be read as a policy: {error.strerror}.") from None
    except ValueError as error:
        raise AuroraError(f"{path} is not valid YAML: {error}") from None
    try:
        policy = Policy.model_validate_json(parse.as_json(content))
    except ValidationError as error:
        said = parse.sentences(error, "policy", _slip)
        raise AuroraError(f"{path} is not a valid policy:\n{said}") from None
    except ValueError as error:
        raise AuroraError(f"{path} is not a valid policy: {error}.") from None
    policy._read_from = text.encode()
    return policy


def _slip(mistake: "ErrorDetails") -> str | None:
    """Return what is said of an unknown key, with the one that was probably meant, else None."""
    if mistake["type"] != "extra_forbidden":
        return None
    return "there is no such key" + slips.key(mistake["loc"], {Policy})


def _exactly(where: str, found: Iterable[str], expected: Iterable[str]) -> None:
    """Say which keys are unknown and which are missing."""
    unknown, missing = set(found) - set(expected), set(expected) - set(found)
    if unknown:
        asked = next(filter(None, (meant(word, expected) for word in sorted(unknown))), "")
        raise ValueError(
            f"{where}: {', '.join(sorted(unknown))} is unknown; there are {', '.join(expected)}."
            f"{asked}"
        )
    if missing:
        raise ValueError(f"{where}: {', '.join(sorted(missing))} is missing")
