"""One thread a device: takes batches from the queue, asks the library, hands over answers."""

from __future__ import annotations

import threading
import time

import torch

from api.batching import Job, JobQueue, Result, stacked
from api.errors import ServiceError
from api.registry import Loaded, is_sound
from api.settings import Settings
from api.telemetry import Metrics
from tsimpute.model import resolve_device
from tsimpute.sampling.batching import Question, quantiles_together


class Worker:
    """The inference thread of one device.

    Parameters
    ----------
    number : int
        Place of the device among the devices.
    device : str
    queue : JobQueue
    settings : Settings
    metrics : Metrics
    """

    def __init__(
        self, number: int, device: str, queue: JobQueue, settings: Settings, metrics: Metrics
    ) -> None:
        self.number, self.queue, self.metrics = number, queue, metrics
        on_cpu = resolve_device(device).type == "cpu"
        self.wait_s = settings.batch_wait_cpu_s if on_cpu else settings.batch_wait_gpu_s
        self.last_beat = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=f"inference-{number}", daemon=True)

    def start(self) -> None:
        """Begin to take batches."""
        self.beat()
        self._thread.start()

    def join(self, timeout_s: float) -> None:
        """Wait until a closed queue is done with."""
        self._thread.join(timeout_s)

    def beat(self) -> None:
        """Say that the thread is well."""
        self.last_beat = time.monotonic()

    @property
    def silence_s(self) -> float:
        """Time since the last heartbeat; without end if the thread died."""
        return time.monotonic() - self.last_beat if self._thread.is_alive() else float("inf")

    def _run(self) -> None:
        while batch := self.queue.take(self.number, self.wait_s, self.beat):
            self.beat()
            try:
                self._serve([job for job in batch if job.is_wanted()])
            except BaseException as error:  # the thread must outlive whatever a batch does
                failure = as_refusal(error)
                for job in batch:
                    job.finish(failure)

    def _serve(self, batch: list[Job]) -> None:
        if not batch:
            return
        begun = time.perf_counter()
        first = batch[0]
        questions = [Question(job.frame, job.levels, job.seed, job.is_wanted) for job in batch]
        found = quantiles_together(
            first.model.imputers[self.number],
            questions,
            n_samples=first.n_samples,
            method=first.method,
            on_step=self.beat,
        )
        seconds = time.perf_counter() - begun
        if all(frames is not None for frames in found):
            first.model.cost.learn(sum(job.units for job in batch), seconds)
        for job, frames in zip(batch, found, strict=True):
            if frames is not None:
                result = Result(stacked(frames), begun - job.queued_at, seconds)
                job.finish(_checked(result, job.model))
        self._count(batch, begun, seconds)

    def _count(self, batch: list[Job], begun: float, seconds: float) -> None:
        self.metrics.inference.observe(seconds)
        self.metrics.batch_cells.observe(sum(job.n_cells for job in batch))
        self.metrics.batch_requests.observe(len(batch))
        for job in batch:
            self.metrics.queue_wait.observe(begun - job.queued_at)


def _checked(result: Result, model: Loaded) -> Result | ServiceError:
    if is_sound(result.quantiles, model.imputers[0]):
        return result
    return ServiceError("not_finite", "the model gave numbers that are not finite", 500)


def as_refusal(error: BaseException) -> BaseException:
    """Running out of memory is a state of the service, not a mistake of its code."""
    no_memory = isinstance(error, MemoryError | torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError) and "not enough memory" in str(error)
    )
    if not no_memory:
        return error
    return ServiceError(
        "out_of_memory", "not enough memory now; try fewer cells or samples, or later", 503
    )
