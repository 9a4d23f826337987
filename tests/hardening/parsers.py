"""Everything of ours that reads what others wrote, each with a valid file to begin from."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aurora_release.evidence import canonical, statement
from aurora_release.shipped import shipped
from tests.hardening.mutate import Form


@dataclass(frozen=True)
class Parser:
    """A reader, and the file that it is given."""

    name: str
    form: Form
    file: str
    """The name of the file that is changed."""
    valid: Callable[[Path], None]
    """Writes a folder that is read without complaint."""
    read: Callable[[Path], object]
    """Reads that folder, and uses what was read as far as it must be sound."""


def _one(
    name: str, form: Form, file: str, content: bytes, read: Callable[[Path], object]
) -> Parser:
    return Parser(
        name, form, file, lambda folder: _write(folder / file, content),
        lambda folder: read(folder / file),
    )  # fmt: skip


def _write(path: Path, content: bytes) -> None:
    path.write_bytes(content)


def _lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def _recipe(path: Path) -> object:
    from aurora_release import recipe

    found, _ = recipe.load(str(path))
    return canonical(found.model_dump(mode="json"))


def _override(path: Path) -> object:
    from aurora_release import recipe

    text = path.read_bytes().decode("utf-8", "surrogateescape")
    found, _ = recipe.load("demo", (text,))
    return canonical(found.model_dump(mode="json"))


def _ledger_of_two(folder: Path) -> None:
    from aurora_release.safety import ledger
    from tests.safety.pairs import pair, review

    path = folder / "pairs.jsonl"
    first, _ = ledger.append(path, [pair("wifi-1-benign"), pair("wifi-2-benign")])
    ledger.review(path, first, review(first, "Aino"))


def _ledger(folder: Path) -> object:
    from aurora_release.safety import ledger

    return ledger.stats(ledger.read(folder / "pairs.jsonl"))


def _stage(folder: Path) -> None:
    from aurora_release import evidence

    _write(folder / "out", b"made")
    predicate = {
        "stage": "base", "recipe": {"a": 1}, "inputs": {}, "previous": {}, "environment": {},
        "measured": {"bits_per_byte": {"fi": {"bits_per_byte": 1.5}}},
    }  # fmt: skip
    evidence.write(folder, statement(evidence.digests(folder), predicate))


def _evidence(folder: Path) -> object:
    from aurora_release import evidence
    from aurora_release.card import chain
    from aurora_release.run import _is_true

    path = folder / "evidence.json"
    evidence.measured(evidence.read(path))
    _is_true(folder, {"stage": "base", "recipe": {"a": 1}})
    return chain.statement(path)


@cache
def _made_store() -> dict[str, bytes]:
    """Return the files of a small token store."""
    import tempfile

    from aurora_release.data.tokens import Tokens
    from aurora_release.data.writer import Writer
    from aurora_release.recipe import Source

    source = Source(name="fi", language="fi", license="CC0-1.0", path="x")
    made = [
        Tokens(ids=list(range(n, n + 20)), id=f"d{n}", prompt=0, license="", characters=20,
               bytes=20, words=4, fim=False)
        for n in range(9)
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        with Writer(Path(name), 16, 100) as writer:
            writer.add(source, made)
            writer.finish({"end_of_text": 0})
        return {path.name: path.read_bytes() for path in Path(name).iterdir()}


def _token_store(folder: Path) -> None:
    for name, content in _made_store().items():
        _write(folder / name, content)


def _store(folder: Path) -> object:
    from aurora_release.data.store import Store

    store = Store(folder)
    store.check()
    return [
        store.sample(name, window)
        for name, windows in store.windows.items()
        for window in {0, windows - 1} if windows
    ]  # fmt: skip


def _policy(path: Path) -> object:
    from aurora_release.safety import policy

    found = policy.load(path)
    return found.digest, found.stream.notice("fi")


def _keys(path: Path) -> object:
    from aurora_release.serve import keys

    return keys.read(path).find("sk-none")


def _sets(path: Path) -> object:
    from aurora_release.evaluate import sets

    return sets.read(path)


def _preferences(path: Path) -> object:
    from aurora_release.data import preferences

    return preferences.read(path, 0)


def _source(path: Path) -> object:
    from aurora_release.data import sources
    from aurora_release.data.documents import line
    from aurora_release.recipe import Source

    source = Source(
        name="fi", language="fi", license="CC0-1.0", path=path.name, license_key="license"
    )
    (shard,) = sources.shards((source,), path.parent)
    return [line(document) for document in sources.read(source, shard, path.parent)]


def _contrast(path: Path) -> object:
    from aurora_release.safety import contrast

    return contrast.read(path)


def _wrappers(path: Path) -> object:
    from aurora_release.evaluate.redteam import wrappers

    return wrappers.load((), (path,))


def _requests(path: Path) -> object:
    from aurora_release.evaluate.redteam import requests

    return requests.of_file(path, "fi")


def _model_config(path: Path) -> object:
    from aurora_release.evaluate.load import method

    return method(path.parent)


def _weights(path: Path) -> object:
    from aurora_release.hub import _parameters

    return _parameters(path.parent)


def _with_weights(folder: Path) -> None:
    config = {"quantization_config": {"quant_method": "gptq"}}
    _write(folder / "config.json", json.dumps(config).encode())
    _write(folder / "model.safetensors", b"")


def _gguf(path: Path) -> object:
    from aurora_release.evaluate.gguf import opens
    from aurora_release.evaluate.load import _readable_errors

    with _readable_errors(path.parent):
        return opens(path)


@cache
def _made_gguf() -> bytes:
    import tempfile

    import numpy as np
    from gguf import GGUFWriter

    with tempfile.TemporaryDirectory() as name:
        path = Path(name) / "model.gguf"
        writer = GGUFWriter(path, "llama")
        writer.add_block_count(1)
        writer.add_array("tokenizer.ggml.tokens", ["a", "b"])
        writer.add_tensor("token_embd.weight", np.zeros((2, 4), np.float32))
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        return path.read_bytes()


def _sums(folder: Path) -> object:
    from aurora_release.card import sums

    return sums.read(folder)


def _summed(folder: Path) -> None:
    from aurora_release.card import sums

    _write(folder / "a", b"a")
    sums.write(folder)


def _release_recipe(path: Path) -> object:
    from aurora_release.card.chain import _recipe as read

    return canonical(read(path).model_dump(mode="json"))


def _signature(folder: Path) -> object:
    from aurora_release.card import sign

    return sign.signer(folder), sign.differences(folder, {"a": "b"})


def _safetensors() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [2, 4], "data_offsets": [0, 32]}}).encode()
    return len(header).to_bytes(8, "little") + header + bytes(32)


def _demo_json() -> bytes:
    from aurora_release import recipe

    return recipe.load("demo")[0].model_dump_json().encode()


def _bundle() -> bytes:
    import base64

    payload = {"predicate": {"resources": [{"name": "a", "digest": "b"}]}}
    content = base64.b64encode(json.dumps(payload).encode()).decode()
    return json.dumps({
        "verificationMaterial": {"publicKey": {"hint": "ab"}}, "dsseEnvelope": {"payload": content},
    }).encode()  # fmt: skip


def parsers() -> list[Parser]:
    """Return all of them."""
    shared = {"id": "a", "prompt": "p", "chosen": "c", "rejected": "r"}
    key = f"aino sha256:{'0' * 64} requests_per_minute=5\n# note\nbert sha256:{'1' * 64}\n".encode()
    demo = shipped("train/recipes/demo.yaml").read_bytes()
    contrast = shipped("train/safety/contrast/en.yaml").read_bytes()[:0] or (
        b"- {topic: t, area: cyber, asks: ['how {}'], harmful: [x], harmless: [y]}\n"
    )
    return [
        _one("recipe", "yaml", "recipe.yaml", demo, _recipe),
        _one("override key=value", "override", "o", b"train.stages.0.tokens=1000", _override),
        Parser("ledger", "lines", "pairs.jsonl", _ledger_of_two, _ledger),
        Parser("evidence.json", "json", "evidence.json", _stage, _evidence),
        Parser("token store, manifest", "json", "store.json", _token_store, _store),
        Parser("token store, index", "binary", "starts.npy", _token_store, _store),
        _one("policy", "yaml", "policy.yaml",
             shipped("serve/policies/default.yaml").read_bytes(), _policy),
        _one("API keys", "text", "keys", key, _keys),
        _one("evaluation set", "lines", "set.jsonl", _lines(
            {"id": "1", "context": "c", "choices": ["a", "b"], "answer": 0, "language": "fi"},
            {"id": "2", "context": "c", "choices": ["a", "b"], "answer": 1}), _sets),
        _one("preferences", "lines", "pairs.jsonl",
             _lines(shared, {**shared, "id": "b", "group": "g"}), _preferences),
        _one("corpus, JSON lines", "lines", "fi.jsonl", _lines(
            {"id": "1", "text": "kettu", "license": "MIT"}, {"text": "koira"}), _source),
        _one("contrast topics", "yaml", "en.yaml", contrast, _contrast),
        _one("attack wrappers", "yaml", "mine.yaml",
             shipped("train/redteam/wrappers.yaml").read_bytes().replace(b"name: ", b"name: my-"),
             _wrappers),
        _one("requests, JSON lines", "lines", "asked.jsonl", _lines(
            {"prompt": "p", "kind": "safe", "id": 1}, {"prompt": "q", "topic_id": "t"}), _requests),
        _one("requests, CSV", "text", "asked.csv", b'prompt,kind\n"a, b",safe\nq,harmful\n',
             _requests),
        Parser("config.json of a model", "json", "config.json", _with_weights,
               lambda folder: _model_config(folder / "config.json")),
        _one("safetensors header", "binary", "model.safetensors", _safetensors(), _weights),
        Parser("GGUF header", "binary", "model.gguf",
               lambda folder: _write(folder / "model.gguf", _made_gguf()),
               lambda folder: _gguf(folder / "model.gguf")),
        Parser("SHA256SUMS", "text", "SHA256SUMS", _summed, _sums),
        _one("recipe.json of a release", "json", "recipe.json", _demo_json(), _release_recipe),
        Parser("model.sig", "json", "model.sig",
               lambda folder: _write(folder / "model.sig", _bundle()), _signature),
    ]  # fmt: skip
