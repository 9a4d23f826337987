"""An engine in float32 (answers alone and in a batch are equal) and the real HTTP server."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Literal

import pytest

from aurora_release.safety.guard import Verdict
from aurora_release.serve.app import create_app
from aurora_release.serve.engines.embedded import EmbeddedEngine, Limits
from aurora_release.serve.engines.protocol import Engine, ModelFacts
from aurora_release.serve.judging import Judge
from aurora_release.serve.settings import Settings
from tests.running import running

REFUSAL = "I cannot help with that."


class WordJudge:
    """Blocks every text with one of its words in it."""

    def __init__(self, *words: str):
        self._words = words

    def judge(self, text: str, direction: Literal["input", "output"]) -> Verdict:
        if any(word in text for word in self._words):
            return Verdict("block", "harm", score=1.0, language="en")
        return Verdict("allow", language="en")

    def refusal(self, verdict: Verdict) -> str:
        return REFUSAL


def make_engine(folder: Path, limits: Limits | None = None, length: int = 256) -> EmbeddedEngine:
    """Return an engine over a model folder, not running yet; `length`: prompt and answer."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    facts = ModelFacts(folder.name, length, model.config.vocab_size, "0" * 64, "float32")
    return EmbeddedEngine(model, tokenizer, facts, limits or Limits())


@pytest.fixture(autouse=True)
def clients_may_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the Hugging Face client reach the server under test: offline, it calls no address."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)


@pytest.fixture
def start_engine() -> Iterator[Callable[..., EmbeddedEngine]]:
    """A function that starts an engine over a model folder; all are stopped after the test."""
    started = []

    def start(folder: Path, limits: Limits | None = None) -> EmbeddedEngine:
        engine = make_engine(folder, limits)
        engine.start()
        started.append(engine)
        return engine

    yield start
    for engine in started:
        engine.stop()


def serving(engine: Engine, guard: Judge, settings: Settings) -> AbstractContextManager[str]:
    """Run the real server on a real port and give its address."""
    return running(create_app(engine, guard, settings))


@pytest.fixture
def run_server() -> Callable[..., AbstractContextManager[str]]:
    """The context manager `serving`, for an engine that a test made itself."""
    return serving


@pytest.fixture
def start_server(tiny_llama: Path) -> Iterator[Callable[..., tuple[str, EmbeddedEngine]]]:
    """A function that starts a server over the tiny llama: its address and its engine."""
    with ExitStack() as stack:

        def start(
            *blocked: str,
            guard: Judge | None = None,
            settings: Settings | None = None,
            limits: Limits | None = None,
        ) -> tuple[str, EmbeddedEngine]:
            engine = make_engine(tiny_llama, limits)
            settings = settings or Settings(chat_page=False)
            return stack.enter_context(
                serving(engine, guard or WordJudge(*blocked), settings)
            ), engine

        yield start


@pytest.fixture(scope="module")
def server(tiny_llama: Path) -> Iterator[str]:
    """The address of a server over the tiny llama that blocks the word `bomb`."""
    with serving(make_engine(tiny_llama), WordJudge("bomb"), Settings(chat_page=False)) as url:
        yield url


@pytest.fixture
def slots_are_freed() -> Callable[[Engine], bool]:
    """A function that waits a moment: the engine's own thread frees a slot after the last delta."""

    def freed(engine: Engine) -> bool:
        deadline = time.monotonic() + 30
        while engine.stats().active and time.monotonic() < deadline:
            time.sleep(0.01)
        return engine.stats().active == 0

    return freed
