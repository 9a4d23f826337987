"""Who is asked: a model folder, a quantized variant, a GGUF file, or a server."""

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from aurora_release import evidence, parse
from aurora_release.errors import AuroraError, missing_extra
from aurora_release.evaluate import replies
from aurora_release.evaluate.load import GGUF, LoadedModel, load
from aurora_release.evaluate.redteam.answers import Answer
from aurora_release.evidence import canonical, sha256

if TYPE_CHECKING:
    from openai import OpenAI

_SECONDS = 600


def weights(folder: Path) -> str:
    """Return the SHA-256 of a model's weights: of the file, or of {name: SHA-256} where many."""
    found = {
        path.name: evidence.sha256_file(path)
        for path in folder.iterdir()
        if path.suffix in {".safetensors", ".gguf"}
    }
    return next(iter(found.values())) if len(found) == 1 else sha256(canonical(found))


class LocalModel:
    """A model in this process."""

    def __init__(self, loaded: LoadedModel, digest: str, max_new_tokens: int):
        self.identity = sha256(canonical([digest, loaded.template_digest, max_new_tokens]))
        self._loaded = loaded
        self._most = max_new_tokens

    def batches(self, prompts: Sequence[str]) -> list[list[int]]:
        """Return places of prompts of like length; a prompt too long for the model is alone."""
        return replies.batches([len(ids) for ids in replies.encode(self._loaded, prompts)])

    def answer(self, prompts: Sequence[str]) -> list[Answer]:
        """Return the greedy answers to one batch."""
        encoded = replies.encode(self._loaded, prompts)
        room = getattr(self._loaded.model.config, "max_position_embeddings", 2**31) - self._most
        fitting = [ids for ids in encoded if len(ids) <= room]
        found = iter(replies.generate(self._loaded, fitting, self._most) if fitting else [])
        return [
            Answer(next(found)) if len(ids) <= room
            else Answer(f"{len(ids)} tokens are too many for the model", "failed")
            for ids in encoded
        ]  # fmt: skip


class ServedModel:
    """A model behind a URL that speaks the OpenAI protocol, asked one thing at a time."""

    def __init__(self, client: "OpenAI", name: str, max_new_tokens: int):
        self.identity = sha256(canonical([str(client.base_url), name, max_new_tokens]))
        self.name = name
        self._client = client
        self._most = max_new_tokens

    def batches(self, prompts: Sequence[str]) -> list[list[int]]:
        """Return each place alone: one request in flight is the order that always repeats."""
        return [[place] for place in range(len(prompts))]

    def answer(self, prompts: Sequence[str]) -> list[Answer]:
        """Return the answers of the server.

        Raises:
            AuroraError: it cannot be reached, or does not know the key.
        """
        return [self._one(prompt) for prompt in prompts]

    def _one(self, prompt: str) -> Answer:
        import openai

        try:
            with reachable(str(self._client.base_url)):
                found = self._client.chat.completions.create(
                    model=self.name,
                    messages=[{"role": "user", "content": prompt}],
                    max_tokens=self._most,
                    temperature=0,
                )
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            # how servers say that their filter stopped the request itself
            blocked = error.code == "content_filter"
            return Answer("", "blocked") if blocked else Answer(error.message, "failed")
        choice = found.choices[0]
        text = (choice.message.content or "").strip()
        return Answer(text, "blocked" if choice.finish_reason == "content_filter" else "answered")


@contextlib.contextmanager
def reachable(url: str) -> Iterator[None]:
    """Turn what a client raises over a server that is not there into one sentence."""
    import openai

    try:
        yield
    except openai.APIConnectionError as error:
        raise AuroraError(
            f"{url} did not answer ({error.__cause__ or error}). Start the server, or mend the "
            "address; answers so far are kept."
        ) from None
    except (openai.AuthenticationError, openai.PermissionDeniedError):
        raise AuroraError(
            f"{url} refuses the key: name the right one with --api-key-file."
        ) from None
    except openai.NotFoundError as error:
        raise AuroraError(
            f"{url} has no such page or model ({error.message}): the address ends before /v1."
        ) from None
    except (openai.InternalServerError, openai.RateLimitError) as error:
        raise AuroraError(
            f"{url} failed ({error.message}). Answers so far are kept; run the same command again."
        ) from None


@contextlib.contextmanager
def open_model(
    where: str, name: str | None, api_key_file: Path | None, most: int
) -> "Iterator[LocalModel | ServedModel]":
    """Give the model behind a URL or a path; answers get `most` tokens.

    Raises:
        AuroraError: there is no readable model, or the server or the key file is not there.
    """
    if not where.startswith(("http://", "https://")):
        with local(Path(where), most) as model:
            yield model
        return
    key = parse.key_file(api_key_file) if api_key_file else None
    with served(where, key, name, most) as remote:
        yield remote


@contextlib.contextmanager
def served(url: str, key: str | None, name: str | None, most: int) -> Iterator[ServedModel]:
    """Give the model behind a URL: the one named, or the first that the server lists.

    Raises:
        AuroraError: the server cannot be reached or lists nothing.
    """
    try:
        from openai import OpenAI
    except ImportError:
        raise missing_extra("openai", "serve") from None
    base = url.rstrip("/")
    base = base if base.endswith("/v1") else f"{base}/v1"
    with OpenAI(base_url=base, api_key=key or "none", timeout=_SECONDS, max_retries=5) as client:
        if name is None:
            with reachable(base):
                listed = [model.id for model in client.models.list()]
            if not listed:
                raise AuroraError(f"{base} lists no model: name one with --model.")
            name = listed[0]
        yield ServedModel(client, name, most)


@contextlib.contextmanager
def local(path: Path, most: int) -> Iterator[LocalModel]:
    """Give the model in a folder, or in a GGUF file beside its tokenizer.

    Raises:
        AuroraError: there is no readable model.
    """
    with _folder(path) as folder:
        yield LocalModel(load(folder), weights(folder), most)


@contextlib.contextmanager
def _folder(path: Path) -> Iterator[Path]:
    """Give the model folder that a path means; a GGUF file of any name gets the one we read."""
    if path.suffix != ".gguf" or not path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory() as name:
        for file in path.parent.iterdir():
            if file.is_file() and file.suffix not in {".gguf", ".safetensors"}:
                (Path(name) / file.name).symlink_to(file.resolve())
        (Path(name) / GGUF).symlink_to(path.resolve())
        yield Path(name)
