"""A real saved model behind a real uvicorn on loopback."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest

from tsimpute import EDDPMImputer

ROOT = Path(__file__).resolve().parents[2]
FEATURES = ["a", "b", "c"]


@dataclass
class Server:
    """A running service."""

    url: str
    process: subprocess.Popen[bytes]
    log_path: Path

    @property
    def log(self) -> str:
        return self.log_path.read_text()

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, trust_env=False, **options)

    def impute(self, body: Any, **options: Any) -> httpx.Response:
        with self.client() as client:
            return client.post("/impute", json=body, **options)

    def stop(self) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        return self.process.wait(30)


def series(n_times: int = 30, seed: int = 0, missing: float = 0.2) -> pd.DataFrame:
    """Random walks with holes."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n_times, len(FEATURES))).cumsum(axis=0)
    values[rng.random(values.shape) < missing] = np.nan
    return pd.DataFrame(values, columns=FEATURES)


def rows(frame: pd.DataFrame) -> list[list[float | None]]:
    """Cells as JSON has them."""
    return [[None if np.isnan(v) else v for v in row] for row in frame.to_numpy().tolist()]


def body(frame: pd.DataFrame, **options: Any) -> dict[str, Any]:
    """A wide request."""
    return {"columns": list(frame.columns), "rows": rows(frame), **options}


def make_imputer(**options: Any) -> EDDPMImputer:
    given: dict[str, Any] = {
        "window_steps": 12,
        "channels": 8,
        "layers": 1,
        "heads": 2,
        "diffusion_steps": 10,
        "kept_steps": 3,
        "epochs": 1,
        "random_state": 0,
        "device": "cpu",
        "verbose": 0,
    }
    return EDDPMImputer(**(given | options))


@pytest.fixture(scope="session")
def imputer() -> EDDPMImputer:
    """Its quantiles are those of its samples, not of a mixture."""
    return make_imputer(variance="fixed", antithetic=False).fit(series(60))


@pytest.fixture(scope="session")
def slow_imputer() -> EDDPMImputer:
    """With the defaults, and a chain long enough to be interrupted."""
    return make_imputer(diffusion_steps=60, kept_steps=60).fit(series(60))


@pytest.fixture(scope="session")
def models_dir(
    tmp_path_factory: pytest.TempPathFactory, imputer: EDDPMImputer, slow_imputer: EDDPMImputer
) -> Path:
    folder = tmp_path_factory.mktemp("models")
    imputer.save(folder / "demo" / "1")
    slow_imputer.save(folder / "slow" / "1")
    return folder


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def environment(**settings: Any) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TSIMPUTE_")}
    own = {f"TSIMPUTE_{name.upper()}": str(value) for name, value in settings.items()}
    return kept | own | {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"}


@contextmanager
def serve(
    folder: Path, models: Path, command: tuple[str, ...] = ("-m", "api"), **settings: Any
) -> Iterator[Server]:
    """Start a service, wait until it is ready, and end it."""
    port = free_port()
    settings = {"models_dir": models, "port": port, "devices": "cpu"} | settings
    log_path = folder / f"service-{port}.log"
    arguments = [part.format(port=port) for part in command]
    with log_path.open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-W", "error", *arguments],
            cwd=ROOT,
            env=environment(**settings),
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    server = Server(f"http://127.0.0.1:{port}", process, log_path)
    try:
        wait_until(lambda: is_ready(server), 180, server)
        yield server
    finally:
        server.stop()


def is_ready(server: Server) -> bool:
    assert server.process.poll() is None, server.log
    with suppress(httpx.TransportError):
        return httpx.get(server.url + "/health/ready", trust_env=False).status_code == 200
    return False


def wait_until(holds: Callable[[], bool], seconds: float, server: Server | None = None) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "waited in vain" if server is None else server.log
        time.sleep(0.05)


Starter = Callable[..., Server]


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[Server]:
    """One service with the default limits, shared by the tests that do not change it."""
    with serve(tmp_path_factory.mktemp("server"), models_dir) as running:
        yield running


@pytest.fixture
def start(tmp_path: Path, models_dir: Path) -> Iterator[Starter]:
    """Starts services with other settings, each for one test."""
    from contextlib import ExitStack

    with ExitStack() as stack:

        def start_one(models: Path = models_dir, **options: Any) -> Server:
            return stack.enter_context(serve(tmp_path, models, **options))

        yield start_one
