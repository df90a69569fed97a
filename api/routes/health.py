"""Is it alive, is it ready, and how is it doing."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from api.service import Service

router = APIRouter(tags=["health"])
BAD: dict[int | str, dict[str, Any]] = {503: {"description": "not now"}}


@router.get("/health/live", responses=BAD)
@router.get("/v2/health/live", responses=BAD)
async def live(request: Request) -> JSONResponse:
    """200 from the event loop; 503 if a worker is stuck."""
    service: Service = request.app.state.service
    stuck = service.silence_s > service.settings.stuck_s
    return JSONResponse({"status": "stuck" if stuck else "live"}, 503 if stuck else 200)


@router.get("/health/ready", responses=BAD)
@router.get("/v2/health/ready", responses=BAD)
async def ready(request: Request) -> JSONResponse:
    """200 if requests can be served, however many wait."""
    reasons = request.app.state.service.unready()
    status = "not ready" if reasons else "ready"
    return JSONResponse({"status": status, "reasons": reasons}, 503 if reasons else 200)


@router.get("/metrics", response_class=Response)
async def metrics(request: Request) -> Response:
    """Metrics in the text format of Prometheus."""
    service: Service = request.app.state.service
    service.unready()
    service.metrics.open_requests.set(service.n_open)
    service.metrics.tasks.set(len(asyncio.all_tasks()))
    kind = "text/plain; version=0.0.4; charset=utf-8"
    return Response(service.metrics.text(), media_type=kind)
