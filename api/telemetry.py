"""Metrics for Prometheus and one JSON line a request; numbers about data, never data."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterable
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
CELLS = (1, 64, 256, 1024, 4096, 16384, 65536, 262144)
COUNTS = (1, 2, 4, 8, 16, 32, 64)
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"})
REASONS = (
    "queue_full",
    "too_busy",
    "not_ready",
    "draining",
    "out_of_memory",
    "deadline",
    "too_costly",
    "disconnected",
    "body_too_large",
    "slow_client",
    "unsupported_media_type",
    "unauthorized",
    "invalid_request",
    "other",
)


class Metrics:
    """Every metric of one app, in a registry of its own.

    Labels come from fixed sets: routes are templates, reasons are `REASONS`, model names are
    those in the models folder.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._of_requests()
        self._of_the_queue()
        self._of_the_service()

    def _of_requests(self) -> None:
        self.requests = self._counter("requests", "Answered", "route", "method", "status")
        self.latency = self._seconds("request_seconds", "Arrival to answer", "route")
        self.rejections = self._counter("rejections", "Requests refused", "reason")
        self.imputed_cells = self._counter("imputed_cells", "Cells filled", "model")
        for reason in REASONS:
            self.rejections.labels(reason)

    def _of_the_queue(self) -> None:
        self.queue_requests = self._gauge("queue_requests", "Requests waiting")
        self.queue_cells = self._gauge("queue_cells", "Cells waiting")
        self.queue_wait = self._seconds("queue_wait_seconds", "Time in the queue")
        self.inference = self._seconds("inference_seconds", "Time of a batch")
        self.batch_cells = Histogram(
            "tsimpute_batch_cells", "Cells of a batch", buckets=CELLS, registry=self.registry
        )
        self.batch_requests = Histogram(
            "tsimpute_batch_requests", "Requests of a batch", buckets=COUNTS, registry=self.registry
        )

    def _of_the_service(self) -> None:
        self.model_info = self._gauge("model_info", "Loaded models, always 1", "name", "version")
        self.reload_failures = self._counter("reload_failures", "Models that were not accepted")
        self.open_requests = self._gauge("open_requests", "Read, waiting, computed or answered")
        self.tasks = self._gauge("tasks", "Tasks of the event loop")
        self.ready = self._gauge("ready", "1 while requests are taken")

    def _counter(self, name: str, about: str, *labels: str) -> Counter:
        return Counter(f"tsimpute_{name}", about, labels, registry=self.registry)

    def _gauge(self, name: str, about: str, *labels: str) -> Gauge:
        return Gauge(f"tsimpute_{name}", about, labels, registry=self.registry)

    def _seconds(self, name: str, about: str, *labels: str) -> Histogram:
        return Histogram(f"tsimpute_{name}", about, labels, buckets=SECONDS, registry=self.registry)

    def rejected(self, code: str) -> None:
        """Count a refusal."""
        self.rejections.labels(code if code in REASONS else "other").inc()

    def models(self, loaded: Iterable[tuple[str, str]]) -> None:
        """Replace the list of loaded models."""
        self.model_info.clear()
        for name, version in loaded:
            self.model_info.labels(name, version).set(1)

    def text(self) -> bytes:
        """What Prometheus scrapes."""
        return generate_latest(self.registry)


def make_logger(level: str) -> Any:
    """A logger of JSON lines on standard output, independent of any other configuration."""
    return structlog.wrap_logger(
        structlog.PrintLogger(sys.stdout),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
    )


def silence_access_log() -> None:
    """Uvicorn's own line a request holds the path as sent; ours holds the route."""
    access = logging.getLogger("uvicorn.access")
    access.handlers.clear()
    access.propagate = False
