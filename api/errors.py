"""One shape for every refusal; never an input value in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from pydantic import ValidationError
from starlette.exceptions import HTTPException

Location = tuple[str | int, ...]
CODES = {
    400: "bad_request",
    404: "not_found",
    405: "method_not_allowed",
}


@dataclass(frozen=True)
class Detail:
    """One mistake: where it is, its kind, and what was expected."""

    location: Location
    type: str
    message: str


@dataclass
class ServiceError(Exception):
    """A request that is not served.

    Parameters
    ----------
    code : str
        What programs read.
    message : str
        What people read; holds no value, label or time of the request.
    status : int, default=422
    details : sequence of Detail
    headers : mapping of str to str
    """

    code: str
    message: str
    status: int = 422
    details: Sequence[Detail] = ()
    headers: Mapping[str, str] = field(default_factory=dict)


class ClientGone(Exception):
    """The client hung up; nobody is there to be answered."""


def invalid(location: Location, kind: str, message: str) -> ServiceError:
    """A 422 for one place in the request."""
    return ServiceError("invalid_request", message, details=(Detail(location, kind, message),))


def from_validation(error: ValidationError, prefix: Location = ()) -> ServiceError:
    """A 422 of pydantic's findings, without what was found."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    details = tuple(
        Detail((*prefix, *_known_part(item)), item["type"], _message(item)) for item in found[:20]
    )
    return ServiceError("invalid_request", "the request cannot be used", details=details)


def _known_part(item: Any) -> Location:
    # The name of an unknown field is the sender's own text.
    location: Location = tuple(item["loc"])
    return location[:-1] if item["type"] == "extra_forbidden" else location


def _message(item: Any) -> str:
    if item["type"] == "extra_forbidden":
        return "unknown field"
    text: str = item["msg"]
    return text


def body_of(error: ServiceError, request_id: str) -> dict[str, Any]:
    """The JSON body of a refusal."""
    details = [
        {"location": list(d.location), "type": d.type, "message": d.message} for d in error.details
    ]
    told = {"code": error.code, "message": error.message, "details": details}
    return {"error": told, "request_id": request_id}


def response_for(error: ServiceError, request_id: str, path: str) -> JSONResponse:
    """The answer; under /v2 in the words of the Open Inference Protocol."""
    body = body_of(error, request_id)
    if path.startswith("/v2"):
        places = [".".join(map(str, d.location)) + ": " + d.message for d in error.details]
        body = {"error": "; ".join(places) or error.message}
    return JSONResponse(body, error.status, dict(error.headers))


def install_handlers(app: FastAPI) -> None:
    """Give every error of the app our shape."""

    async def ours(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, ServiceError)
        request.state.error_code = error.code
        return response_for(error, request.state.request_id, request.url.path)

    async def framework(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        code = CODES.get(error.status_code, "http_error")
        plain = ServiceError(code, code.replace("_", " "), error.status_code)
        plain.headers = error.headers or {}
        return await ours(request, plain)

    app.add_exception_handler(ServiceError, ours)
    app.add_exception_handler(HTTPException, framework)
