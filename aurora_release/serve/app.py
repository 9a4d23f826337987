"""The application: routes, errors, filter and chat page around one engine."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from aurora_release import __version__
from aurora_release.serve import malformed, operations
from aurora_release.serve.callers import Usages
from aurora_release.serve.drain import Drain
from aurora_release.serve.engines.protocol import Engine, total
from aurora_release.serve.gate import REQUEST_ID, Gate
from aurora_release.serve.generation import GuardedEngine
from aurora_release.serve.judging import Judge
from aurora_release.serve.metrics import Metrics
from aurora_release.serve.openai import OpenAIRoutes
from aurora_release.serve.replies import ApiError, Kind, response
from aurora_release.serve.settings import Settings
from aurora_release.serve.supervisor import Supervisor
from aurora_release.serve.tgi import TGIRoutes

if TYPE_CHECKING:
    from fastapi import FastAPI

_KINDS: dict[int, Kind] = {
    404: "not_found",
    405: "not_found",
    408: "timeout",
    413: "too_large",
}


def create_app(
    engine: Engine, guard: Judge, settings: Settings | None = None, others: Sequence[Engine] = ()
) -> "FastAPI":
    """Return the server over `engine`, which it starts and stops, behind `guard`.

    `others` are served too, to clients that name them (OpenAI) and on the chat page.
    """
    from fastapi import FastAPI

    settings = settings or Settings()
    supervisors = [Supervisor(each, settings.patience_seconds) for each in (engine, *others)]
    metrics = Metrics(lambda: total(each.stats() for each in supervisors))
    metrics.gauge(
        "engine_restarts",
        "Times an engine was started again",
        lambda: sum(each.restarts for each in supervisors),
    )
    models = [GuardedEngine(each, guard, settings, metrics) for each in supervisors]
    guarded, usages = models[0], Usages(settings.quotas)

    # no docs pages: theirs load scripts from elsewhere; /openapi.json stays
    app = FastAPI(
        title="aurora-release",
        version=__version__,
        lifespan=_lifespan(models, usages, settings),
        docs_url=None,
        redoc_url=None,
        # its own would tell query strings, and what does not fit a schema
        telemetry={"tracing": False, "metrics": False, "logs": False, "auto_configure": False},
    )
    drain = Drain(models, settings.drain_seconds)
    app.state.settings = settings
    app.state.supervisors = supervisors
    app.state.ending = [drain.begin]
    app.add_middleware(Gate, settings=settings, metrics=metrics, usages=usages)
    if settings.origins:
        _allow(app, settings.origins)
    _add_errors(app)
    app.include_router(OpenAIRoutes(guarded, settings, models[1:]).router())
    app.include_router(TGIRoutes(guarded, settings).router())
    app.include_router(operations.router(metrics, supervisors, drain))
    if settings.chat_page:
        from aurora_release.serve.chat.page import mount

        app.state.ending.append(mount(app, models, settings.access_log))
    return app


def _lifespan(
    models: Sequence[GuardedEngine], usages: Usages, settings: Settings
) -> "Callable[[FastAPI], AbstractAsyncContextManager[None]]":
    """Return what starts all that runs beside the routes, and ends it in the other order."""

    @asynccontextmanager
    async def lifespan(_: "FastAPI") -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            stack.push_async_callback(asyncio.to_thread, settings.traces.close)
            await stack.enter_async_context(usages.kept())
            for model in models:
                await stack.enter_async_context(_running(model))
            yield

    return lifespan


@asynccontextmanager
async def _running(model: GuardedEngine) -> AsyncIterator[None]:
    """Start a model, and stop it afterwards."""
    await asyncio.to_thread(model.engine.start)
    try:
        yield
    finally:
        await asyncio.to_thread(model.engine.stop)
        model.close()


def _add_errors(app: "FastAPI") -> None:
    """Answer every error in the shape of the protocol that was spoken."""
    from fastapi.exceptions import RequestValidationError

    @app.exception_handler(ApiError)
    async def refused(request: Request, error: ApiError) -> Response:
        return response(request.url.path, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        kind = request.headers.get("content-type", "")
        if request.method == "POST" and not kind.startswith("application/json"):
            # pages of other origins may post all but JSON without asking first
            said = "The body must be JSON, and be sent with `Content-Type: application/json`."
            return response(request.url.path, ApiError("invalid", said))
        fault = malformed.told(error.errors(), error.body, request.scope["endpoint"])
        return response(request.url.path, fault)

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        misread = isinstance(error.__cause__, UnicodeDecodeError)
        detail = "The body is not valid UTF-8." if misread else error.detail
        path, headers = request.url.path, dict(error.headers or {})
        if error.status_code == 405 and (methods := app.openapi()["paths"].get(path)):
            # Starlette names the methods of the first route only
            headers["allow"] = ", ".join(sorted(methods)).upper()
            detail = f"This route takes {headers['allow']}."
        if error.status_code == 404:
            detail = "There is no such route: /openapi.json lists them."
        known = ApiError(_KINDS.get(error.status_code, "invalid"), detail)
        reply = response(path, known, error.status_code)
        reply.headers.update(headers)
        return reply

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        return response(request.url.path, ApiError("failed", "Internal error."), 500)


def _allow(app: "FastAPI", origins: Sequence[str]) -> None:
    """Let web pages of some origins call the server; outermost, as a preflight shows no key."""
    from starlette.middleware.cors import CORSMiddleware

    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "POST"],
        allow_headers=["Authorization", "Content-Type", REQUEST_ID],
        expose_headers=[REQUEST_ID, "Retry-After"],
    )
