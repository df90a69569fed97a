"""POST /impute: series with holes in, medians and quantiles out."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Depends, Request, Response
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from api.asking import Answer, ask
from api.auth import need_key
from api.encoding import encode
from api.errors import ServiceError, invalid
from api.files import TYPE_OF_KIND, File, read_file, write_file
from api.schemas import ImputeRequest, Options, form_options, parse_json
from api.service import Service
from api.tables import read_table

router = APIRouter(tags=["impute"], dependencies=[Depends(need_key)])

_FORM = {
    "type": "object",
    "required": ["file"],
    "properties": {
        "file": {"type": "string", "format": "binary", "description": "CSV or Parquet"},
        "model": {"type": "string"},
        "version": {"type": "string"},
        "n_samples": {"type": "integer", "minimum": 1},
        "quantiles": {"type": "string", "description": "levels, separated by commas"},
        "seed": {"type": "integer", "minimum": 0},
        "method": {"type": "string", "enum": ["samples", "head"]},
        "deadline_s": {"type": "number", "exclusiveMinimum": 0},
        "time_zone": {"type": "string", "description": "in which timestamps are read"},
    },
}
_ANY_NUMBERS = {"type": "array", "items": {"type": "array", "items": {"type": "number"}}}
_ANSWER = {
    "type": "object",
    "required": ["model", "columns", "quantiles", "median", "values", "imputed", "request_id"],
    "properties": {
        "model": {"type": "object"},
        "columns": {"type": "array", "items": {"type": "string"}},
        "quantiles": {"type": "array", "items": {"type": "number"}},
        "median": _ANY_NUMBERS,
        "values": {"type": "object", "additionalProperties": _ANY_NUMBERS},
        "imputed": {"type": "array", "items": {"type": "object"}},
        "request_id": {"type": "string"},
    },
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
REFUSALS: dict[int | str, dict[str, Any]] = {
    400: {"description": "not a request"},
    401: {"description": "no valid key"},
    403: {"description": "not from there, or not with this key"},
    404: {"description": "no such model"},
    408: {"description": "the request came too slowly"},
    413: {"description": "body too large"},
    415: {"description": "not JSON, CSV or Parquet"},
    422: {"description": "cannot be used; the details say where and why"},
    429: {"description": "the queue is full; see Retry-After"},
    503: {"description": "not ready, draining or out of memory"},
    504: {"description": "the deadline passed"},
}
_DOCUMENTED = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"$ref": "#/components/schemas/ImputeRequest"}},
            "multipart/form-data": {"schema": _FORM},
        },
    }
}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "filled",
        "content": {
            "application/json": {"schema": _ANSWER},
            "text/csv": _BINARY,
            "application/vnd.apache.parquet": _BINARY,
        },
    }
}


class InMemoryParser(MultiPartParser):
    """Keeps uploads in memory, which the limit of the body bounds; nothing touches a disk."""

    spool_max_size = 2**31 - 1


@router.post(
    "/impute",
    response_class=Response,
    responses=REFUSALS | _ANSWERS,
    openapi_extra=_DOCUMENTED,
)
async def impute(request: Request) -> Response:
    """Fill the holes of series.

    JSON is answered in JSON; a file in kind, unless JSON is asked for by `?answer=json` or the
    Accept header.
    """
    service: Service = request.app.state.service
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    with service.admitted():
        if kind == "application/json":
            return await _impute_json(service, request)
        if kind == "multipart/form-data":
            return await _impute_file(service, request)
    raise ServiceError(
        "unsupported_media_type", "expected application/json or multipart/form-data", 415
    )


async def _impute_json(service: Service, request: Request) -> Response:
    body = await request.body()

    def read() -> tuple[ImputeRequest, Any]:
        parsed = parse_json(ImputeRequest, body, service.settings)
        return parsed, read_table(parsed, service.settings)

    parsed, table = await asyncio.to_thread(read)
    return await _json(request, await ask(service, request, table, parsed))


async def _impute_file(service: Service, request: Request) -> Response:
    file, options = await _read_form(service, request)
    answer = await ask(service, request, file.table, options)
    if _wants_json(request):
        return await _json(request, answer)
    content = await asyncio.to_thread(write_file, file, answer)
    headers = {
        "Content-Disposition": f'attachment; filename="imputed.{file.kind}"',
        "X-Model": f"{answer.model.name}/{answer.model.version}",
        "X-Seed": str(answer.seed),
        "X-Samples": str(answer.n_samples),
        "X-Steps": str(answer.model.steps),
    }
    return Response(content, media_type=TYPE_OF_KIND[file.kind], headers=headers)


async def _read_form(service: Service, request: Request) -> tuple[File, Options]:
    headers, stream = request.headers, request.stream()
    parser = InMemoryParser(headers, stream, max_files=1, max_fields=16, max_part_size=2**16)
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError):
        raise ServiceError("unsupported_media_type", "the body is not a form", 415) from None
    try:
        upload = form.get("file")
        if not isinstance(upload, UploadFile):
            raise invalid(("body", "file"), "missing", "expected a file in the field 'file'")
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        data = await upload.read()
        name, kind = upload.filename or "", upload.content_type or ""
    finally:
        await form.close()
    options = form_options(fields)
    file = await asyncio.to_thread(read_file, data, name, kind, service.settings)
    return file, options


async def _json(request: Request, answer: Answer) -> Response:
    content = await asyncio.to_thread(encode, answer, request.state.request_id)
    return Response(content, media_type="application/json")


def _wants_json(request: Request) -> bool:
    accepted = request.headers.get("accept", "").lower()
    return request.query_params.get("answer") == "json" or "application/json" in accepted
