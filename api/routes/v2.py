"""Open Inference Protocol, version 2, over HTTP and JSON: a thin adapter of /impute.

Inputs: `values` FP64 or FP32 of shape (time, feature) or (series, time, feature) with null where
missing, or with any number there and `observed_mask` BOOL of the same shape; `quantiles` FP64;
`timestamps` of shape (time,) or (series, time), BYTES (ISO 8601 times or durations) or FP64.
Parameters: `n_samples`, `seed`, `method`, `deadline_s`, `time_zone`. Outputs: `median` of the
shape of `values`, `quantiles` with the levels in front, and `levels`.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter, Depends, Request, Response
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import to_json

import tsimpute
from api.asking import Answer, ask
from api.auth import need_key
from api.errors import ServiceError, from_validation, invalid
from api.registry import Loaded
from api.routes.impute import REFUSALS
from api.schemas import Cell, Name, Options, Stamp, parse_json
from api.service import Service
from api.tables import Table, check_size, understood

router = APIRouter(prefix="/v2", tags=["open inference protocol"])
protected = [Depends(need_key)]
KINDS = ("FP64", "FP32")
OPTIONS = ("n_samples", "seed", "method", "deadline_s", "time_zone")


class InputTensor(BaseModel):
    """A tensor that is sent."""

    model_config = ConfigDict(extra="ignore")

    name: Name
    shape: Annotated[
        list[Annotated[int, Field(strict=True, ge=1)]], Field(min_length=1, max_length=3)
    ]
    datatype: Literal["FP64", "FP32", "BOOL", "BYTES"]
    data: list[Any]


class OutputName(BaseModel):
    """A tensor that is asked for."""

    model_config = ConfigDict(extra="ignore")

    name: Literal["median", "quantiles", "levels"]


class InferRequest(BaseModel):
    """An inference request."""

    model_config = ConfigDict(extra="ignore")

    id: Annotated[str, Field(strict=True, max_length=128)] | None = None
    parameters: dict[str, Any] = {}
    inputs: Annotated[list[InputTensor], Field(min_length=1, max_length=4)]
    outputs: list[OutputName] | None = None


class CellList(BaseModel):
    """Numbers of a tensor, flat."""

    data: list[Cell | None]


class StampList(BaseModel):
    """Times of a tensor, flat."""

    data: Annotated[list[Stamp], Field(fail_fast=True)]


@router.get("")
async def server() -> dict[str, Any]:
    """What serves."""
    return {"name": "tsimpute", "version": tsimpute.__version__, "extensions": []}


@router.get("/models/{name}", dependencies=protected, responses=REFUSALS)
@router.get("/models/{name}/versions/{version}", dependencies=protected, responses=REFUSALS)
async def metadata(request: Request, name: str, version: str | None = None) -> dict[str, Any]:
    """Tensors of a model."""
    registry = request.app.state.service.registry
    model: Loaded = registry.find(name, version)
    k = len(model.features)
    values = {"name": "values", "datatype": "FP64", "shape": [-1, -1, k]}
    return {
        "name": model.name,
        "versions": list(registry.catalogue[model.name]),
        "platform": "tsimpute",
        "inputs": [
            values,
            {"name": "observed_mask", "datatype": "BOOL", "shape": [-1, -1, k]},
            {"name": "quantiles", "datatype": "FP64", "shape": [-1]},
            {"name": "timestamps", "datatype": "BYTES", "shape": [-1, -1]},
        ],
        "outputs": [
            {"name": "median", "datatype": "FP64", "shape": [-1, -1, k]},
            {"name": "quantiles", "datatype": "FP64", "shape": [-1, -1, -1, k]},
            {"name": "levels", "datatype": "FP64", "shape": [-1]},
        ],
    }


@router.get("/models/{name}/ready", dependencies=protected, responses=REFUSALS)
@router.get("/models/{name}/versions/{version}/ready", dependencies=protected, responses=REFUSALS)
async def model_ready(request: Request, name: str, version: str | None = None) -> dict[str, Any]:
    """200 if the model is loaded."""
    model = request.app.state.service.registry.find(name, version)
    return {"name": model.name, "ready": True}


_DOCUMENTED = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/InferRequest"}}},
    }
}


@router.post(
    "/models/{name}/infer",
    dependencies=protected,
    responses=REFUSALS,
    response_class=Response,
    openapi_extra=_DOCUMENTED,
)
@router.post(
    "/models/{name}/versions/{version}/infer",
    dependencies=protected,
    responses=REFUSALS,
    response_class=Response,
    openapi_extra=_DOCUMENTED,
)
async def infer(request: Request, name: str, version: str | None = None) -> Response:
    """Fill the holes of `values`."""
    service: Service = request.app.state.service
    with service.admitted():
        if "inference-header-content-length" in request.headers:
            raise ServiceError(
                "unsupported_media_type", "binary tensors are not supported; send JSON", 415
            )
        body = parse_json(InferRequest, await request.body(), service.settings)
        model = service.registry.find(name, version)
        tensors = {tensor.name: tensor for tensor in body.inputs}
        options = _options(body, tensors, model)
        shape, values = await asyncio.to_thread(_values, tensors, model, service)
        table = await asyncio.to_thread(_table, values, shape, model, tensors.get("timestamps"))
        answer = await ask(service, request, table, options)
        content = await asyncio.to_thread(_encoded, answer, body, shape)
        return Response(content, media_type="application/json")


def _options(body: InferRequest, tensors: dict[str, InputTensor], model: Loaded) -> Options:
    given = {name: body.parameters[name] for name in OPTIONS if name in body.parameters}
    if "quantiles" in tensors:
        given["quantiles"] = tensors["quantiles"].data
    try:
        return Options.model_validate({**given, "model": model.name, "version": model.version})
    except ValidationError as error:
        raise from_validation(error, ("parameters",)) from None


def _values(
    tensors: dict[str, InputTensor], model: Loaded, service: Service
) -> tuple[list[int], NDArray[np.float64]]:
    """Shape and cells (rows, features), NaN where missing."""
    tensor, k = tensors.get("values"), len(model.features)
    if tensor is None or tensor.datatype not in KINDS:
        raise invalid(("inputs",), "values", "expected an input 'values' of FP64 or FP32")
    if len(tensor.shape) < 2 or tensor.shape[-1] != k:
        message = f"expected (time, {k}) or (series, time, {k})"
        raise invalid(("inputs", "values", "shape"), "shape", message)
    check_size(int(np.prod(tensor.shape[:-1], dtype=object)), k, service.settings)
    try:
        cells = CellList(data=_flat(tensor)).data
    except ValidationError as error:
        raise from_validation(error, ("inputs", "values")) from None
    values = np.array([np.nan if cell is None else cell for cell in cells])
    mask = tensors.get("observed_mask")
    if mask is not None:
        seen = _flat(mask)
        if mask.shape != tensor.shape or not all(isinstance(cell, bool) for cell in seen):
            raise invalid(("inputs", "observed_mask"), "mask", "expected BOOL of values' shape")
        values[~np.array(seen)] = np.nan
    return tensor.shape, values.reshape(-1, k)


def _flat(tensor: InputTensor) -> list[Any]:
    """Cells of a tensor, which may be flat or nested."""
    cells = tensor.data
    for _ in tensor.shape[1:]:
        if cells and all(isinstance(part, list) for part in cells):
            cells = [cell for part in cells for cell in part]
    if len(cells) != int(np.prod(tensor.shape, dtype=object)):
        message = "expected as many cells as the shape says"
        name = tensor.name if tensor.name in ("values", "timestamps") else "mask"
        raise invalid(("inputs", name), "shape", message)
    return cells


def _table(
    values: NDArray[np.float64], shape: list[int], model: Loaded, stamps: InputTensor | None
) -> Table:
    n_series = shape[0] if len(shape) == 3 else 1
    n_times = shape[-2]
    series = [i for i in range(n_series) for _ in range(n_times)] if n_series > 1 else None
    if stamps is None:
        return Table(model.features, values, series=series)
    each = _stamps(stamps, n_series, n_times)
    return Table(model.features, values, each, series, understood(each))


def _stamps(tensor: InputTensor, n_series: int, n_times: int) -> list[Any]:
    """A time for each row; of a single axis the same for each series."""
    if tensor.shape not in ([n_times], [n_series, n_times]):
        message = "expected (time,) or (series, time), as values has them"
        raise invalid(("inputs", "timestamps", "shape"), "shape", message)
    try:
        stamps = StampList(data=_flat(tensor)).data
    except ValidationError as error:
        raise from_validation(error, ("inputs", "timestamps")) from None
    return stamps * (n_series if len(tensor.shape) == 1 else 1)


def _encoded(answer: Answer, body: InferRequest, shape: list[int]) -> bytes:
    n = len(answer.levels)
    tensors = {
        "median": (shape, answer.median),
        "quantiles": ([n, *shape], answer.quantiles),
        "levels": ([n], np.array(answer.levels)),
    }
    wanted = tensors if body.outputs is None else [output.name for output in body.outputs]
    outputs = [
        {
            "name": name,
            "datatype": "FP64",
            "shape": tensors[name][0],
            "data": tensors[name][1].ravel().tolist(),
        }
        for name in wanted
    ]
    about = {
        "model_name": answer.model.name,
        "model_version": answer.model.version,
        "parameters": {
            "seed": answer.seed,
            "n_samples": answer.n_samples,
            "steps": answer.model.steps,
            "method": answer.method,
        },
        "outputs": outputs,
    }
    about = about if body.id is None else {"id": body.id} | about
    return to_json(about, inf_nan_mode="null")  # a refused cell
