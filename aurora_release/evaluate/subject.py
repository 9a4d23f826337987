"""What is evaluated: a model folder, a served URL, or an evaluation that was made before."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aurora_release import download, evidence, parse
from aurora_release.data import fim
from aurora_release.errors import AuroraError
from aurora_release.evaluate.generate import Model
from aurora_release.evaluate.load import load, load_tokenizer
from aurora_release.evaluate.redteam.models import weights
from aurora_release.evaluate.remote import connect


@dataclass(frozen=True)
class Subject:
    """A model, named but not opened."""

    name: str
    sha256: str | None
    """Of its weights, or what its server says of them; None where a server says nothing."""
    beside: Mapping[str, str]
    """SHA-256 of the tokenizer and the configuration, which decide a result too."""
    template: str | None
    """SHA-256 of its chat template."""
    infills: bool
    """It knows the marks of fill-in-the-middle."""
    open: Callable[[], Model]


@dataclass(frozen=True)
class Known:
    """What was measured before."""

    name: str
    measured: Mapping[str, Any]


@dataclass(frozen=True)
class Server:
    """What one must know to ask a server."""

    tokenizer: Path | None = None
    """A model folder with its tokenizer."""
    key_file: Path | None = None
    """A file that holds the key it asks for."""

    def key(self) -> str | None:
        """Return the key.

        Raises:
            AuroraError: the file cannot be read, or holds none.
        """
        return parse.key_file(self.key_file) if self.key_file else None


def subjects(references: Iterable[str], server: Server, exact: bool) -> list[Subject | Known]:
    """Return what each reference names: `[NAME=]FOLDER`, `[NAME=]URL` or `[NAME=]ORG/NAME`.

    Raises:
        AuroraError: there is no such model, or two have one name.
    """
    found = [_subject(reference, server, exact) for reference in references]
    names = [each.name for each in found]
    for name in names:
        if names.count(name) > 1:
            raise AuroraError(f"Two models are called {name}: say NAME=FOLDER for one of them.")
    return found


def _subject(reference: str, server: Server, exact: bool) -> Subject | Known:
    before, equals, after = reference.partition("=")
    named = bool(equals) and before.replace("-", "").replace("_", "").replace(".", "").isalnum()
    name, where = (before, after) if named else ("", reference)
    if where.startswith(("http://", "https://")):
        return _served(name, where, server)
    folder = download.model(where)
    measured = _measured(folder)
    name = name or folder.resolve().name
    if measured is not None:
        return Known(name, measured)
    if not folder.is_dir():
        raise AuroraError(f"{folder} is not a folder: name a model folder or a URL.")
    tokenizer = load_tokenizer(folder)
    template = tokenizer.chat_template
    digest = evidence.sha256(template.encode()) if template else None
    infills = fim.known(tokenizer) is not None
    open_it = partial(load, folder, exact, unpacked=True)
    return Subject(name, weights(folder), _beside(folder), digest, infills, open_it)


def _served(name: str, url: str, server: Server) -> Subject:
    if server.tokenizer is None:
        raise AuroraError(
            f"{url} is asked for scores of token ids: name the model folder that holds its "
            "tokenizer with --tokenizer."
        )
    model = connect(url, server.tokenizer, server.key())
    called = name or model.id.replace("/", "-")
    infills = fim.known(model.tokenizer) is not None
    beside = {"tokenizer.json": evidence.sha256_file(server.tokenizer / "tokenizer.json")}
    return Subject(called, model.fingerprint, beside, model.template_digest, infills, lambda: model)


def _beside(folder: Path) -> dict[str, str]:
    """Return what else than the weights decides a result."""
    paths = [folder / name for name in ("tokenizer.json", "config.json")]
    return {path.name: evidence.sha256_file(path) for path in paths if path.is_file()}


def _measured(folder: Path) -> dict[str, Any] | None:
    """Return what an evaluation in this folder measured; None where it is a model's folder."""
    if not (folder / evidence.FILE).is_file():
        return None
    found = evidence.measured(evidence.read(folder / evidence.FILE))
    return found if "bits_per_byte" in found else None
