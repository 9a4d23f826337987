"""A real engine that really fails: its requests end with an error, and it comes back."""

import threading

import httpx
import openai
import pytest
from openai import OpenAI

from aurora_release.serve.app import create_app
from aurora_release.serve.engines.protocol import EngineError, GenerationRequest
from aurora_release.serve.settings import Settings
from aurora_release.serve.supervisor import Supervisor
from tests.running import running, until
from tests.serve.conftest import WordJudge, make_engine

LONG = {"model": "x", "prompt": "The", "max_tokens": 200, "temperature": 0, "stream": True}


@pytest.fixture
def served(tiny_llama):
    """A server whose engine is impatiently watched: its address and the engine."""
    engine = make_engine(tiny_llama)
    settings = Settings(chat_page=False, patience_seconds=1)
    with running(create_app(engine, WordJudge(), settings)) as url:
        yield url, engine


def broken_once(engine, failure):
    """Let the next step of an engine do something else, as a kernel or a driver might."""
    step = engine._step

    def fail():
        engine._step = step
        failure()

    engine._step = fail


def crash():
    raise RuntimeError("out of memory")


def ready(url):
    return httpx.get(f"{url}/health/ready")


@pytest.mark.parametrize("stream", [True, False])
def test_a_crash_ends_what_runs_with_an_error_and_the_engine_comes_back(served, stream, caplog):
    url, engine = served
    broken_once(engine, crash)
    with OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client:
        with pytest.raises(openai.APIError, match="The engine failed; try again later"):
            answer = client.completions.create(**{**LONG, "stream": stream})
            for _ in answer:
                pass
        until(lambda: ready(url).status_code == 200)
        assert client.completions.create(**{**LONG, "stream": False}).usage.completion_tokens == 200
    assert "aurora_engine_restarts 1.0" in httpx.get(f"{url}/metrics").text
    stats = engine.stats()
    assert (stats.active, stats.waiting) == (0, 0)


def test_while_the_engine_is_down_requests_are_told_when_to_come_again(served, caplog):
    import torch

    url, engine = served
    weights = engine._model.model.norm.weight.data
    engine._model.model.norm.weight.data = torch.ones(3)
    httpx.post(f"{url}/v1/completions", json={**LONG, "stream": False})
    until(lambda: ready(url).status_code == 503)
    assert ready(url).json() == {"state": "restarting"}
    assert httpx.get(f"{url}/health/live").status_code == 200
    reply = httpx.post(f"{url}/v1/completions", json=LONG)
    assert reply.status_code == 503
    assert int(reply.headers["retry-after"]) >= 1
    engine._model.model.norm.weight.data = weights
    until(lambda: ready(url).status_code == 200)
    assert httpx.post(f"{url}/v1/completions", json={**LONG, "stream": False}).status_code == 200


def test_an_engine_that_stands_still_is_unready_and_its_requests_end(served, caplog):
    url, engine = served
    moves_on = threading.Event()
    broken_once(engine, lambda: moves_on.wait(30))
    try:
        with (
            OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as client,
            pytest.raises(openai.APIError, match="The engine stands still; try again later"),
        ):
            for _ in client.completions.create(**LONG):
                pass
        assert ready(url).status_code == 503
        # the engine sits in a library call, from which no thread can be called back
        until(lambda: httpx.get(f"{url}/health/live").status_code == 503)
        assert ready(url).json() == {"state": "hanging"}
    finally:
        moves_on.set()
    until(lambda: ready(url).status_code == 200)
    assert httpx.get(f"{url}/health/live").status_code == 200
    assert httpx.post(f"{url}/v1/completions", json={**LONG, "stream": False}).status_code == 200


class NeverStarts:
    """An engine whose start fails once, as a port or a GPU may be taken for a while."""

    facts = tokenizer = None

    def __init__(self):
        self.attempts = 0

    def start(self):
        self.attempts += 1
        raise EngineError("no device")

    def stop(self):
        pass


def test_an_engine_that_cannot_start_fails_at_once():
    engine = NeverStarts()
    supervisor = Supervisor(engine, patience=1)
    with pytest.raises(EngineError, match="no device"):
        supervisor.start()
    assert engine.attempts == 1
    supervisor.stop()
    assert supervisor.state == "stopped"
    with pytest.raises(EngineError):
        supervisor.generate(GenerationRequest((1,), 1))
