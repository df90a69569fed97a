"""What the routes share: settings, keys, models, the queue, metrics and the log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from api.auth import Keys, read_keys
from api.batching import Job, JobQueue
from api.errors import ServiceError
from api.registry import RETRY, Registry, Report
from api.settings import Settings
from api.telemetry import Metrics, make_logger
from api.worker import Worker

JOIN_S = 5.0


class Service:
    """State of one app.

    Parameters
    ----------
    settings : Settings
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.log = make_logger(settings.log_level)
        self.keys: Keys = read_keys(settings)
        self.registry = Registry(settings)
        self.queue = JobQueue(settings, self._queue_changed)
        self.workers = [
            Worker(i, device, self.queue, settings, self.metrics)
            for i, device in enumerate(self.registry.devices)
        ]
        self.jobs: set[Job] = set()
        self.draining = False  # a signal came: not ready, but still answering
        self.closing = False  # nothing new is taken
        self.n_open = 0
        self._loading = asyncio.Lock()

    def _queue_changed(self, n_requests: int, n_cells: int) -> None:
        self.metrics.queue_requests.set(n_requests)
        self.metrics.queue_cells.set(n_cells)

    @contextmanager
    def admitted(self) -> Iterator[None]:
        """Count a request in, before anything of it is read, and out.

        Raises
        ------
        ServiceError
            503 while nothing can be served, 429 if too much is being served.
        """
        if self.closing:
            raise ServiceError("draining", "the service is stopping", 503, headers=RETRY)
        self.registry.find(None)
        self.queue.check_room()
        if self.n_open >= self.settings.open_requests:
            raise ServiceError(
                "queue_full", "too many requests at once", 429, headers={"Retry-After": "1"}
            )
        self.n_open += 1
        try:
            yield
        finally:
            self.n_open -= 1

    def unready(self) -> list[str]:
        """Why requests should go elsewhere; empty when ready."""
        reasons = []
        if self.draining:
            reasons.append("draining")
        if not len(self.registry):
            reasons.append("no model is loaded")
        if self.silence_s > self.settings.heartbeat_s:
            reasons.append("a worker gives no sign of life")
        self.metrics.ready.set(not reasons)
        return reasons

    @property
    def silence_s(self) -> float:
        """Longest time since the last heartbeat of a worker."""
        return max(worker.silence_s for worker in self.workers)

    async def reload(self) -> Report:
        """Look at keys and models again; what is bad leaves the old in place."""
        async with self._loading:
            try:
                self.keys = await asyncio.to_thread(read_keys, self.settings)
            except (OSError, ValueError) as error:
                self.log.error("keys", error=type(error).__name__)
            report = await asyncio.to_thread(self.registry.reload)
        self.metrics.models((model.name, model.version) for model in self.registry.all())
        self.metrics.reload_failures.inc(len(report.failed))
        for (name, version), reason in report.failed.items():
            self.log.error("model", name=name, version=version, status="failed", reason=reason)
        for name, version in report.loaded:
            self.log.info("model", name=name, version=version, status="loaded")
        return report

    def start(self) -> None:
        """Start the workers."""
        for worker in self.workers:
            worker.start()

    def stop(self) -> None:
        """Refuse what still waits or runs, and end the workers."""
        self.closing = True
        self.queue.close()
        self.refuse_all()
        for worker in self.workers:
            worker.join(JOIN_S)

    def refuse_all(self) -> None:
        """Answer every open request with 503."""
        for job in list(self.jobs):
            self.queue.give_up(job)
            job.finish(ServiceError("draining", "the service is stopping", 503, headers=RETRY))
