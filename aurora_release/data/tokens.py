"""Turns documents into token ids with one tokenizer and one chat template."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from aurora_release.data.documents import Document
from aurora_release.errors import AuroraError

END_OF_TEXT = "<|endoftext|>"
_BATCH = 256


@dataclass(frozen=True)
class Tokens:
    """The token ids of a document; the first `prompt` of them carry no loss."""

    id: str
    ids: list[int]
    prompt: int


class Encoder:
    """Encodes text as `<eot> text <eot>` and pairs through the chat template."""

    def __init__(self, model_folder: Path) -> None:
        from transformers import AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(model_folder)
        self.vocabulary = len(self._tokenizer)
        self.end_of_text = end_of_text(self._tokenizer)

    def encode(self, documents: Iterable[Document]) -> Iterator[Tokens]:
        """Yield the tokens of each document, in order."""
        stream = iter(documents)
        while batch := list(islice(stream, _BATCH)):
            yield from self._texts([item for item in batch if item.prompt is None])
            yield from (self._pair(item) for item in batch if item.prompt is not None)

    def _texts(self, documents: list[Document]) -> Iterator[Tokens]:
        if not documents:
            return
        encoded = self._tokenizer.backend_tokenizer.encode_batch(
            [document.text for document in documents], add_special_tokens=False
        )
        for document, encoding in zip(documents, encoded, strict=True):
            yield Tokens(document.id, [self.end_of_text, *encoding.ids, self.end_of_text], prompt=1)

    def _pair(self, document: Document) -> Tokens:
        """Return prompt and response as the model will meet them; the loss is on the response."""
        user = {"role": "user", "content": document.prompt or ""}
        answer = {"role": "assistant", "content": document.text}
        prompt = self._chat([user], open_answer=True)
        whole = self._chat([user, answer], open_answer=False)
        if not whole.startswith(prompt):
            raise AuroraError(
                "The chat template writes a prompt differently once it is answered, so the loss "
                "cannot be put on responses alone; correct model.chat_template of the recipe."
            )
        ids = self._ids(prompt)
        return Tokens(document.id, ids + self._ids(whole.removeprefix(prompt)), prompt=len(ids))

    def _chat(self, messages: list[dict[str, str]], open_answer: bool) -> str:
        return str(
            self._tokenizer.apply_chat_template(
                messages, tokenize=False, add_generation_prompt=open_answer
            )
        )

    def _ids(self, text: str) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=False)["input_ids"])


def end_of_text(tokenizer: object) -> int:
    """Return the id of the token that separates documents."""
    found = tokenizer.convert_tokens_to_ids(END_OF_TEXT)  # type: ignore[attr-defined]
    if isinstance(found, int):
        return found
    eos = tokenizer.eos_token_id  # type: ignore[attr-defined]
    if not isinstance(eos, int):
        raise AuroraError(
            f"The tokenizer has neither {END_OF_TEXT} nor an end-of-sequence token to separate "
            "documents with; set eos_token in its tokenizer_config.json."
        )
    return eos
