"""What those who run a server look at: health and metrics."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

from aurora_release.serve.drain import Drain
from aurora_release.serve.metrics import Metrics
from aurora_release.serve.schemas_replies import TGIError
from aurora_release.serve.supervisor import Supervisor, together

if TYPE_CHECKING:
    from fastapi import APIRouter


def router(metrics: Metrics, supervisors: Sequence[Supervisor], drain: Drain) -> "APIRouter":
    """Return the routes."""
    from fastapi import APIRouter

    router = APIRouter(tags=["operations"])

    def state() -> str:
        return "draining" if drain.begun else together(supervisors)

    unhealthy: dict[int | str, dict[str, Any]] = {
        503: {"model": TGIError, "description": "`/health`, `/`: requests are not answered now."}
    }

    @router.get("/", responses=unhealthy, response_class=Response)
    @router.get("/health", responses=unhealthy, response_class=Response)
    async def health() -> Response:
        """Say whether requests are answered, as text-generation-inference and vLLM say it."""
        if state() == "running":
            return Response()
        return JSONResponse({"error": "unhealthy", "error_type": "healthcheck"}, 503)

    @router.get(
        "/health/ready", responses={503: {"description": "`/health/ready`: send nothing here now."}}
    )
    async def ready() -> Response:
        """Say whether requests should be sent here: not while draining, nor without an engine."""
        found = state()
        return JSONResponse({"state": found}, 200 if found == "running" else 503)

    @router.get(
        "/health/live", responses={503: {"description": "`/health/live`: start a new process."}}
    )
    async def live() -> Response:
        """Say whether this process can go on; where not, nothing but a new one helps."""
        found = together(supervisors)
        return JSONResponse({"state": found}, 503 if found == "hanging" else 200)

    @router.get("/metrics", response_class=PlainTextResponse)
    async def page() -> Response:
        """Return the metrics for Prometheus."""
        return Response(metrics.page(), media_type="text/plain; version=0.0.4")

    return router
