"""What is there to ask."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request

from api.auth import need_key
from api.registry import Loaded
from api.settings import Settings

router = APIRouter(tags=["models"], dependencies=[Depends(need_key)])


@router.get("/models")
async def models(request: Request) -> dict[str, Any]:
    """Every loaded model, newest version of each name first."""
    service = request.app.state.service
    return {"models": [describe(model, service.settings) for model in service.registry.all()]}


@router.get("/models/{name}", responses={404: {"description": "no such model"}})
async def model(request: Request, name: str) -> dict[str, Any]:
    """The newest version of a model, and which others are loaded."""
    service = request.app.state.service
    found = service.registry.find(name)
    versions = list(service.registry.catalogue[found.name])
    return describe(found, service.settings) | {"versions": versions}


def describe(model: Loaded, settings: Settings) -> dict[str, Any]:
    """A model and what may be asked of it."""
    return {
        "name": model.name,
        "version": model.version,
        "features": list(model.features),
        "window_steps": model.window_steps,
        "kept_steps": model.steps,
        "n_samples": settings.n_samples,
        "quantiles": list(settings.quantiles),
        "methods": list(model.methods),
        "times_needed": model.times_needed,
        "limits": {
            "body_bytes": settings.max_body_bytes,
            "cells": settings.max_cells,
            "steps": settings.max_steps,
            "series": settings.max_series,
            "magnitude": settings.max_magnitude,
            "samples": settings.max_samples,
            "quantiles": settings.max_quantiles,
            "deadline_s": settings.max_deadline_s,
        },
    }
