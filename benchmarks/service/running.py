"""A model of a given size behind `python -m api`, for measurements."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path.append(str(HERE.parent / "accuracy"))
from records import RESULTS, add_row, circumstances  # noqa: E402

__all__ = ["RESULTS", "Running", "add_row", "circumstances", "request", "save_model", "serve"]
STEPS, FEATURES = 36, 36


class Running:
    """A service that runs."""

    def __init__(self, port: int, process: subprocess.Popen[bytes]) -> None:
        self.port, self.process = port, process
        self.url = f"http://127.0.0.1:{port}"

    def memory_mb(self) -> float:
        """Resident memory of the process."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = [line for line in text.splitlines() if line.startswith("VmRSS")]
        return int(line.split()[1]) / 1024


def save_model(folder: Path, features: int = FEATURES, **size: Any) -> None:
    """An imputer that is hardly trained: only its speed matters here."""
    from tsimpute import EDDPMImputer

    values = np.random.default_rng(0).standard_normal((4 * STEPS, features)).cumsum(axis=0)
    given: dict[str, Any] = {"window_steps": STEPS, "kept_steps": 10, "device": "cpu"}
    fixed = {"epochs": 1, "random_state": 0, "verbose": 0}
    imputer = EDDPMImputer(**(given | size | fixed)).fit(values)
    imputer.fit_marginals(values, iterations=1).save(folder / "bench" / "1")


def request(seed: int, n_samples: int, n_times: int = STEPS, features: int = FEATURES) -> Any:
    """A wide request with a fifth of its cells missing."""
    rng = np.random.default_rng(seed)
    values = rng.standard_normal((n_times, features)).cumsum(axis=0).round(3)
    missing = rng.random(values.shape) < 0.2
    cells = values.astype(object)
    cells[missing] = None
    return {
        "columns": [str(k) for k in range(features)],
        "rows": cells.tolist(),
        "seed": seed,
        "n_samples": n_samples,
        "deadline_s": 120,
    }


@contextmanager
def serve(models: Path, **settings: Any) -> Iterator[Running]:
    """Start a service and wait until it is ready."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    own = {"models_dir": models, "port": port, "devices": "cpu", "log_level": "error"} | settings
    environment = os.environ | {f"TSIMPUTE_{k.upper()}": str(v) for k, v in own.items()}
    process = subprocess.Popen([sys.executable, "-m", "api"], cwd=ROOT, env=environment)
    try:
        _wait(f"http://127.0.0.1:{port}/health/ready", process)
        yield Running(port, process)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 180
    while time.monotonic() < end and process.poll() is None:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.2)
    raise RuntimeError("the service did not get ready")
