"""Our side of the speed benchmark: its tasks can be run."""

import importlib
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "benchmarks" / "speed"


@pytest.fixture
def worker(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    yield importlib.import_module("worker_tsimpute")
    for name in ("worker_tsimpute", "rounds"):
        sys.modules.pop(name, None)


def test_an_update_and_an_imputation_run(worker):
    worker.training(0.0, updates=1)()
    size = worker.Size(windows=1, samples=1, updates=1, threads=1)
    assert worker.imputing(2, size)().shape == (1, *worker.holed_windows(1).shape)
