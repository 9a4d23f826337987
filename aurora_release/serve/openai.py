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

from aurora_release.serve import moderations, openai_asks, prompts
from aurora_release.serve import schemas_replies as shown
from aurora_release.serve.delivery import EventStream, unless_gone
from aurora_release.serve.generation import Answers, Ask, GuardedEngine
from aurora_release.serve.openai_replies import ChatReply, EchoReply, Head, Reply, TextReply
from aurora_release.serve.prompts import Prompt
from aurora_release.serve.replies import ApiError, body, event
from aurora_release.serve.schemas_openai import (
    ChatRequest,
    Common,
    CompletionRequest,
    ModerationRequest,
)
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
        add = router.add_api_route
        for path, answer, reply in (
            ("/completions", self.completions, shown.Completion),
            ("/chat/completions", self.chat, shown.ChatCompletion),
        ):
            add(path, answer, methods=["POST"], responses=shown.of_openai(reply, streams=True))
        judged = shown.of_openai(shown.Moderation)
        add("/moderations", self.moderations, methods=["POST"], responses=judged)
        add("/models", self.models, methods=["GET"], responses=shown.of_openai(shown.Models))
        one = shown.of_openai(shown.Model)
        add("/models/{model_id:path}", self.model, methods=["GET"], responses=one)
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
        limit, made = openai_asks.limit(asked), openai_asks.made(asked)
        given = openai_asks.given(asked.prompt)
        found = await asyncio.to_thread(lambda: [self._prompt(asked, one) for one in given])
        asks = self._asks(asked, made, [self._sized(asked, prompt, limit) for prompt in found])
        head = self._head("cmpl", found)
        if not asked.echo:
            reply = TextReply(head, len(asks), asked.logprobs)
            reply.keep(asked.n or 1, made)
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
        turns, known = openai_asks.messages(asked.messages), openai_asks.tools(asked)
        prompt = await asyncio.to_thread(prompts.of_messages, self._engine, turns, known)
        limit = asked.max_completion_tokens or asked.max_tokens
        one = self._sized(asked, prompt, limit)
        formed, form = openai_asks.in_form(one.request, asked, known, prompt.thinks)
        asks = self._asks(asked, asked.n or 1, [replace(one, request=formed, form=form)])
        wanted = (asked.top_logprobs or 0) if asked.logprobs else None
        reply = ChatReply(self._head("chatcmpl", [prompt]), len(asks), wanted, form)
        return await self._respond(asked, asks, reply, request)

    async def moderations(self, asked: ModerationRequest, request: Request) -> Response:
        """Judge texts as the filter judges prompts; nothing is generated."""
        return await unless_gone(request, self._moderated(asked))

    async def _moderated(self, asked: ModerationRequest) -> Response:
        name = f"modr-{uuid.uuid4().hex}"
        verdicts = await self._guarded.moderate(asked.texts, name)
        results = [moderations.result(verdict) for verdict in verdicts]
        return JSONResponse({"id": name, "model": moderations.MODEL, "results": results})

    def _model(self) -> dict[str, Any]:
        facts = self._engine.facts
        return {
            "id": facts.id,
            "object": "model",
            "created": self._started,
            "owned_by": "aurora-release",
            "max_model_len": facts.max_total_tokens,
        }

    def _prompt(self, asked: CompletionRequest, prompt: str | Sequence[int]) -> Prompt:
        if asked.suffix:
            if asked.echo or not isinstance(prompt, str):
                raise ApiError("invalid", "`suffix` needs a text, and no `echo`", "suffix")
            return prompts.of_gap(self._engine, prompt, asked.suffix)
        if isinstance(prompt, str):
            return prompts.of_text(self._engine, prompt, "prompt")
        return prompts.of_ids(self._engine, prompt, "prompt")

    def _sized(
        self, asked: CompletionRequest | ChatRequest, prompt: Prompt, limit: int | None
    ) -> Ask:
        """Return what is asked of one prompt."""
        if isinstance(asked, CompletionRequest):
            given, named, top = "prompt", "max_tokens", asked.logprobs
        else:
            named = "max_completion_tokens" if asked.max_completion_tokens else "max_tokens"
            given, top = "messages", asked.top_logprobs
        room = prompts.room(self._engine, prompt, limit, named, given)
        request = openai_asks.sampling(asked, self._engine.facts)
        request = replace(request, prompt=prompt.ids, max_new_tokens=room, top_logprobs=top or 0)
        return Ask(request, prompt.judged)

    def _asks(self, asked: Common, answers: int, wanted: Sequence[Ask]) -> list[Ask]:
        """Return `answers` asks for each that is wanted, which differ in their seeds."""
        settings = self._settings
        if answers * len(wanted) > settings.max_answers:
            said = f"At most {settings.max_answers} answers in one request"
            if len(wanted) == 1:
                raise ApiError("invalid", said, "n")
            raise ApiError("invalid", f"{said}: it has {len(wanted)} prompts", "prompt")
        if len(asked.stop_strings) > settings.max_stop_strings:
            raise ApiError("invalid", f"At most {settings.max_stop_strings} stop strings", "stop")
        seeds = [None if asked.seed is None else (asked.seed + n) % 2**63 for n in range(answers)]
        return [
            replace(one, request=replace(one.request, seed=seed))
            for one in wanted
            for seed in seeds
        ]

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
