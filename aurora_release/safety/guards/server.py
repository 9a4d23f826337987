"""A guard model behind any OpenAI-compatible server: vLLM, SGLang, llama.cpp, Ollama …"""

import json
import math
import time
import weakref
from collections.abc import Mapping
from typing import Any

from aurora_release.errors import missing_extra
from aurora_release.safety.guards.dialect import Answer
from aurora_release.safety.guards.protocol import Turn, Unjudged

LONGEST = 256 * 1024
"""Bytes of a response at most; a verdict has a few lines."""


class Server:
    """Asks a model over HTTP; the server fills in the chat template."""

    def __init__(self, url: str, model: str, key: str | None = None, timeout: float = 10.0):
        try:
            import httpx
        except ImportError:
            raise missing_extra("httpx", "serve") from None
        headers = {"Accept-Encoding": "identity"}
        if key is not None:
            headers["Authorization"] = f"Bearer {key}"
        self._url, self._model, self._timeout = url.rstrip("/"), model, timeout
        # Texts go where the policy says, and by no proxy of the environment.
        self._client = httpx.Client(headers=headers, timeout=timeout, trust_env=False)
        weakref.finalize(self, self._client.close)

    def chat(
        self,
        conversation: tuple[Turn, ...],
        tokens: int,
        likeliest: int = 0,
        variables: Mapping[str, str] | None = None,
    ) -> Answer:
        """Return the answer of `/chat/completions`."""
        messages = [{"role": turn.role, "content": turn.text} for turn in conversation]
        body: dict[str, Any] = {"messages": messages, "max_tokens": tokens}
        if likeliest:
            body |= {"logprobs": True, "top_logprobs": likeliest}
        if variables:
            body["chat_template_kwargs"] = dict(variables)
        return _read(self._post("/chat/completions", body), "message", "content")

    def complete(self, prompt: str, tokens: int) -> Answer:
        """Return the answer of `/completions`."""
        return _read(self._post("/completions", {"prompt": prompt, "max_tokens": tokens}), "text")

    def _post(self, path: str, body: dict[str, Any]) -> bytes:
        """Return what the server answers in time, if it is not too much."""
        import httpx

        late = Unjudged(f"the guard's server gave no answer within {self._timeout:g} s")
        deadline = time.monotonic() + self._timeout
        content = b""
        body = {"model": self._model, "temperature": 0, **body}
        try:
            with self._client.stream("POST", self._url + path, json=body) as response:
                if response.status_code != 200:
                    raise Unjudged(f"the guard's server answered with {response.status_code}")
                for piece in response.iter_raw():
                    content += piece
                    if len(content) > LONGEST:
                        raise Unjudged(f"the guard's answer is longer than {LONGEST} bytes")
                    if time.monotonic() > deadline:
                        raise late
        except httpx.TimeoutException:
            raise late from None
        except httpx.HTTPError as error:
            raise Unjudged(f"the guard's server failed: {type(error).__name__}") from None
        return content


def _read(content: bytes, *keys: str) -> Answer:
    """Return the text of the first choice, with the probabilities that came with it."""
    try:
        choice = text = json.loads(content)["choices"][0]
        for key in keys:
            text = text[key]
        if not isinstance(text, str):
            raise TypeError
        places = (choice.get("logprobs") or {}).get("content") or []
        steps = tuple(
            {str(top["token"]): math.exp(min(top["logprob"], 0.0)) for top in place["top_logprobs"]}
            for place in places
        )
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError):
        raise Unjudged("the guard's server did not answer in the OpenAI format") from None
    return Answer(text, steps)
