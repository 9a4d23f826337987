"""The OpenAI routes: /v1/completions, /v1/chat/completions and /v1/models."""

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aurora_release.serve import prompts
from aurora_release.serve.delivery import EventStream, unless_gone
from aurora_release.serve.engines.protocol import GenerationRequest
from aurora_release.serve.generation import Answers, Ask, GuardedEngine
from aurora_release.serve.openai_replies import ChatReply, EchoReply, Head, Reply, TextReply
from aurora_release.serve.prompts import Message, Prompt
from aurora_release.serve.replies import ApiError, body, event
from aurora_release.serve.schemas_openai import ChatRequest, Common, CompletionRequest
from aurora_release.serve.settings import Settings

if TYPE_CHECKING:
    from fastapi import APIRouter


class OpenAIRoutes:
    """Answers as the OpenAI API does."""

    def __init__(
        self, guarded: GuardedEngine, settings: Settings, others: Sequence[GuardedEngine] = ()
    ):
        """`others` are further models, which requests name."""
        self._guarded = guarded
        self._engine = guarded.engine
        self._settings = settings
        self._started = int(time.time())
        self._others = [OpenAIRoutes(other, settings) for other in others]

    def router(self) -> "APIRouter":
        """Return the routes."""
        from fastapi import APIRouter

        router = APIRouter(prefix="/v1", tags=["OpenAI"])
        router.add_api_route("/completions", self.completions, methods=["POST"])
        router.add_api_route("/chat/completions", self.chat, methods=["POST"])
        router.add_api_route("/models", self.models, methods=["GET"])
        router.add_api_route("/models/{model_id:path}", self.model, methods=["GET"])
        return router

    async def models(self) -> Response:
        """List the models that are served."""
        data = [routes._model() for routes in (self, *self._others)]
        return JSONResponse({"object": "list", "data": data})

    async def model(self, model_id: str) -> Response:
        """Describe a model that is served."""
        return JSONResponse(self._named(model_id)._model())

    def _named(self, name: str) -> "OpenAIRoutes":
        """Return the routes of the model with this name."""
        for routes in (self, *self._others):
            if name == routes._engine.facts.id:
                return routes
        raise ApiError("not_found", f"The model `{name}` does not exist", "model")

    def _asked(self, name: str) -> "OpenAIRoutes":
        """Return the routes of the model that a request names; the only one goes by any name."""
        return self._named(name) if self._others and name else self

    async def completions(self, asked: CompletionRequest, request: Request) -> Response:
        """Continue one or more prompts."""
        if (routes := self._asked(asked.model)) is not self:
            return await routes.completions(asked, request)
        given = _prompts(asked.prompt)
        found = await asyncio.to_thread(lambda: [self._prompt(prompt) for prompt in given])
        asks = self._asks(asked, found, _limit(asked), asked.logprobs or 0)
        head = self._head("cmpl", found)
        if not asked.echo:
            reply = TextReply(head, len(asks), asked.logprobs)
            return await self._respond(asked, asks, reply, request)
        scored = asked.logprobs is not None
        asks = [replace(ask, request=replace(ask.request, prompt_logprobs=scored)) for ask in asks]
        echoed = await asyncio.to_thread(lambda: [self._text(ask.request.prompt) for ask in asks])
        reply = EchoReply(head, echoed, asked.logprobs, asked.max_tokens == 0)
        return await self._respond(asked, asks, reply, request)

    def _text(self, ids: Sequence[int]) -> str:
        text = self._engine.tokenizer.decode(ids, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)
        return text

    async def chat(self, asked: ChatRequest, request: Request) -> Response:
        """Answer a conversation."""
        if (routes := self._asked(asked.model)) is not self:
            return await routes.chat(asked, request)
        if asked.top_logprobs and not asked.logprobs:
            raise ApiError("invalid", "`top_logprobs` needs `logprobs`: true", "top_logprobs")
        turns = [
            Message(turn.role.replace("developer", "system"), turn.text) for turn in asked.messages
        ]
        prompt = await asyncio.to_thread(prompts.of_messages, self._engine, turns)
        limit = asked.max_completion_tokens or asked.max_tokens
        asks = self._asks(asked, [prompt], limit, asked.top_logprobs or 0)
        wanted = (asked.top_logprobs or 0) if asked.logprobs else None
        reply = ChatReply(self._head("chatcmpl", [prompt]), len(asks), wanted)
        return await self._respond(asked, asks, reply, request)

    def _model(self) -> dict[str, Any]:
        facts = self._engine.facts
        return {
            "id": facts.id,
            "object": "model",
            "created": self._started,
            "owned_by": "aurora-release",
            "max_model_len": facts.max_total_tokens,
        }

    def _prompt(self, prompt: str | Sequence[int]) -> Prompt:
        if isinstance(prompt, str):
            return prompts.of_text(self._engine, prompt, "prompt")
        return prompts.of_ids(self._engine, prompt, "prompt")

    def _asks(
        self, asked: Common, found: Sequence[Prompt], limit: int | None, top: int
    ) -> list[Ask]:
        """Return one ask for each answer: `n` for each prompt."""
        answers = asked.n or 1
        if answers * len(found) > self._settings.max_answers:
            raise ApiError(
                "invalid", f"At most {self._settings.max_answers} answers in one request", "n"
            )
        if len(asked.stop_strings) > self._settings.max_stop_strings:
            raise ApiError(
                "invalid", f"At most {self._settings.max_stop_strings} stop strings", "stop"
            )
        asks = []
        for prompt in found:
            room = prompts.room(self._engine, prompt, limit, "max_tokens")
            request = replace(_sampling(asked), prompt=prompt.ids, max_new_tokens=room)
            for number in range(answers):
                seed = None if asked.seed is None else (asked.seed + number) % 2**63
                one = replace(request, seed=seed, top_logprobs=top)
                asks.append(Ask(one, prompt.judged))
        return asks

    def _head(self, prefix: str, found: Sequence[Prompt]) -> Head:
        facts = self._engine.facts
        return Head(
            id=f"{prefix}-{uuid.uuid4().hex}",
            created=int(time.time()),
            model=facts.id,
            fingerprint=f"aurora-{facts.digest[:12]}",
            prompt_tokens=sum(len(prompt.ids) for prompt in found),
        )

    async def _respond(
        self, asked: Common, asks: Sequence[Ask], reply: Reply, request: Request
    ) -> Response:
        if not asked.stream:
            return await unless_gone(request, self._whole(asks, reply))
        answers = await self._guarded.open(asks, reply.id)
        return EventStream(self._events(answers, reply, asked.usage_wanted), answers)

    async def _whole(self, asks: Sequence[Ask], reply: Reply) -> Response:
        answers = await self._guarded.open(asks, reply.id)
        async with aclosing(answers):
            async for piece in answers:
                reply.add(piece)
        return JSONResponse(reply.whole())

    async def _events(self, answers: Answers, reply: Reply, usage: bool) -> AsyncIterator[str]:
        try:
            for first in reply.opening():
                yield event(first)
            async for piece in answers:
                for chunk in reply.chunks(piece):
                    yield event(chunk)
        except ApiError as error:
            yield event(body("/v1/", error))
            return
        if usage:
            yield event(reply.usage_chunk())
        yield "data: [DONE]\n\n"


def _limit(asked: CompletionRequest) -> int | None:
    """Return the tokens to generate, at least one: of a prompt alone, one is made and left out."""
    if asked.echo and asked.stream:
        raise ApiError("invalid", "`echo` is not streamed", "echo")
    if asked.max_tokens == 0 and not asked.echo:
        raise ApiError("invalid", "`max_tokens`: 0 is for `echo` only", "max_tokens")
    return asked.max_tokens or (1 if asked.max_tokens == 0 else None)


def _prompts(prompt: Any) -> list[str | list[int]]:
    """Return the prompts of a completion request, which may be one or many, text or token ids."""
    if isinstance(prompt, str):
        return [prompt]
    if not prompt:
        raise ApiError("invalid", "`prompt` cannot be empty", "prompt")
    return [prompt] if isinstance(prompt[0], int) else list(prompt)


def _sampling(asked: Common) -> GenerationRequest:
    """Return how to generate; prompt and length are filled in later."""
    return GenerationRequest(
        prompt=(),
        max_new_tokens=0,
        temperature=1.0 if asked.temperature is None else asked.temperature,
        top_p=asked.top_p or 1.0,
        top_k=max(asked.top_k or 0, 0),
        repetition_penalty=asked.repetition_penalty or 1.0,
        frequency_penalty=asked.frequency_penalty or 0.0,
        presence_penalty=asked.presence_penalty or 0.0,
        stop=asked.stop_strings,
    )
