import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from aurora_release.errors import AuroraError
from aurora_release.evaluate.gguf import open_gguf
from aurora_release.evaluate.load import load
from aurora_release.quantize.certificate import certificate
from aurora_release.quantize.gguf import gguf
from aurora_release.quantize.vocabulary import read_tokenizer

TEXTS = (
    "The fox: 12345 and 3.14, isn't it?  Two  spaces   three\n\n\tTab 7 8  9",
    "Nopea kettu 2024 hyppää laiskan koiran yli.",
    "तेज़ भूरी लोमड़ी १२३ 456 कूदती है।",
    "素早い茶色の狐 ２０２４年12月　全角",
    "Con cáo nâu 1.000.000 đồng.",
    "def fox(n):\n    return n + 0x1F  # ½ ²\n<|im_end|>\n",
)


@pytest.fixture
def write(tmp_path: Path) -> Any:
    def written(source: Path, type: str = "F16", name: str = "variant") -> Path:
        out = tmp_path / name
        out.mkdir()
        gguf(source, out, type=type)  # type: ignore[arg-type]
        return out

    return written


def changed(source: Path, folder: Path, file: str, **values: Any) -> Path:
    shutil.copytree(source, folder)
    content = json.loads((folder / file).read_text(encoding="utf-8"))
    (folder / file).write_text(json.dumps(content | values), encoding="utf-8")
    return folder


@pytest.mark.parametrize("model", ["tiny_llama", "tiny_bigcode"])
@pytest.mark.parametrize(
    ("type", "step"),
    [
        ("F16", 2**-11),
        ("BF16", 2**-8),
        ("Q8_0", 1 / 254 + 2**-11),
        ("Q5_1", 2 / 62 + 2**-10),
        ("Q5_0", 1 / 16 + 2**-10),
        ("Q4_1", 2 / 30 + 2**-10),
        ("Q4_0", 1 / 8 + 2**-10),
    ],
)
def test_read_back_every_weight_is_within_half_a_step(
    model: str, type: str, step: float, write: Any, request: pytest.FixtureRequest
) -> None:
    from transformers import AutoModelForCausalLM

    source = request.getfixturevalue(model)
    expected = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32).state_dict()
    variant, missing = open_gguf(write(source, type) / "model.gguf", torch.float32, "cpu")
    assert not missing
    found = variant.state_dict()
    assert found.keys() == expected.keys()
    for name, weight in expected.items():
        assert (found[name] - weight).abs().max() <= step * weight.abs().max(), name


def test_storage_types_are_those_llama_cpp_expects(tiny_llama: Path, write: Any) -> None:
    from gguf import GGUFReader

    reader = GGUFReader(write(tiny_llama, "Q8_0") / "model.gguf")
    types = {tensor.name: tensor.tensor_type.name for tensor in reader.tensors}
    assert types["blk.0.attn_q.weight"] == types["token_embd.weight"] == "Q8_0"
    assert types["blk.0.attn_norm.weight"] == types["output_norm.weight"] == "F32"
    assert "output.weight" not in types  # tied embeddings are stored once


@pytest.mark.parametrize("type", ["F16", "BF16", "Q8_0", "Q5_1", "Q4_0"])
def test_same_source_gives_same_bytes(tiny_llama: Path, write: Any, type: str) -> None:
    first, second = (write(tiny_llama, type, name) / "model.gguf" for name in ("a", "b"))
    assert first.read_bytes() == second.read_bytes()


def test_untied_head_and_several_files_are_written(
    tiny_llama: Path, tmp_path: Path, write: Any
) -> None:
    from gguf import GGUFReader

    source = changed(tiny_llama, tmp_path / "source", "config.json", tie_word_embeddings=False)
    weights = load_file(source / "model.safetensors")
    head = weights["model.embed_tokens.weight"].flip(0).contiguous()
    save_file({"lm_head.weight": head}, source / "other.safetensors")
    reader = GGUFReader(write(source) / "model.gguf")
    found = next(tensor for tensor in reader.tensors if tensor.name == "output.weight")
    np.testing.assert_array_equal(found.data, head.half().numpy())


def test_tokenizer_inside_the_file_gives_the_same_tokens(
    tiny_llama: Path, tmp_path: Path, write: Any
) -> None:
    digits = [
        {"type": "Digits", "individual_digits": True},
        {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": True},
    ]
    split = {"type": "Sequence", "pretokenizers": digits}
    smollm = changed(tiny_llama, tmp_path / "s", "tokenizer.json", pre_tokenizer=split)
    for number, source in enumerate((tiny_llama, smollm)):
        inside = read_tokenizer(write(source, name=f"v{number}") / "model.gguf")
        own = load(source).tokenizer
        for text in TEXTS:
            assert inside.encode(text).ids == own(text).input_ids
            assert inside.decode(inside.encode(text).ids, skip_special_tokens=False) == text


def test_folder_has_tokenizer_files_and_template(tiny_llama: Path, write: Any) -> None:
    from gguf import GGUFReader

    out = write(tiny_llama)
    for name in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        assert (out / name).read_bytes() == (tiny_llama / name).read_bytes()
    template = GGUFReader(out / "model.gguf").fields["tokenizer.chat_template"].contents()
    assert template == (tiny_llama / "chat_template.jinja").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "values", "message"),
    [
        ("tokenizer.json", {"pre_tokenizer": None}, "lost its pre-tokenizer.*set it again"),
        ("tokenizer.json", {"normalizer": {"type": "NFC"}}, "its normalizer is NFC"),
        ("config.json", {"model_type": "gpt2"}, "type 'gpt2' cannot be written as GGUF"),
        ("config.json", {"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
        (
            "config.json",
            {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 1e4}},
            "rope_type is 'linear'",
        ),
        ("config.json", {"quantization_config": {"quant_method": "gptq"}}, "quantized already"),
    ],
)
def test_what_llama_cpp_would_get_wrong_is_refused(
    tiny_llama: Path, tmp_path: Path, write: Any, file: str, values: dict[str, Any], message: str
) -> None:
    source = changed(tiny_llama, tmp_path / "source", file, **values)
    with pytest.raises(AuroraError, match=message):
        write(source)
    assert not list((tmp_path / "variant").iterdir())


def test_a_tokenizer_without_merges_is_refused(
    tiny_llama: Path, tmp_path: Path, write: Any
) -> None:
    content = json.loads((tiny_llama / "tokenizer.json").read_bytes())
    content["model"]["merges"] = []
    source = changed(tiny_llama, tmp_path / "source", "tokenizer.json", model=content["model"])
    with pytest.raises(AuroraError, match="it has no merges"):
        write(source)


def test_the_exact_gelu_of_starcoder_is_near_llama_cpps(
    tiny_bigcode: Path, tmp_path: Path, write: Any
) -> None:
    source = changed(tiny_bigcode, tmp_path / "source", "config.json", activation_function="gelu")
    found = certificate(source, write(source), {"en": ["The quick fox"]}, new_tokens=2)
    assert 0 < found["logit_difference_mean"] < 0.02


def test_multi_head_bigcode_is_refused(tiny_bigcode: Path, tmp_path: Path, write: Any) -> None:
    source = changed(tiny_bigcode, tmp_path / "source", "config.json", multi_query=False)
    with pytest.raises(AuroraError, match="multi_query is False"):
        write(source)


def test_weights_out_of_range_are_refused(tiny_llama: Path, tmp_path: Path, write: Any) -> None:
    source = changed(tiny_llama, tmp_path / "source", "config.json")
    weights = load_file(source / "model.safetensors")
    weights["model.layers.0.mlp.up_proj.weight"][0, 0] = 1e6
    save_file(weights, source / "model.safetensors")
    with pytest.raises(AuroraError, match="up_proj.*choose type Q8_0"):
        write(source)
