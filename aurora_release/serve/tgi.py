"""The routes of text-generation-inference: /, /generate, /generate_stream, /info, /tokenize."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from aurora_release import __version__
from aurora_release.serve import openai_asks, prompts
from aurora_release.serve import schemas_replies as shown
from aurora_release.serve.delivery import EventStream, unless_gone
from aurora_release.serve.engines.protocol import GenerationRequest
from aurora_release.serve.generation import Answers, Ask, GuardedEngine
from aurora_release.serve.prompts import Prompt
from aurora_release.serve.replies import ApiError, body, event
from aurora_release.serve.schemas_openai import ChatRequest
from aurora_release.serve.schemas_tgi import CompatRequest, GenerateRequest, Parameters
from aurora_release.serve.settings import Settings
from aurora_release.serve.tgi_replies import Answer

if TYPE_CHECKING:
    from fastapi import APIRouter


_LISTED = 32
"""Characters that are listed as tokens, for each token of the longest prompt: a list takes a
hundred times the memory of its text."""


class TGIRoutes:
    """Answers as TGI 3.3 does."""

    def __init__(self, guarded: GuardedEngine, settings: Settings):
        self._guarded = guarded
        self._engine = guarded.engine
        self._settings = settings

    def router(self) -> "APIRouter":
        """Return the routes."""
        from fastapi import APIRouter

        router = APIRouter(tags=["TGI"])
        add = router.add_api_route
        for path, answer, reply, streams in (
            ("/", self.compat, list[shown.Generated], True),
            ("/generate", self.generate, shown.Generated, False),
            ("/generate_stream", self.generate_stream, None, True),
            ("/tokenize", self.tokenize, list[shown.ListedToken], False),
            ("/chat_tokenize", self.chat_tokenize, shown.Templated, False),
        ):
            add(path, answer, methods=["POST"], responses=shown.of_tgi(reply, streams))
        add("/info", self.info, methods=["GET"], responses=shown.of_tgi(shown.Info))
        return router

    async def compat(self, asked: CompatRequest, request: Request) -> Response:
        """Answer whole, in a list, or as a stream, as the body says."""
        if asked.stream:
            return await self.generate_stream(asked)
        return await unless_gone(request, self._whole(asked, listed=True))

    async def generate(self, asked: GenerateRequest, request: Request) -> Response:
        """Answer whole."""
        return await unless_gone(request, self._whole(asked, listed=False))

    async def generate_stream(self, asked: GenerateRequest) -> Response:
        """Answer token by token."""
        if (asked.parameters.best_of or 1) > 1:
            raise ApiError("invalid", "`best_of` != 1 is not supported when streaming tokens")
        if asked.parameters.decoder_input_details:
            raise ApiError(
                "invalid", "`decoder_input_details` == true is not supported when streaming tokens"
            )
        [answer], pieces = await self._open(asked)
        return EventStream(self._events(pieces, answer), pieces)

    async def tokenize(self, asked: GenerateRequest) -> Response:
        """List the tokens of a text and where they stand in it."""
        longest = _LISTED * max(self._engine.facts.max_total_tokens, 2048)  # 0: not known yet
        if len(asked.inputs) > longest:
            raise ApiError("invalid", f"`inputs` must have at most {longest} characters", "inputs")
        return JSONResponse(await asyncio.to_thread(self._tokens, asked.inputs, True))

    async def chat_tokenize(self, asked: ChatRequest) -> Response:
        """Show a conversation as the model reads it, and list its tokens."""
        turns, known = openai_asks.messages(asked.messages), openai_asks.tools(asked)
        prompt = await asyncio.to_thread(prompts.of_messages, self._engine, turns, known)
        text = self._engine.tokenizer.decode(prompt.ids, clean_up_tokenization_spaces=False)
        tokens = await asyncio.to_thread(self._tokens, text, False)
        return JSONResponse({"tokenize_response": tokens, "templated_text": text})

    def _tokens(self, text: str, special: bool) -> list[dict[str, Any]]:
        """Return the tokens of a text; `special` adds those that the tokenizer puts around it."""
        encoded = self._engine.tokenizer(
            text, return_offsets_mapping=True, add_special_tokens=special
        )
        pairs = zip(encoded["input_ids"], encoded["offset_mapping"], strict=True)
        return [
            {"id": number, "text": text[start:stop], "start": start, "stop": stop}
            for number, (start, stop) in pairs
        ]

    async def info(self) -> Response:
        """Describe the model and the limits."""
        facts, stats = self._engine.facts, self._engine.stats()
        return JSONResponse(
            {
                "model_id": facts.id,
                "model_sha": facts.digest,
                "model_dtype": facts.dtype,
                "model_pipeline_tag": "text-generation",
                "max_concurrent_requests": stats.slots,
                "max_best_of": min(
                    self._settings.max_answers, max(stats.slots, 1) + self._settings.most_waiting
                ),
                "max_stop_sequences": self._settings.max_stop_strings,
                "max_input_tokens": facts.max_total_tokens - 1,
                "max_total_tokens": facts.max_total_tokens,
                "validation_workers": 1,
                "max_client_batch_size": 1,
                "router": "aurora-release",
                "version": __version__,
                "sha": None,
                "docker_label": None,
            }
        )

    async def _open(self, asked: GenerateRequest) -> tuple[list[Answer], Answers]:
        """Return the answers to fill and the pieces that fill them."""
        prompt = await asyncio.to_thread(self._prompt, asked)
        wanted = asked.parameters
        requests = [self._request(wanted, prompt) for _ in range(wanted.best_of or 1)]
        pieces = await self._guarded.open([Ask(request, prompt.judged) for request in requests])
        return [Answer(asked, request) for request in requests], pieces

    def _prompt(self, asked: GenerateRequest) -> Prompt:
        keep = asked.parameters.truncate
        if keep is None or not asked.inputs:
            return prompts.of_text(self._engine, asked.inputs, "inputs")
        # the whole text is judged, whatever is cut off, and so is what is left: harmless words
        # before it could drown it
        last = self._engine.tokenizer.encode(asked.inputs)[-keep:]
        kept = prompts.of_ids(self._engine, last, "inputs")
        return Prompt(kept.ids, (asked.inputs, *kept.judged))

    def _request(self, wanted: Parameters, prompt: Prompt) -> GenerationRequest:
        if (wanted.best_of or 1) > self._settings.max_answers:
            raise ApiError(
                "invalid",
                f"`best_of` must be > 0 and <= {self._settings.max_answers}. "
                f"Given: {wanted.best_of}",
            )
        if len(wanted.stop or ()) > self._settings.max_stop_strings:
            raise ApiError(
                "invalid",
                f"`stop` supports up to {self._settings.max_stop_strings} stop sequences",
                "stop",
            )
        return GenerationRequest(
            prompt=prompt.ids,
            max_new_tokens=prompts.room(
                self._engine, prompt, wanted.max_new_tokens, "max_new_tokens", "inputs"
            ),
            temperature=(wanted.temperature or 1.0) if wanted.sampling else 0.0,
            top_p=wanted.top_p or 1.0,
            top_k=wanted.top_k or 0,
            typical_p=wanted.typical_p or 1.0,
            repetition_penalty=wanted.repetition_penalty or 1.0,
            frequency_penalty=wanted.frequency_penalty or 0.0,
            seed=_seed(wanted),
            stop=tuple(wanted.stop or ()),
            include_stop=True,
            top_logprobs=wanted.top_n_tokens or 0,
            prompt_logprobs=wanted.details and wanted.decoder_input_details,
            json_schema=getattr(wanted.grammar, "json_schema", None),
            regex=getattr(wanted.grammar, "regex", None),
        )

    async def _whole(self, asked: GenerateRequest, listed: bool) -> Response:
        answers, pieces = await self._open(asked)
        async with aclosing(pieces):
            async for piece in pieces:
                answers[piece.index].add(piece)
        best, *others = sorted(answers, key=lambda answer: answer.rank)
        whole = best.whole(others)
        return JSONResponse([whole] if listed else whole)

    async def _events(self, pieces: Answers, answer: Answer) -> AsyncIterator[str]:
        try:
            async for piece in pieces:
                for part in answer.events(piece):
                    yield event(part, space="")
        except ApiError as error:
            yield event(body("/generate_stream", error), space="")


def _seed(wanted: Parameters) -> int | None:
    """Return the seed to draw with, chosen here where none is given, so that it can be told."""
    if not wanted.sampling:
        return None
    return secrets.randbits(63) if wanted.seed is None else wanted.seed
