"""A model of random weights and a server over it, for questions about the server alone."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx

from aurora_release.serve.server import listen

LINES = (
    "The quick brown fox jumps over the lazy dog, and the dog does not mind at all.",
    "Nopea ruskea kettu hyppää laiskan koiran yli, eikä koira välitä siitä lainkaan.",
    "Con cáo nâu nhanh nhẹn nhảy qua con chó lười biếng.",
)


def model(folder: Path, layers: int = 2, width: int = 64) -> Path:
    """Write a llama of random weights with a byte-level tokenizer and return its folder."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=512, special_tokens=["<end>"], initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(LINES * 4, trainer)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<end>")
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers,
        num_attention_heads=4, num_key_value_heads=2, vocab_size=len(fast),
        tie_word_embeddings=True,
        max_position_embeddings=2048, initializer_range=0.2, eos_token_id=fast.eos_token_id,
        bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


@contextlib.contextmanager
def served(command: Sequence[str], log: Path) -> Iterator[tuple[str, int]]:
    """Run a server whose command ends with its port; give its address and its process id."""
    with listen("127.0.0.1", 0) as free:
        port = free.getsockname()[1]
    with log.open("w", encoding="utf-8") as file:
        process = subprocess.Popen(
            [sys.executable, *command, str(port)], stderr=file, env={**os.environ, **_ENVIRONMENT}
        )
    try:
        url = f"http://127.0.0.1:{port}"
        _await(url, process, log)
        yield url, process.pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


_ENVIRONMENT = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive", "PYTHONUNBUFFERED": "1"}


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    for _ in range(3000):
        if process.poll() is not None:
            raise RuntimeError(log.read_text("utf-8"))
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(f"{url}/health", timeout=5).status_code == 200:
                return
        time.sleep(0.1)
    raise RuntimeError(f"{url} did not become ready: {log.read_text('utf-8')}")
