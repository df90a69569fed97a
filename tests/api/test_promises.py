"""Numbers that the service promises: the defaults of its settings, and how jobs go together."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from api.batching import Job, JobQueue
from api.cost import Cost
from api.registry import Loaded
from api.settings import Settings
from tests.api.conftest import Server, body, series
from tsimpute import EDDPMImputer

PROMISED: dict[str, Any] = {
    "host": "127.0.0.1",
    "max_body_bytes": 16 * 1024 * 1024,
    "max_cells": 250_000,
    "max_steps": 10_000,
    "max_series": 64,
    "max_magnitude": 1e12,
    "max_samples": 200,
    "n_samples": 50,
    "max_quantiles": 19,
    "quantiles": (0.05, 0.25, 0.5, 0.75, 0.95),
    "deadline_s": 30,
    "max_deadline_s": 120,
    "queue_requests": 32,
    "queue_batches": 4,
    "batch_wait_cpu_s": 0.005,
    "batch_wait_gpu_s": 0.01,
    "heartbeat_s": 10,
    "drain_accept_s": 5,
    "drain_finish_s": 30,
    "slow_client_s": 30,
    "allow_anonymous": False,
    "docs_page": False,
}


@pytest.mark.parametrize("name", PROMISED)
def test_a_setting_has_the_promised_default(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(f"TSIMPUTE_{name.upper()}", raising=False)
    assert getattr(Settings(), name) == PROMISED[name]


def test_what_is_not_asked_for_is_the_default(server: Server) -> None:
    told = server.impute(body(series(6))).json()
    assert (told["n_samples"], told["seed"]) == (50, 0)
    assert told["quantiles"] == [0.05, 0.25, 0.5, 0.75, 0.95]
    with server.client() as client:
        limits = client.get("/models/demo").json()["limits"]
    assert limits == {
        "body_bytes": 16 * 1024 * 1024,
        "cells": 250_000,
        "steps": 10_000,
        "series": 64,
        "magnitude": 1e12,
        "samples": 200,
        "quantiles": 19,
        "deadline_s": 120,
    }


def jobs(imputer: EDDPMImputer, sizes: list[int]) -> list[Job]:
    """Jobs of some cells for one model."""
    cost = Cost(0.0, 1e-9)
    model = Loaded("demo", "1", (imputer,), ("a", "b", "c"), "", cost)
    frame = series(4)
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    return [
        Job(model, frame, (0.5,), 5, 0, "samples", n, 1, time.perf_counter() + 60, future)
        for n in sizes
    ]


def batches(imputer: EDDPMImputer, sizes: list[int], batch_cells: int) -> list[list[int]]:
    async def take_all() -> list[list[int]]:
        settings = Settings(batch_cells=batch_cells)
        queue = JobQueue(settings, lambda *_: None)
        for job in jobs(imputer, sizes):
            queue.put(job)
        queued, found = len(queue), []
        while sum(map(len, found)) < queued:
            found.append([job.n_cells for job in queue.take(0, 0.0, lambda: None)])
        return found

    return asyncio.run(take_all())


def test_batches_are_made_by_cells_in_the_order_of_arrival(imputer: EDDPMImputer) -> None:
    assert batches(imputer, [40, 40, 40], 100) == [[40, 40], [40]]
    assert batches(imputer, [40, 40, 20], 100) == [[40, 40, 20]]
    assert batches(imputer, [300, 10], 100) == [[300], [10]]  # alone it may be of any size


def test_a_job_waits_for_others_only_as_long_as_it_is_told(imputer: EDDPMImputer) -> None:
    async def seconds(wait_s: float) -> float:
        queue = JobQueue(Settings(), lambda *_: None)
        queue.put(jobs(imputer, [10])[0])
        begun = time.perf_counter()
        assert len(queue.take(0, wait_s, lambda: None)) == 1
        return time.perf_counter() - begun

    assert 0.5 <= asyncio.run(seconds(0.5)) < 5
    assert asyncio.run(seconds(0.0)) < 0.5
