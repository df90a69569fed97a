"""From a table to its answer: limits, the queue, and whoever stops waiting."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
from fastapi import Request
from numpy.typing import NDArray

from api import cost
from api.batching import Job, Result
from api.errors import ClientGone, ServiceError, invalid
from api.frames import in_sent_order, to_frame
from api.registry import Loaded
from api.schemas import Options, check_options
from api.service import Service
from api.tables import Table, check_table, method_error


@dataclass(frozen=True, eq=False)
class Answer:
    """Quantiles of a table, and how they came about.

    Attributes
    ----------
    table : Table
    model : Loaded
    levels : tuple of float
        Those that were asked for.
    quantiles : ndarray of float64, shape (n_levels, n_rows, n_features)
        Columns as they were sent; observed cells hold their value.
    median : ndarray of float64, shape (n_rows, n_features)
    n_samples, seed : int
    method : str
    queue_s, inference_s, total_s : float
    """

    table: Table
    model: Loaded
    levels: tuple[float, ...]
    quantiles: NDArray[np.float64]
    median: NDArray[np.float64]
    n_samples: int
    seed: int
    method: str
    queue_s: float
    inference_s: float
    total_s: float


async def ask(service: Service, request: Request, table: Table, options: Options) -> Answer:
    """Impute a table.

    Raises
    ------
    ServiceError
        422 for what cannot be used or takes too long, 429, 503, 504.
    ClientGone
        If the client hung up.
    """
    settings, facts = service.settings, request.state.facts
    facts.update(table.facts)
    check_options(options, settings)
    model = service.registry.find(options.model, options.version)
    facts.update(model=model.name, version=model.version)
    if options.method not in model.methods:
        raise method_error(model.methods)
    table = table.read_in(options.time_zone)
    check_table(table, model, settings)
    asked = tuple(options.quantiles or settings.quantiles)
    job = await _job(service, request, table, options, model, asked)
    facts.update(n_samples=job.n_samples, n_quantiles=len(asked), quantiles_from=job.method)
    check_cost(job, options.deadline_s or settings.deadline_s)
    result = await _result(service, request, job)
    facts.update(queue_s=round(result.queue_s, 6), inference_s=round(result.inference_s, 6))
    service.metrics.imputed_cells.labels(model.name).inc(int(np.isnan(table.values).sum()))
    return _answer(result, table, job, asked, request.state.begun)


async def _job(
    service: Service,
    request: Request,
    table: Table,
    options: Options,
    model: Loaded,
    asked: tuple[float, ...],
) -> Job:
    settings = service.settings
    frame, n_windows = await asyncio.to_thread(to_frame, table, model)
    n_samples = options.n_samples or settings.n_samples
    return Job(
        model=model,
        frame=frame,
        levels=tuple(sorted({*asked, 0.5})),
        n_samples=n_samples,
        seed=options.seed,
        method=options.method,
        n_cells=table.values.size,
        units=cost.units(n_windows, n_samples, model.steps, options.method),
        deadline=request.state.begun + (options.deadline_s or settings.deadline_s),
        future=asyncio.get_running_loop().create_future(),
    )


def check_cost(job: Job, deadline_s: float) -> None:
    """Refuse what would not be done in time even if it were alone.

    Raises
    ------
    ServiceError
        422.
    """
    if job.seconds > deadline_s:
        error = invalid(
            ("body",),
            "too_costly",
            f"this would take about {job.seconds:.3g} s and the deadline is {deadline_s:g} s; send "
            "fewer cells, ask for fewer samples, or give a later deadline_s",
        )
        error.code = "too_costly"
        raise error


async def _result(service: Service, request: Request, job: Job) -> Result:
    """Wait for the worker, the deadline or the client's leaving, whichever is first."""
    service.queue.put(job)
    service.jobs.add(job)
    leaving = asyncio.create_task(_hang_up(request))
    try:
        left = job.deadline - time.perf_counter()
        waited: set[asyncio.Future[Any]] = {job.future, leaving}
        await asyncio.wait(waited, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        if job.future.done():
            return job.future.result()
        if leaving.done():
            raise ClientGone
        raise ServiceError("deadline", "the deadline passed before the answer was ready", 504)
    finally:
        service.queue.give_up(job)
        service.jobs.discard(job)
        leaving.cancel()


async def _hang_up(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _answer(
    result: Result, table: Table, job: Job, asked: tuple[float, ...], begun: float
) -> Answer:
    quantiles = in_sent_order(result.quantiles, table, job.model)
    kept: list[Any] = [job.levels.index(level) for level in asked]
    return Answer(
        table=table,
        model=job.model,
        levels=asked,
        quantiles=quantiles[kept],
        median=quantiles[job.levels.index(0.5)],
        n_samples=job.n_samples,
        seed=job.seed,
        method=job.method,
        queue_s=result.queue_s,
        inference_s=result.inference_s,
        total_s=time.perf_counter() - begun,
    )
