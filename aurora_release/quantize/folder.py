"""What a variant folder takes over unchanged from the folder of its source model."""

import json
import shutil
from pathlib import Path
from typing import Any

from aurora_release.errors import AuroraError

TEMPLATE = "chat_template.jinja"

_TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
    "vocab.json", "merges.txt", TEMPLATE,
)  # fmt: skip


def configuration(source: Path) -> dict[str, Any]:
    """Return the configuration of a model that can be quantized.

    Raises:
        AuroraError: the folder holds no model, or one that is quantized already.
    """
    path = source / "config.json"
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise AuroraError(f"{path} is missing: name a folder that holds a model.") from None
    except ValueError as error:
        raise AuroraError(f"{path} is not valid JSON ({error}): fetch the file again.") from None
    quantized = content.get("quantization_config")
    if quantized:
        raise AuroraError(
            f"{source} is quantized already ({quantized.get('quant_method')}): quantize the "
            "full-precision model that it was made from."
        )
    if not any(source.glob("*.safetensors")):
        raise AuroraError(f"{source} has no *.safetensors weights: save the model in that format.")
    assert isinstance(content, dict)
    return content


def take_over(source: Path, out: Path, *, generation: bool = True) -> None:
    """Copy tokenizer, chat template and generation settings, so that no library rewrites them."""
    for name in (*_TOKENIZER, *(["generation_config.json"] if generation else [])):
        if (source / name).is_file():
            shutil.copyfile(source / name, out / name)
    for path in out.iterdir():
        if path.is_file():
            # safetensors writes 0600, which a server under another user cannot read
            path.chmod(0o644)
