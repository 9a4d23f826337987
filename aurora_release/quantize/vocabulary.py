"""The tokenizer inside a GGUF file: llama.cpp has its own, which must split text as ours does."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aurora_release.errors import AuroraError

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_BYTES = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True}
_DIGITS = {"type": "Digits", "individual_digits": True}

# name in llama.cpp, how it splits text, and whether it deletes spaces before punctuation when it
# decodes (clean_up_tokenization_spaces)
_SPLITS: tuple[tuple[str, dict[str, Any], bool], ...] = (
    ("smollm", {"type": "Sequence", "pretokenizers": [_DIGITS, _BYTES]}, False),
    ("starcoder", {"type": "Sequence", "pretokenizers": [_DIGITS, _BYTES]}, True),
    ("granite-docling", _BYTES, False),
    ("gpt-2", _BYTES, True),
)

# what llama.cpp's byte-level BPE takes for granted
_MODEL = {
    "type": ("BPE",), "dropout": (None,), "continuing_subword_prefix": (None, ""),
    "end_of_word_suffix": (None, ""), "byte_fallback": (False,), "ignore_merges": (False,),
}  # fmt: skip


def add_vocabulary(writer: Any, source: Path, size: int) -> None:
    """Write the tokenizer of the model in `source`, padded to the `size` of its embeddings.

    Raises:
        AuroraError: llama.cpp has no tokenizer that gives the same tokens.
    """
    from transformers import AutoTokenizer

    # as transformers loads it, not as the file has it: that is what the model was trained with
    loaded = AutoTokenizer.from_pretrained(source, local_files_only=True, trust_remote_code=False)
    if not loaded.is_fast:
        raise _refused(source, "it has no tokenizer.json")
    content = json.loads(loaded.backend_tokenizer.to_str())
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(_split(source, content, bool(loaded.clean_up_tokenization_spaces)))
    tokens, types = _tokens(source, content, size)
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    writer.add_token_merges([" ".join(pair) for pair in content["model"]["merges"]])
    for name in ("bos", "eos", "unk", "pad"):
        number = getattr(loaded, f"{name}_token_id")
        if number is not None:
            getattr(writer, f"add_{name}_token_id")(number)
    writer.add_add_bos_token(_adds_bos(source, loaded))


def read_tokenizer(path: Path) -> "Tokenizer":
    """Return the tokenizer inside a GGUF file that `add_vocabulary` wrote, built from it alone."""
    from gguf import GGUFReader, TokenType
    from tokenizers import AddedToken, Tokenizer, decoders, models, processors

    reader = GGUFReader(path)
    tokens, types, merges, split = (
        reader.fields[f"tokenizer.ggml.{name}"].contents()
        for name in ("tokens", "token_type", "merges", "pre")
    )
    vocabulary = {
        token: number
        for number, (token, kind) in enumerate(zip(tokens, types, strict=True))
        if kind != TokenType.UNUSED
    }
    pairs = [tuple(merge.split(" ")) for merge in merges]
    # the same JSON that was compared: `tokenizers` has no other way to build one from a description
    built = json.loads(Tokenizer(models.BPE(vocabulary, pairs)).to_str())
    built["pre_tokenizer"] = next(shape for name, shape, _ in _SPLITS if name == split)
    tokenizer = Tokenizer.from_str(json.dumps(built))
    tokenizer.decoder = decoders.ByteLevel()
    for number, kind in enumerate(types):
        if kind in (TokenType.CONTROL, TokenType.USER_DEFINED):
            special = kind == TokenType.CONTROL
            tokenizer.add_tokens([AddedToken(tokens[number], special=special, normalized=False)])
    if reader.fields["tokenizer.ggml.add_bos_token"].contents():
        first = tokens[reader.fields["tokenizer.ggml.bos_token_id"].contents()]
        tokenizer.post_processor = processors.TemplateProcessing(
            single=f"{first} $A", special_tokens=[(first, vocabulary[first])]
        )
    return tokenizer


def _split(source: Path, content: dict[str, Any], clean: bool) -> str:
    """Return llama.cpp's name for a tokenizer that gives the same tokens and the same text."""
    if content["normalizer"] is not None:
        raise _refused(source, f"its normalizer is {content['normalizer']['type']}")
    for key, allowed in _MODEL.items():
        if content["model"].get(key, allowed[0]) not in allowed:
            raise _refused(source, f"its model has {key} {content['model'][key]!r}")
    if not content["model"]["merges"]:
        raise _refused(source, "it has no merges, and llama.cpp reads no file without them")
    for name, shape, cleans in _SPLITS:
        if content["pre_tokenizer"] == shape and clean == cleans:
            return name
    raise _refused(source, f"its pre-tokenizer is {json.dumps(content['pre_tokenizer'])}")


def _refused(source: Path, why: str) -> AuroraError:
    known = "; ".join(json.dumps(shape) for _, shape, clean in _SPLITS if not clean)
    return AuroraError(
        f"{source / 'tokenizer.json'} cannot be written as GGUF: {why}, and llama.cpp would split "
        f"text differently. Known are byte-level BPE with no normalizer and one of the "
        f"pre-tokenizers {known}. If the file lost its pre-tokenizer (a GGUF read by transformers "
        "does), set it again; else leave gguf out of `quantize`."
    )


def _tokens(source: Path, content: dict[str, Any], size: int) -> tuple[list[str], list[int]]:
    """Return the text and the type of every token id below `size`."""
    from gguf import TokenType

    added = {token["id"]: token for token in content["added_tokens"]}
    texts = {number: text for text, number in content["model"]["vocab"].items()}
    texts |= {number: token["content"] for number, token in added.items()}
    if max(texts) >= size:
        raise _refused(source, f"it has token {max(texts)} and the model has {size} embeddings")
    for token in added.values():
        if token["lstrip"] or token["rstrip"] or token["single_word"]:
            raise _refused(source, f"its token {token['content']} also takes spaces or whole words")
    types = []
    for number in range(size):
        if number in added:
            special = added[number]["special"]
            types.append(TokenType.CONTROL if special else TokenType.USER_DEFINED)
        else:
            types.append(TokenType.NORMAL if number in texts else TokenType.UNUSED)
    return [texts.get(number, f"[PAD{number}]") for number in range(size)], types


def _adds_bos(source: Path, tokenizer: Any) -> bool:
    """Return whether the tokenizer puts its first token before every text, and nothing else."""
    plain = tokenizer("a", add_special_tokens=False).input_ids
    full = tokenizer("a").input_ids
    if full not in (plain, [tokenizer.bos_token_id, *plain]):
        raise _refused(source, f"it adds more than a first token ({full} around {plain})")
    return bool(full != plain)
