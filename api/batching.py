"""The bounded queue, and which of the waiting requests are computed together."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from api.errors import ServiceError
from api.registry import Loaded
from api.settings import Settings

MOST_RETRY_S = 60


@dataclass(frozen=True)
class Result:
    """Numbers of one request.

    Attributes
    ----------
    quantiles : ndarray of float64, shape (n_levels, n_rows, n_features)
        Levels, rows and columns in the order of the job.
    queue_s, inference_s : float
    """

    quantiles: NDArray[np.float64]
    queue_s: float
    inference_s: float


@dataclass(eq=False)
class Job:
    """One request while it waits and is computed.

    Attributes
    ----------
    model : Loaded
    frame : DataFrame
        As the imputer wants it.
    levels : tuple of float
        Sorted.
    n_samples, seed : int
    method : str
    n_cells, units : int
        Size, and work in the units of :mod:`api.cost`.
    deadline : float
        On the clock of `time.perf_counter`.
    future : asyncio.Future of Result
    """

    model: Loaded
    frame: pd.DataFrame
    levels: tuple[float, ...]
    n_samples: int
    seed: int
    method: str
    n_cells: int
    units: int
    deadline: float
    future: asyncio.Future[Result]
    queued_at: float = field(default_factory=time.perf_counter)
    given_up: bool = False  # by the client, the deadline or the end of the service

    def is_wanted(self) -> bool:
        """Whether somebody still waits for it."""
        return not self.given_up and time.perf_counter() < self.deadline

    @property
    def seconds(self) -> float:
        """Predicted time of inference."""
        return self.model.cost.seconds(self.units)

    def goes_with(self, other: Job) -> bool:
        """Whether both can be computed in one batch."""
        return (
            self.model is other.model
            and self.n_samples == other.n_samples
            and self.method == other.method
        )

    def finish(self, result: Result | BaseException) -> None:
        """Hand over the outcome; from any thread."""

        def settle() -> None:
            if self.future.done():
                return
            if isinstance(result, BaseException):
                self.future.set_exception(result)
            else:
                self.future.set_result(result)

        loop = self.future.get_loop()
        if not loop.is_closed():
            loop.call_soon_threadsafe(settle)


class JobQueue:
    """Requests that wait, bounded by number and by cells; safe to use from any thread.

    Parameters
    ----------
    settings : Settings
    on_change : callable
        Told the number of waiting requests and cells.
    """

    def __init__(self, settings: Settings, on_change: Callable[[int, int], None]) -> None:
        self.settings, self._on_change = settings, on_change
        self._jobs: deque[Job] = deque()
        self._cells = 0
        self._running: dict[int, tuple[float, list[Job]]] = {}  # worker -> predicted end, batch
        self._changed = threading.Condition()
        self._closed = False

    def __len__(self) -> int:
        return len(self._jobs)

    def check_room(self, n_cells: int = 0) -> None:
        """Refuse what would not fit; a request of any size fits into an empty queue.

        Raises
        ------
        ServiceError
            429 with Retry-After.
        """
        settings = self.settings
        with self._changed:
            full = len(self._jobs) >= settings.queue_requests
            if full or (self._jobs and self._cells + n_cells > settings.queue_cells):
                raise self._busy("queue_full", "the queue is full; try again later")

    def put(self, job: Job) -> None:
        """Add a job.

        Raises
        ------
        ServiceError
            429 if the queue is full, or so long that the deadline would pass; 503 if it is closed.
        """
        with self._changed:
            if self._closed:
                raise ServiceError("draining", "the service is stopping", 503)
            self.check_room(job.n_cells)
            if time.perf_counter() + self.wait_s() + job.seconds > job.deadline:
                raise self._busy("too_busy", "too much waits to answer in time; try again later")
            self._jobs.append(job)
            self._count()
            self._changed.notify_all()

    def wait_s(self) -> float:
        """Predicted time until what waits and runs now is done."""
        now = time.perf_counter()
        running = [
            max(end - now, 0.0) if any(job.is_wanted() for job in batch) else 0.0
            for end, batch in self._running.values()
        ]
        return (sum(running) + sum(job.seconds for job in self._jobs)) / max(1, len(running))

    def give_up(self, job: Job) -> None:
        """Forget a job; if it is computed already, that stops at the next step."""
        job.given_up = True
        with self._changed:
            if job in self._jobs:
                self._jobs.remove(job)
                self._count()

    def take(self, worker: int, wait_s: float, idle: Callable[[], None]) -> list[Job]:
        """The next batch: jobs that go together, oldest first; empty once closed.

        Waits for a first job, then at most `wait_s` for others to join it.
        """
        with self._changed:
            self._running.pop(worker, None)
            while not self._jobs:
                if self._closed:
                    return []
                idle()
                self._changed.wait(1.0)
            batch = [self._jobs.popleft()]
            until = time.perf_counter() + wait_s
            while self._fill(batch) and (left := until - time.perf_counter()) > 0:
                self._changed.wait(left)
            seconds = sum(job.seconds for job in batch)
            self._running[worker] = (time.perf_counter() + seconds, batch)
            self._count()
            return batch

    def close(self) -> list[Job]:
        """Take nothing more; the jobs that still wait."""
        with self._changed:
            self._closed = True
            left = list(self._jobs)
            self._jobs.clear()
            self._count()
            self._changed.notify_all()
            return left

    def _fill(self, batch: list[Job]) -> bool:
        """Move what fits from the queue to the batch; whether there is room for more."""
        settings = self.settings
        cells, seconds = sum(j.n_cells for j in batch), sum(j.seconds for j in batch)
        for job in list(self._jobs):
            if not batch[0].goes_with(job):
                continue
            cells, seconds = cells + job.n_cells, seconds + job.seconds
            if cells > settings.batch_cells or seconds > settings.batch_seconds:
                return False
            self._jobs.remove(job)
            batch.append(job)
        return cells < settings.batch_cells and seconds < settings.batch_seconds

    def _busy(self, code: str, message: str) -> ServiceError:
        retry_s = min(max(1, math.ceil(self.wait_s())), MOST_RETRY_S)
        return ServiceError(code, message, 429, headers={"Retry-After": str(retry_s)})

    def _count(self) -> None:
        self._cells = sum(job.n_cells for job in self._jobs)
        self._on_change(len(self._jobs), self._cells)


def stacked(frames: list[Any]) -> NDArray[np.float64]:
    """Frames of one request, one a level, as an array; levels never cross."""
    values = np.stack([frame.to_numpy(dtype=np.float64) for frame in frames])
    return np.maximum.accumulate(values, axis=0)
