"""The application: routes, errors, filter and chat page around one engine."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from aurora_release import __version__
from aurora_release.serve.engines.protocol import Engine
from aurora_release.serve.gate import Gate
from aurora_release.serve.generation import GuardedEngine
from aurora_release.serve.judging import Judge
from aurora_release.serve.openai import OpenAIRoutes
from aurora_release.serve.replies import ApiError, Kind, of_validation, response
from aurora_release.serve.schemas_replies import TGIError
from aurora_release.serve.settings import Settings
from aurora_release.serve.tgi import TGIRoutes

if TYPE_CHECKING:
    from fastapi import FastAPI

_KINDS: dict[int, Kind] = {404: "not_found", 405: "not_found", 413: "too_large"}


def create_app(engine: Engine, guard: Judge, settings: Settings | None = None) -> "FastAPI":
    """Return the server over `engine`, which it starts and stops, behind `guard`."""
    from fastapi import FastAPI

    settings = settings or Settings()
    guarded = GuardedEngine(engine, guard, settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(engine.start)
        try:
            yield
        finally:
            await asyncio.to_thread(engine.stop)
            guarded.close()

    # no docs pages: theirs load scripts from elsewhere; /openapi.json stays
    app = FastAPI(
        title="aurora-release",
        version=__version__,
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
    )
    app.add_middleware(Gate, settings=settings, metrics=guarded.metrics)
    _add_errors(app)
    app.include_router(OpenAIRoutes(guarded, settings).router())
    app.include_router(TGIRoutes(guarded, settings).router())
    _add_operations(app, guarded)
    if settings.chat_page:
        from aurora_release.serve.chat import mount

        app.state.let_go_of_pages = mount(app, guarded)
    return app


def _add_errors(app: "FastAPI") -> None:
    """Answer every error in the shape of the protocol that was spoken."""
    from fastapi.exceptions import RequestValidationError

    @app.exception_handler(ApiError)
    async def refused(request: Request, error: ApiError) -> Response:
        return response(request.url.path, error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return response(request.url.path, of_validation(error.errors()))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        misread = isinstance(error.__cause__, UnicodeDecodeError)
        detail = "The body is not valid UTF-8." if misread else error.detail
        known = ApiError(_KINDS.get(error.status_code, "invalid"), detail)
        reply = response(request.url.path, known, error.status_code)
        reply.headers.update(error.headers or {})
        return reply

    @app.exception_handler(Exception)
    async def unexpected(request: Request, error: Exception) -> Response:
        return response(request.url.path, ApiError("failed", "Internal error."), 500)


def _add_operations(app: "FastAPI", guarded: GuardedEngine) -> None:
    """Add what whoever runs the server looks at."""

    unhealthy: dict[int | str, dict[str, Any]] = {503: {"model": TGIError}}
    shown: dict[str, Any] = {"tags": ["operations"], "response_class": Response}

    @app.get("/", responses=unhealthy, **shown)
    @app.get("/health", responses=unhealthy, **shown)
    async def health() -> Response:
        """Say whether the engine runs."""
        if guarded.engine.stats().ready:
            return Response()
        body = b'{"error":"unhealthy","error_type":"healthcheck"}'
        return Response(body, 503, media_type="application/json")

    @app.get("/metrics", tags=["operations"], response_class=PlainTextResponse)
    async def metrics() -> Response:
        """Return the metrics for Prometheus."""
        return Response(guarded.metrics.page(), media_type="text/plain; version=0.0.4")
