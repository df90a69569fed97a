"""The OpenAPI description, with the bodies that the routes read themselves."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic.json_schema import models_json_schema

from api.routes.v2 import InferRequest
from api.schemas import ImputeRequest


def install_description(app: FastAPI) -> None:
    """Add the schemas of /impute and infer to the app's description."""
    without = app.openapi

    def openapi() -> dict[str, Any]:
        described = without()
        _, found = models_json_schema(
            [(ImputeRequest, "validation"), (InferRequest, "validation")],
            ref_template="#/components/schemas/{model}",
        )
        described.setdefault("components", {}).setdefault("schemas", {}).update(found["$defs"])
        return described

    app.openapi = openapi  # type: ignore[method-assign]
