"""A model behind any URL that speaks OpenAI's /v1/chat/completions."""

import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace
from typing import Any

from aurora_release.errors import AuroraError
from aurora_release.serve.chat.talk import Progress, Sampling
from aurora_release.serve.prompts import Message


class RemoteTalker:
    """Asks a server; what its filter decided is known only where an answer ends by it."""

    def __init__(self, url: str, name: str | None, key: str | None):
        from openai import AsyncOpenAI

        base = url.rstrip("/").removesuffix("/chat/completions")
        self._url = base if base.endswith("/v1") else f"{base}/v1"
        self._client = AsyncOpenAI(base_url=self._url, api_key=key or "none", max_retries=0)
        self.name = name or ""

    async def connect(self) -> None:
        """Find out what the server calls its model, unless a name was given.

        Raises:
            AuroraError: the server cannot be reached, refuses, or has no model.
        """
        if self.name:
            return
        from openai import OpenAIError

        try:
            listed = [model.id async for model in self._client.models.list()]
        except OpenAIError as error:
            raise AuroraError(
                f"{self._url}/models: {error} Is the URL that of an OpenAI-compatible server, and "
                "the key (--api-key-file) the one it asks for?"
            ) from None
        if not listed:
            raise AuroraError(f"{self._url} lists no model: name one with --model.")
        self.name = listed[0]

    async def close(self) -> None:
        """Let go of the connection."""
        await self._client.close()

    async def answer(
        self, turns: Sequence[Message], sampling: Sampling
    ) -> AsyncGenerator[Progress]:
        """Yield the answer to the last turn, each time further; closing it ends the request."""
        from openai import OpenAIError

        begun = time.monotonic()
        sampling = sampling.seeded()
        now = Progress(decisions=None, seed=sampling.seed)
        try:
            async with await self._stream(self._asked(turns, sampling)) as stream:
                async for chunk in stream:
                    now = _further(now, chunk, time.monotonic() - begun)
                    yield now
        except OpenAIError as error:
            yield replace(now, error=f"{self._url}: {error}")

    async def _stream(self, asked: dict[str, Any]) -> Any:
        """Send a request; where the context has no room for so long an answer, for a shorter one.

        Without `max_tokens` a server takes what fits, which is then less than was asked for.
        """
        from openai import BadRequestError

        try:
            return await self._client.chat.completions.create(**asked)
        except BadRequestError as error:
            if error.code != "context_length_exceeded" and "context length" not in str(error):
                raise
        del asked["max_tokens"]
        return await self._client.chat.completions.create(**asked)

    def _asked(self, turns: Sequence[Message], sampling: Sampling) -> dict[str, Any]:
        asked: dict[str, Any] = {
            "model": self.name,
            "messages": [{"role": turn.role, "content": turn.content} for turn in turns],
            "temperature": sampling.temperature,
            "top_p": sampling.top_p,
            "max_tokens": sampling.max_tokens,
            "seed": sampling.seed,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        if sampling.repetition_penalty != 1.0:  # not OpenAI's own: sent only where it is wanted
            asked["extra_body"] = {"repetition_penalty": sampling.repetition_penalty}
        return asked


def _further(now: Progress, chunk: Any, seconds: float) -> Progress:
    """Return an answer with one chunk more; its tokens come with the usage at the end."""
    choice = chunk.choices[0] if chunk.choices else None
    text = now.text + (choice.delta.content or "" if choice else "")
    reason = choice.finish_reason if choice else None
    return replace(
        now,
        text=text,
        ending=("length" if reason == "length" else "stop") if reason else now.ending,
        blocked=now.blocked or reason == "content_filter",
        tokens=chunk.usage.completion_tokens if chunk.usage else now.tokens,
        first=seconds if now.first is None and text else now.first,
        seconds=seconds,
    )
