"""What a recipe says about the corpus: sources, cleaning, and where the work runs."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from aurora_release.recipe.part import Count, Name, Part, Share

_NAMELESS = ("", "unknown", "other")


def nameless(license: str) -> bool:
    """Return whether a licence says nothing about what it allows."""
    return license.strip().lower() in _NAMELESS


class Source(Part):
    """One body of text, or of instruction-response pairs."""

    name: Name
    path: str
    """JSON lines (`.jsonl`, `.jsonl.gz`, `.jsonl.zst`), Parquet, a folder of such files or of
    text files, `hub:ORG/NAME@REVISION`, or a ledger of pairs; relative to the recipe, or
    `shipped:...`."""
    language: Name
    """BCP 47 language, or `code`."""
    license: str
    """SPDX id."""
    origin: str | None = None
    """Where it is from, for people: authors, title, address. Cards and NOTICE say it, as CC BY
    asks; it decides nothing, so that it can be said at any time."""
    kind: Literal["text", "pairs"] = "text"
    heldout: Share | None = None
    """Share of documents kept out of training, where it differs from `data.heldout`."""
    subset: str | None = None
    """Configuration of a Hub dataset."""
    split: str = "train"
    """Split of a Hub dataset."""
    text_key: str = "text"
    """Column that holds the text."""
    id_key: str = "id"
    """Column that holds the document's id; without it, file and row number are the id."""
    license_key: str | None = None
    """Column that holds the licence of each document, where it differs from `license`."""
    fim: Share = 0.0
    """Share of documents written fill-in-the-middle (code; needs a tokenizer with its tokens)."""
    min_reviews: Annotated[int, Field(ge=0)] = 0
    """Pairs that fewer persons accepted as they stand are left out; a pair that a person rejects
    always is."""

    @model_validator(mode="after")
    def _only_pairs_are_reviewed(self) -> "Source":
        if self.min_reviews and self.kind != "pairs":
            raise ValueError(f"{self.name}: min_reviews is for pairs; leave it out for {self.kind}")
        return self

    @model_validator(mode="after")
    def _only_texts_move(self) -> "Source":
        if self.fim and self.kind != "text":
            raise ValueError(f"{self.name}: fim is for texts; leave it out for {self.kind}")
        return self


class Clean(Part):
    """What is dropped from the text, and what is hidden in it."""

    min_characters: Count = 80
    """Shorter documents are dropped."""
    language: Share | None = None
    """Documents identified as another language with at least this confidence are dropped."""
    quality: bool = False
    """Drop documents that fail the quality rules of their language."""
    near_duplicates: Share | None = None
    """Drop documents whose MinHash similarity to an earlier one is at least this."""
    pii: Literal["keep", "mask"] = "mask"
    """E-mail and IP addresses, phone numbers, national ids."""
    secrets: Literal["keep", "mask"] = "mask"
    """Keys, tokens and passwords in code."""
    blocked_words: tuple[str, ...] = ()
    """Files of words, one a line, relative to the recipe."""
    blocked_share: Share = 0.0
    """Documents with a larger share of blocked words are dropped."""
    decontaminate: Count | None = 13
    """Compare training documents by n-grams of this many words (twice as many characters where
    words are not spaced) with held-out text of every source, held-out prompts and the files
    below; one n-gram of a prompt or a file is enough to drop a document."""
    contaminated: Share = 0.2
    """Share of its n-grams that a document must have in common with held-out text to be dropped:
    pages of one manual have sentences in common, files of one project a licence."""
    decontaminate_against: tuple[str, ...] = ()
    """More files of documents (JSON lines) that must not be in the training text."""


class Executor(Part):
    """Where cleaning runs; the result does not depend on it."""

    kind: Literal["local", "slurm", "ray"] = "local"
    workers: Count | None = None
    """Tasks at one time; as many as there are cores where it is not said."""
    partition: str = "cpu"
    """Slurm partition."""
    hours: Count = 8
    """Slurm time limit of a task."""


class Data(Part):
    """The corpus and how it is cut."""

    sources: Annotated[tuple[Source, ...], Field(min_length=1)]
    sequence_length: Count = 512
    """Tokens in a sample."""
    heldout: Share = 0.1
    """Share of documents kept out of training, chosen by document id before anything else."""
    clean: Clean = Clean()
    executor: Executor = Executor()
    max_epochs: Annotated[float, Field(gt=0)] = 4.0
    """A source that is read more often draws a warning (Muennighoff et al. 2023)."""
    extend_vocabulary: Count | None = None
    """Tokens to add to the tokenizer from the training text; new rows are the mean of their
    pieces' rows."""
