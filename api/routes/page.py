"""The page: static files of our own, and plotly's JavaScript from the installed package."""

from __future__ import annotations

import importlib.resources
from pathlib import Path

from fastapi import APIRouter
from fastapi.responses import FileResponse

from api.errors import ServiceError

PAGE = Path(__file__).resolve().parents[1] / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
KINDS = {
    "app.js": "text/javascript",
    "style.css": "text/css",
    "example.csv": "text/csv",
    "plotly.min.js": "text/javascript",
}

router = APIRouter(include_in_schema=False)


@router.get("/")
async def index() -> FileResponse:
    """The page itself."""
    return _file(PAGE / "index.html", "text/html")


@router.get("/page/{name}")
async def asset(name: str) -> FileResponse:
    """What the page loads."""
    if name not in KINDS:
        raise ServiceError("not_found", "there is no such file", status=404)
    if name == "plotly.min.js":
        with importlib.resources.as_file(importlib.resources.files("plotly")) as package:
            return _file(package / "package_data" / name, KINDS[name])
    return _file(PAGE / name, KINDS[name])


def _file(path: Path, kind: str) -> FileResponse:
    if not path.is_file():
        raise ServiceError("not_found", "there is no such file", status=404)
    headers = {"Content-Security-Policy": POLICY, "Cache-Control": "no-cache"}
    return FileResponse(path, media_type=kind, headers=headers)
