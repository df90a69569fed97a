"""The JSON answer, in pieces small enough that other threads get their turn in between."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import to_json

from api.asking import Answer

CELLS_AT_ONCE = 20_000


def encode(answer: Answer, request_id: str) -> bytes:
    """Bytes of the JSON answer; every float64 comes back bit for bit, a refused cell as null."""
    return b"".join(_pieces(answer, request_id))


def _pieces(answer: Answer, request_id: str) -> Iterator[bytes]:
    table = answer.table
    head: dict[str, Any] = {
        "model": {"name": answer.model.name, "version": answer.model.version},
        "method": answer.method,
        "steps": answer.model.steps,
        "n_samples": answer.n_samples,
        "seed": answer.seed,
        "columns": table.columns,
        "quantiles": answer.levels,
        "timing": {
            "queue_s": answer.queue_s,
            "inference_s": answer.inference_s,
            "total_s": answer.total_s,
        },
        "request_id": request_id,
    }
    if table.timestamps is not None:
        head["timestamps"] = table.timestamps
    if table.series is not None:
        head["series"] = table.series
    yield to_json(head)[:-1] + b',"median":'
    yield from _matrix(answer.median)
    yield b',"values":{'
    for i, level in enumerate(answer.levels):
        yield (b"," if i else b"") + to_json(str(level)) + b":"
        yield from _matrix(answer.quantiles[i])
    yield b'},"imputed":'
    yield from _imputed(answer)
    yield b"}"


def _matrix(values: NDArray[np.float64]) -> Iterator[bytes]:
    n_rows = max(1, CELLS_AT_ONCE // values.shape[1])
    parts = (values[i : i + n_rows].tolist() for i in range(0, len(values), n_rows))
    yield from _joined(parts)


def _imputed(answer: Answer) -> Iterator[bytes]:
    rows, columns = np.nonzero(np.isnan(answer.table.values) & ~np.isnan(answer.median))
    names = answer.table.columns
    at_once = max(1, CELLS_AT_ONCE // (len(answer.levels) + 1))

    def cells(first: int) -> list[dict[str, Any]]:
        row, column = rows[first : first + at_once], columns[first : first + at_once]
        marks = answer.quantiles[:, row, column].T.tolist()
        medians = answer.median[row, column].tolist()
        places = zip(row.tolist(), column.tolist(), medians, marks, strict=True)
        return [
            {"row": i, "column": names[k], "median": median, "quantiles": quantiles}
            for i, k, median, quantiles in places
        ]

    yield from _joined(cells(first) for first in range(0, len(rows), at_once))


def _joined(lists: Iterator[Any]) -> Iterator[bytes]:
    """One JSON array of several lists."""
    yield b"["
    for i, part in enumerate(lists):
        yield (b"," if i else b"") + to_json(part, inf_nan_mode="null")[1:-1]
    yield b"]"
