"""A server over a model of random weights, for fuzzing: python -m scripts.fuzz_server PORT."""

import sys
from typing import Literal

from aurora_release.safety.guard import Verdict
from aurora_release.serve.app import create_app
from aurora_release.serve.engines.embedded import EmbeddedEngine, Limits
from aurora_release.serve.engines.protocol import ModelFacts
from aurora_release.serve.server import listen, run
from aurora_release.serve.settings import Settings

LENGTH = 96
"""Tokens of prompt and answer: short, because a fuzzer asks thousands of times."""


class Allowing:
    """Lets everything pass: what is fuzzed is the protocol, and most of it is no language."""

    def judge(self, text: str, direction: Literal["input", "output"]) -> Verdict:
        """Return that the text may pass."""
        return Verdict("allow", language="en")

    def refusal(self, verdict: Verdict) -> str:
        """Return nothing: nothing is refused."""
        return ""


def engine() -> EmbeddedEngine:
    """Return an engine over a tiny llama."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    from aurora_release.shipped import shipped

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    tokenizer.train_from_iterator(["a quick brown fox"], trainer)
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token=special[1], eos_token=special[2], unk_token=special[0]
    )
    fast.chat_template = shipped("train/templates/chatml.jinja").read_text(encoding="utf-8")
    size = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 2, "num_key_value_heads": 1}
    config = LlamaConfig(vocab_size=len(fast), eos_token_id=fast.eos_token_id, **size, **heads)
    facts = ModelFacts("fuzzed", LENGTH, len(fast), "0" * 64, "float32")
    return EmbeddedEngine(LlamaForCausalLM(config).eval(), fast, facts, Limits())


def main() -> None:
    """Serve until Ctrl-C."""
    with listen("127.0.0.1", int(sys.argv[1])) as listener:
        settings = Settings(chat_page=False)
        run(create_app(engine(), Allowing(), settings), listener)


if __name__ == "__main__":
    main()
