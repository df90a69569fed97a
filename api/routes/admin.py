"""For operators."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request

from api.auth import need_admin_key
from api.errors import Detail, ServiceError

router = APIRouter(tags=["admin"], dependencies=[Depends(need_admin_key)])


@router.post("/admin/reload", responses={409: {"description": "some models were not accepted"}})
async def reload(request: Request) -> dict[str, Any]:
    """Look at the models folder and the keys file again.

    New versions are loaded, checked, warmed up and swapped in at once. With a bad one the answer
    is 409, and the old one keeps serving.
    """
    service = request.app.state.service
    report = await service.reload()
    if report.failed:
        details = tuple(
            Detail((name, version), "model", reason.split(":")[0])
            for (name, version), reason in report.failed.items()
        )
        message = "some models were not accepted; the log says why, and the old ones keep serving"
        raise ServiceError("model_rejected", message, 409, details)
    models = [{"name": m.name, "version": m.version} for m in service.registry.all()]
    return {"models": models, "loaded": [list(key) for key in report.loaded]}
